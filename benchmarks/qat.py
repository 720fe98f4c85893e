"""Compare int8 by rounding alone with quantization-aware fine-tuning, for recipes and seeds, in the exported files.

    python benchmarks/qat.py [RECIPE …] [--seeds 5] [--keep FOLDER]

Writes results/qat.json and results/qat.md. Every figure is over held-out training images; no test image is looked at.
`--keep` keeps the trained models, and takes those that are there.
"""

import argparse
import statistics
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from figures import write

from mnist_edge.core.contract import Precision
from mnist_edge.core.folder import TRAINING
from mnist_edge.data import dataset as data
from mnist_edge.export.fine_tuning import fine_tuned
from mnist_edge.export.inputs import ExportInputs, load_inputs
from mnist_edge.formats import FORMATS, runtime_versions
from mnist_edge.formats.keras.model import predict
from mnist_edge.formats.request import Request
from mnist_edge.training import store, trainer
from mnist_edge.training.qat import QatOptions
from mnist_edge.training.recipes import RECIPES

WAYS = {
    "calibrated by each format": None,
    "one set of ranges": QatOptions(epochs=0),
    "fine-tuned on labels": QatOptions(distillation=0.0),
    "fine-tuned on both": QatOptions(),
    "fine-tuned on the float model": QatOptions(distillation=1.0),
}


def accuracies(inputs: ExportInputs, folder: Path) -> dict[str, Any]:
    """Return the share of held-out images that each int8 file reads right, and how many they differ in."""
    images, labels = inputs.held_out_images, inputs.dataset.train.labels[inputs.held_out]
    classes = {}
    for name in ("tflite", "onnx"):
        path = folder / f"file{FORMATS[name].suffix}"
        request = Request(Precision.INT8, inputs.calibration_images, {}, quantization=inputs.quantization)
        FORMATS[name].export(inputs.model, path, request)
        with FORMATS[name].open(path) as runner:
            classes[name] = runner.run(images).argmax(axis=1)
    right = {name: float((found == labels).mean()) for name, found in classes.items()}
    keras = float((predict(inputs.model, images).argmax(axis=1) == labels).mean())
    return {"float32": keras, **right, "differ": int((classes["tflite"] != classes["onnx"]).sum()), "of": len(labels)}


def measure(recipe: str, seed: int, dataset: data.Dataset, keep: Path) -> list[dict[str, Any]]:
    """Train a recipe with one seed, and measure each way to int8."""
    folder = keep / str(seed) / recipe
    if not (folder / TRAINING).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        store.save(trainer.train(recipe, dataset, seed), folder)
    inputs = load_inputs(folder, dataset)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for way, options in WAYS.items():
            own = inputs if options is None else fine_tuned(inputs, options)
            kept = {"kept": own.record["qat"]["kept"], "options": asdict(options)} if options else {}
            rows.append({"recipe": recipe, "seed": seed, "way": way, **accuracies(own, Path(scratch)), **kept})
            print(rows[-1], flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the means over seeds as a Markdown table."""
    lines = [
        "| recipe | way to int8 | float32 % | TFLite % | ONNX % | images that differ |",
        "|---|---|---|---|---|---|",
    ]
    for recipe, way in dict.fromkeys((row["recipe"], row["way"]) for row in rows):
        own = [row for row in rows if (row["recipe"], row["way"]) == (recipe, way)]
        means = [f"{100 * statistics.mean(row[name] for row in own):.3f}" for name in ("float32", "tflite", "onnx")]
        lines.append(
            f"| {recipe} | {way} | {' | '.join(means)} | {statistics.mean(row['differ'] for row in own):.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    dataset = data.load_mnist()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for recipe in options.recipes:
            for seed in range(options.seeds):
                rows += measure(recipe, seed, dataset, options.keep or Path(scratch))
    write("qat", {"dataset": dataset.name, "versions": runtime_versions(), "rows": rows}, table(rows) + "\n")


if __name__ == "__main__":
    main()
