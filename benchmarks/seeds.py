"""Train every recipe with seeds 0–4 and say what comes of it, in Keras and in int8.

    python benchmarks/seeds.py [--seeds 5]

Writes results/seeds.json (every figure) and results/seeds.md (the table). No seed is chosen by it: the recipes' default
stays 0, whatever it gives.
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mnist_edge import data, training
from mnist_edge.artifact import Precision
from mnist_edge.export import export
from mnist_edge.formats import FORMATS, runtime_versions
from mnist_edge.host import Host
from mnist_edge.models import MODELS, Recipe
from mnist_edge.parity import verify

RESULTS = Path(__file__).parent / "results"


def measure(recipe: Recipe, seed: int, dataset: data.Dataset) -> dict[str, Any]:
    """Train and export one recipe with one seed, and verify it over all test images."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / recipe.name
        trained = training.train(recipe, dataset, seed)
        training.save(trained, folder)
        int8 = [(name, Precision.INT8) for name, item in FORMATS.items() if Precision.INT8 in item.precisions]
        export(folder, dataset, int8)
        report = verify(folder, dataset)
    files = {}
    for result in report.results:
        assert result.comparison is not None
        found = result.comparison
        files[result.artifact.format] = {
            "status": result.status,
            "drop_points": found.drop,
            "flips": len(found.flips),
            "largest_margin": found.largest_margin,
            "largest_difference": found.largest_difference,
            "mean_difference": found.mean_difference,
        }
    return {"recipe": recipe.name, "seed": seed, "accuracy": trained.record["test"]["accuracy"], "int8": files}


def markdown(rows: list[dict[str, Any]]) -> str:
    """Give the table, one line a recipe."""
    formats = list(rows[0]["int8"])
    heads = ["recipe", "notebook", "mean ± sd over seeds", "lowest", "floor"]
    heads += [f"{name} int8: worst drop, most flips, largest margin" for name in formats]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for recipe in MODELS.values():
        mine = [row for row in rows if row["recipe"] == recipe.name]
        accuracies = [row["accuracy"] for row in mine]
        spread = f"{statistics.mean(accuracies):.4f} ± {statistics.stdev(accuracies):.4f}"
        cells = [f"`{recipe.name}`", f"{recipe.reported}", spread, f"{min(accuracies):.4f}", f"{recipe.floor}"]
        for name in formats:
            files = [row["int8"][name] for row in mine]
            drop, flips, margin = (
                max(file[key] for file in files) for key in ("drop_points", "flips", "largest_margin")
            )
            cells.append(f"{drop:+.2f} points, {flips} of 10 000, {margin:.3f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all seeds and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    count = parser.parse_args().seeds
    dataset = data.load()
    rows = []
    for recipe in MODELS.values():
        for seed in range(count):
            rows.append(measure(recipe, seed, dataset))
            print(rows[-1], flush=True)
    about = {"dataset": dataset.name, "host": asdict(Host.read()), "versions": runtime_versions()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "seeds.json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "seeds.md").write_text(markdown(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
