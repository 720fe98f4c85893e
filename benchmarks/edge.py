"""Train the `edge` networks with several seeds and measure their int8 files; and what each part of the training gives.

    python benchmarks/edge.py seeds [--seeds 5] [--recipe edge-nano] [--keep FOLDER]
    python benchmarks/edge.py ablation [--seeds 3] [--recipe edge-nano] [--epochs 15]

`seeds` writes results/edge.json and edge.md: accuracy on the test images of float32 and of both int8 files, how many
images the two int8 files read differently, and sizes. The recipes were settled before, on held-out training images; no
seed is chosen: what is released has seed 0. `ablation` writes results/edge_ablation.json and .md and never reads a test
image: held-out accuracy with one part of the training left out or put in. What is there of the same seed is kept.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import untaken
from figures import RESULTS, write

from mnist_edge.core.contract import Precision
from mnist_edge.core.folder import TRAINING
from mnist_edge.core.manifest import Manifest
from mnist_edge.data import dataset as data
from mnist_edge.export import export_folder
from mnist_edge.export.fine_tuning import fine_tuned
from mnist_edge.export.inputs import load_inputs
from mnist_edge.export.plan import plan_export
from mnist_edge.formats import FORMATS, runtime_versions
from mnist_edge.training import store, trainer
from mnist_edge.training.augmentation import Augmentation
from mnist_edge.training.edge import EDGE, TEACHER, TRAININGS
from mnist_edge.training.recipe import Recipe

PLAIN = Augmentation()
Study = Callable[[int, int], float]
"""Takes a seed and epochs, and returns a held-out accuracy."""


def measure(recipe: Recipe, seed: int, dataset: data.Dataset, keep: Path) -> dict[str, Any]:
    """Train and export one recipe with one seed, and read all test images with each file."""
    folder = keep / str(seed) / recipe.name
    if not (folder / TRAINING).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        store.save(trainer.train(recipe, dataset, seed), folder)
    trained = store.load(folder)
    record = trained.record
    exported = keep / str(seed) / "int8" / recipe.name
    exported.mkdir(parents=True, exist_ok=True)
    inputs = fine_tuned(load_inputs(exported, dataset, trained))
    export_folder(inputs, plan_export([Precision.INT8]))
    classes, files = {}, {}
    for artifact in Manifest.read(exported).artifacts:
        with FORMATS[artifact.format].open(artifact.path) as runner:
            classes[artifact.format] = runner.run(dataset.test.images).argmax(axis=1)
        accuracy = float((classes[artifact.format] == dataset.test.labels).mean())
        files[artifact.format] = {"accuracy": accuracy, "bytes": artifact.bytes}
    differing = int(np.not_equal(*classes.values()).sum())
    row = {"recipe": recipe.name, "seed": seed, "seconds": record["seconds"], "float32": record["test"]["accuracy"]}
    return {
        **row,
        "files": files,
        "differing": differing,
        "held_out": record["history"].get("val_accuracy", [None])[-1],
    }


def seeds_table(rows: list[dict[str, Any]]) -> str:
    """Return one line a recipe."""
    formats = list(rows[0]["files"])
    heads = ["recipe", "parameters", "MACs", "seeds", "float32"]
    heads += [f"int8 {name}" for name in formats] + [f"most bytes {name}" for name in formats]
    heads += ["most images that the two read differently", "longest training"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for recipe in EDGE.values():
        mine = [row for row in rows if row["recipe"] == recipe.name]
        if not mine:
            continue
        cells = [f"`{recipe.name}`", f"{recipe.parameters:,}", f"{recipe.macs:,}", str(len(mine))]
        cells += [_spread([row["float32"] for row in mine])]
        cells += [_spread([row["files"][name]["accuracy"] for row in mine]) for name in formats]
        cells += [f"{max(row['files'][name]['bytes'] for row in mine):,}" for name in formats]
        cells += [str(max(row["differing"] for row in mine)), f"{max(row['seconds'] for row in mine) / 60:.0f} min"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _spread(values: list[float]) -> str:
    """Return the mean in percent, with the standard deviation where there are several."""
    deviation = f" ± {statistics.stdev(values) * 100:.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2%}{deviation}"


def variants(recipe: Recipe) -> dict[str, Recipe]:
    """Return the recipe as it is, and with one part of its training changed."""
    training = recipe.augmented
    assert training is not None
    change = training.change
    drawn = training.drawn_digits > 0
    changes: dict[str, dict[str, Any]] = {
        "as the recipe": {},
        "no change of images": {"change": PLAIN},
        f"{_done(change.bend > 0)} bending": {"change": replace(change, bend=0.0 if change.bend else 1.0)},
        f"{_done(change.stroke > 0)} stroke width": {"change": replace(change, stroke=0.4 - change.stroke)},
        "with blur, contrast, noise": {"change": replace(change, blur=0.3, contrast=0.2, noise=0.03)},
        f"{_done(training.unvaried > 0)} unvaried epochs": {"unvaried": 0.2 - training.unvaried},
        f"{_done(drawn)} drawn digits and marks": {
            "drawn_digits": 0 if drawn else TRAININGS["edge"].drawn_digits,
            "drawn_marks": 0 if drawn else TRAININGS["edge"].drawn_marks,
        },
        f"{_done(training.teacher is not None)} a teacher": {"teacher": None if training.teacher else TEACHER},
    }
    return {name: replace(recipe, augmented=replace(training, **changed)) for name, changed in changes.items()}


def _done(there: bool) -> str:
    """Return whether a part that is there is left out, or one that is not is put in."""
    return "without" if there else "with"


def studies(recipe: Recipe, dataset: data.Dataset) -> dict[str, Study]:
    """Return what trains each variant, and the recipe with what it does not have."""

    def of(variant: Recipe) -> Study:
        def study(seed: int, epochs: int) -> float:
            trained = trainer.train(variant, dataset, seed, trainer.Schedule(epochs))
            return float(trained.record["history"]["val_accuracy"][-1])

        return study

    def averaged(seed: int, epochs: int) -> float:
        return untaken.averaged_accuracy(recipe, dataset, seed, epochs)

    own = {name: of(variant) for name, variant in variants(recipe).items()}
    return {**own, "with a moving average of the weights": averaged}


def ablation_table(rows: list[dict[str, Any]]) -> str:
    """Return one line a variant: its held-out accuracy, and the difference to the recipe as it is, seed by seed."""
    lines = ["| recipe | variant | seeds | held-out accuracy | difference in points |", "|---|---|---|---|---|"]
    base = {(row["recipe"], row["seed"]): row["held_out"] for row in rows if row["variant"] == "as the recipe"}
    for recipe, variant in dict.fromkeys((row["recipe"], row["variant"]) for row in rows):
        mine = [row for row in rows if (row["recipe"], row["variant"]) == (recipe, variant)]
        away = [100 * (row["held_out"] - base[recipe, row["seed"]]) for row in mine if (recipe, row["seed"]) in base]
        spread = f"{statistics.mean(away):+.2f}" + (f" ({min(away):+.2f} to {max(away):+.2f})" if len(away) > 1 else "")
        lines.append(
            f"| `{recipe}` | {variant} | {len(mine)} | {_spread([row['held_out'] for row in mine])} | {spread} |"
        )
    return "\n".join(lines) + "\n"


def run_seeds(options: argparse.Namespace, dataset: data.Dataset) -> None:
    """Measure each recipe and seed that is not measured yet."""
    rows = _earlier("edge")
    for seed in range(options.seeds):
        for name in options.recipe or EDGE:
            if not any((row["recipe"], row["seed"]) == (name, seed) for row in rows):
                rows.append(measure(EDGE[name], seed, dataset, options.keep))
                write("edge", {"versions": runtime_versions(), "rows": rows}, seeds_table(rows))


def run_ablation(options: argparse.Namespace, dataset: data.Dataset) -> None:
    """Train each variant and seed that is not measured yet."""
    rows = _earlier("edge_ablation")
    for seed in range(options.seeds):
        for name in options.recipe or ["edge-nano"]:
            for variant, held_out_accuracy in studies(EDGE[name], dataset).items():
                key = {"recipe": name, "variant": variant, "seed": seed, "epochs": options.epochs}
                if any(all(row[item] == value for item, value in key.items()) for row in rows):
                    continue
                started = time.perf_counter()
                held_out = held_out_accuracy(seed, options.epochs)
                rows.append({**key, "held_out": held_out, "seconds": round(time.perf_counter() - started)})
                write("edge_ablation", {"rows": rows}, ablation_table(rows))


def _earlier(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.json"
    return list(json.loads(path.read_text(encoding="utf-8"))["rows"]) if path.is_file() else []


def main() -> None:
    """Run one of the two studies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=["seeds", "ablation"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipe", action="append", choices=list(EDGE))
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--keep", type=Path, default=Path("build/edge"))
    options = parser.parse_args()
    {"seeds": run_seeds, "ablation": run_ablation}[options.study](options, data.load_mnist())


if __name__ == "__main__":
    main()
