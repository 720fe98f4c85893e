"""Train each notebook's recipe with seeds 0–9, export it at every precision, and verify each file over all test images.

    python benchmarks/seeds.py [--seeds 10] [--keep FOLDER]

Writes results/seeds.json (every figure), results/seeds.md (recipes) and results/tolerances.md (how near files come to
their limits). No seed is chosen by it: the recipes' default stays 0, whatever it gives. `--keep` keeps the trained
models, and takes those that are there.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from figures import RESULTS, write

from mnist_edge.core.contract import Precision
from mnist_edge.core.folder import TRAINING
from mnist_edge.data import dataset as data
from mnist_edge.export import export_folder
from mnist_edge.export.inputs import load_inputs
from mnist_edge.export.plan import plan_export
from mnist_edge.formats import runtime_versions
from mnist_edge.training import store, trainer
from mnist_edge.training.notebooks import NOTEBOOKS
from mnist_edge.training.recipe import Recipe
from mnist_edge.verify.tolerances import figure
from mnist_edge.verify.verify import verify


def measure(recipe: Recipe, seed: int, dataset: data.Dataset, keep: Path) -> dict[str, Any]:
    """Train and export one recipe with one seed, and verify it over all test images."""
    folder = keep / str(seed) / recipe.name
    if not (folder / TRAINING).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        store.save(trainer.train(recipe, dataset, seed), folder)
    accuracy = store.load(folder).record["test"]["accuracy"]
    export_folder(load_inputs(folder, dataset), plan_export(Precision))
    report = verify(folder, dataset)
    files = {}
    for result in report.results:
        found = result.comparison
        assert found is not None
        files[f"{result.artifact.format} {result.artifact.precision}"] = {
            "status": result.status,
            "reasons": result.reasons,
            "drop_points": found.drop,
            "flips": len(found.flips),
            "largest_margin": found.largest_margin,
            "largest_difference": found.largest_difference,
            "limits": {item.tolerance.name: [item.measured, item.tolerance.allowed] for item in result.tolerances},
            "path_flips": sum(len(path.flips) for path in result.variants),
            "path_difference": max(path.largest_difference for path in result.variants),
        }
    checks = {check.name: check.status for check in report.checks}
    good = report.passes(strict=True)
    return {"recipe": recipe.name, "seed": seed, "accuracy": accuracy, "good": good, "checks": checks, "files": files}


def recipes_table(rows: list[dict[str, Any]]) -> str:
    """Return the table of recipes, one line each."""
    heads = ["recipe", "notebook", "mean ± sd over seeds", "lowest", "floor", "seeds whose files all pass"]
    int8 = [name for name in rows[0]["files"] if name.endswith(" int8")]
    heads += [f"{name}: worst drop, most flips, largest margin" for name in int8]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for recipe in NOTEBOOKS.values():
        mine = [row for row in rows if row["recipe"] == recipe.name]
        accuracies = [row["accuracy"] for row in mine]
        spread = f"{statistics.mean(accuracies):.4f} ± {statistics.stdev(accuracies):.4f}"
        cells = [f"`{recipe.name}`", f"{recipe.reported}", spread, f"{min(accuracies):.4f}", f"{recipe.floor}"]
        cells.append(f"{sum(row['good'] for row in mine)} of {len(mine)}")
        for name in int8:
            files = [row["files"][name] for row in mine]
            drop, flips, margin = (
                max(file[key] for file in files) for key in ("drop_points", "flips", "largest_margin")
            )
            cells.append(f"{drop:+.2f} points, {flips} of 10 000, {margin:.3f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def tolerances_table(rows: list[dict[str, Any]]) -> str:
    """Give, for each kind of file and limit, the smallest limit that would have passed all, as needed / allowed."""
    names = list(dict.fromkeys(limit for row in rows for file in row["files"].values() for limit in file["limits"]))
    lines = ["| file | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for kind in rows[0]["files"]:
        cells = []
        for name in names:
            pairs = [row["files"][kind]["limits"][name] for row in rows if name in row["files"][kind]["limits"]]
            worst = max(pairs, key=lambda pair: pair[0] / pair[1], default=None)
            cells.append("–" if worst is None else f"{figure(worst[0])} / {figure(worst[1])}")
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run all seeds and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    dataset = data.load_mnist()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(options.seeds):
            for recipe in NOTEBOOKS.values():
                rows.append(measure(recipe, seed, dataset, options.keep or Path(scratch)))
                print(seed, recipe.name, "PASS" if rows[-1]["good"] else "FAIL", flush=True)
    content = {"dataset": dataset.name, "versions": runtime_versions(), "rows": rows}
    write("seeds", content, recipes_table(rows))
    (RESULTS / "tolerances.md").write_text(tolerances_table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
