"""Put trained `edge` networks into `exports/`, each with its model card: what git keeps and the wheel carries.

    python benchmarks/release.py build/edge/0/int8 [--baseline exports/cnn]

The folder holds one export a recipe, as `benchmarks/edge.py seeds --keep build/edge` leaves those of seed 0; seed 0 is
released, whatever it gives. Each is verified and timed beside the int8 files of `--baseline`, and its card is written
from what was measured: `exports/<model>/README.md`, and the test images that it reads wrongly as a picture. Results:
results/edge_latency.json and .md. On a CPU with AMX run it by way of `amx.py --without`.
"""

import argparse
import json
import math
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import amx
import numpy as np
from figures import RESULTS, write
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mnist_edge.bench.timing import interleave
from mnist_edge.core.contract import Precision
from mnist_edge.core.folder import MANIFEST, NETWORK, TRAINING
from mnist_edge.core.host import Host, has_amx
from mnist_edge.core.manifest import Artifact, Manifest
from mnist_edge.data import dataset as data
from mnist_edge.formats import FORMATS, runtime_versions
from mnist_edge.training.edge import EDGE
from mnist_edge.training.recipe import Recipe
from mnist_edge.verify.verify import verify

EXPORTS = Path(__file__).parents[1] / "exports"
CARD, FAILURES = "README.md", "failures.png"
RUNS, WARM_UP = 3000, 300
Rows = dict[str, dict[str, Any]]
HEADS = (
    "file",
    "bytes",
    "accuracy, MNIST test images",
    "95 % interval",
    "p50, pixels to probabilities",
    "beside `cnn` int8",
)
LIMITS = (
    "",
    "## Intended use and limits",
    "",
    "For one upright digit, white on black, in a box of 20 pixels centred by mass, as `mnist-edge predict` makes it of "
    "a picture. It says nothing of letters, of several digits, or of digits lying on their side. Not for decisions "
    "about people, money or safety without somebody who checks.",
    "",
    "## Known failures",
    "",
)


def int8_files(folder: Path) -> list[Artifact]:
    """Return the int8 files of a folder with the default input and output."""
    found = [item for item in Manifest.read(folder).artifacts if item.precision is Precision.INT8]
    return [item for item in found if item.path.stem == f"{folder.name}-int8" and item.format in ("tflite", "onnx")]


def release(source: Path, dataset: data.Dataset) -> Path:
    """Copy a finished export to `exports/`, verify it, and return its folder."""
    folder = EXPORTS / source.name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    report = verify(folder, dataset)
    if not report.passes(strict=True):
        raise SystemExit(f"{folder} does not pass mnist-edge verify --strict")
    return folder


def measure(folder: Path, dataset: data.Dataset) -> dict[str, Any]:
    """Return what the int8 files of a folder make of the test images, and draw those that the first reads wrongly."""
    files, wrong = {}, None
    for artifact in int8_files(folder):
        with FORMATS[artifact.format].open(artifact.path) as runner:
            probabilities = runner.run(dataset.test.images)
        said = probabilities.argmax(axis=1)
        recall = [float((said[dataset.test.labels == digit] == digit).mean()) for digit in range(10)]
        right = said == dataset.test.labels
        files[artifact.path.name] = {"bytes": artifact.bytes, "accuracy": float(right.mean()), "recall": recall}
        if wrong is None:
            wrong = np.flatnonzero(~right)
            draw(dataset.test, wrong, said, folder / FAILURES)
    return files


def draw(digits: data.Digits, wrong: NDArray[np.intp], said: NDArray[np.intp], path: Path) -> None:
    """Draw test images that are read wrongly, each with its label and the answer."""
    columns, cell = 10, 72
    shown = wrong[:60]
    sheet = Image.new("L", (columns * cell, math.ceil(max(1, len(shown)) / columns) * (cell + 14)), 255)
    pen = ImageDraw.Draw(sheet)
    for place, index in enumerate(shown):
        x, y = place % columns * cell, place // columns * (cell + 14)
        sheet.paste(Image.fromarray(255 - digits.images[index]).resize((cell - 8, cell - 8)), (x + 4, y))
        pen.text((x + 8, y + cell - 8), f"{digits.labels[index]} as {said[index]}", fill=0)
    sheet.save(path, optimize=True)


def interval(accuracy: float, count: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share of `count` images (Wilson, 1927)."""
    z = 1.96
    middle = (accuracy + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(accuracy * (1 - accuracy) / count + z * z / (4 * count * count))
    return middle - half, middle + half


def latency(folders: list[Path], baseline: Path, dataset: data.Dataset) -> Rows:
    """Return the p50 of one image from pixels to probabilities of each file, and its ratio to the baseline's."""
    image = dataset.train.images[:1]
    with ExitStack() as stack:
        calls = {}
        for artifact in (item for folder in (baseline, *folders) for item in int8_files(folder)):
            runner = stack.enter_context(FORMATS[artifact.format].open(artifact.path))
            calls[artifact.path.name] = lambda run=runner.run: run(image)
        times = interleave(calls, RUNS, WARM_UP)
    base = {item.format: times[item.path.name].p50 for item in int8_files(baseline)}
    formats = {suffix: name for name, item in FORMATS.items() for suffix in [item.suffix]}
    return {
        name: {"p50_us": stats.p50, "ratio": stats.p50 / base[formats[Path(name).suffix]]}
        for name, stats in times.items()
    }


def latency_table(rows: Rows) -> str:
    """Return one line a file."""
    lines = ["| file | p50, µs | beside the baseline |", "|---|---|---|"]
    lines += [f"| `{name}` | {row['p50_us']:.1f} | {row['ratio']:.2f}× |" for name, row in rows.items()]
    return "\n".join(lines) + "\n"


def card(folder: Path, files: Rows, times: Rows, dataset: data.Dataset) -> str:
    """Return the model card of a released network."""
    recipe, record = EDGE[folder.name], json.loads((folder / TRAINING).read_text(encoding="utf-8"))
    lines = [
        f"# {recipe.name}",
        "",
        "Reads one handwritten digit, 0 to 9, of 28×28 pixels. "
        f"{recipe.parameters:,} parameters, {recipe.macs:,} multiply-accumulates: {recipe.network}.",
        "",
        f"| {' | '.join(HEADS)} |",
        "|" + "---|" * len(HEADS),
    ]
    for name, row in files.items():
        low, high = interval(row["accuracy"], len(dataset.test))
        time = times[name]
        lines.append(
            f"| `{name}` | {row['bytes']:,} | {row['accuracy']:.2%} | {low:.2%} to {high:.2%} "
            f"| {time['p50_us']:.1f} µs | {time['ratio']:.2f}× |"
        )
    cpu = Host.read().cpu + (", without its AMX" if has_amx() and not amx.used() else "")
    keras = f"{record['test']['accuracy']:.2%}"
    lines += ["", f"Times: one thread, {cpu}. In Keras, with the weights that int8 has: {keras}.", ""]
    lines += _seeds(recipe.name)
    lines += ["| recall of | " + " | ".join(map(str, range(10))) + " |", "|---|" + "---|" * 10]
    for name, row in files.items():
        lines.append(f"| `{name}` | " + " | ".join(f"{value:.1%}" for value in row["recall"]) + " |")
    lines += [
        *_training(recipe, record),
        *LIMITS,
        f"Test images that `{next(iter(files))}` reads wrongly, as label and answer:",
        "",
        f"![test images that are read wrongly]({FAILURES})",
        "",
    ]
    return "\n".join(lines)


def _training(recipe: Recipe, record: dict[str, Any]) -> list[str]:
    """Return how a network was trained, and on what it was chosen."""
    training, parts = recipe.augmented, record["split"]
    assert training is not None
    added = "nothing else"
    if training.drawn_digits:
        added = (
            f"{training.drawn_digits:,} digits drawn by our own code in hands that MNIST lacks, and "
            f"{training.drawn_marks:,} marks that are no digit"
        )
    taught = ""
    if training.teacher:
        taught = (
            f"A network with {training.teacher.width} times as many filters was trained before; "
            f"its probabilities are {training.teacher.share:.0%} of each target. "
        )
    people = ", and so did our half of the pictures of people" if recipe.name == NETWORK.name else ""
    return [
        "",
        "## Training",
        "",
        f"`mnist-edge train --model {recipe.name}`, seed {record['seed']}, {record['epochs']} epochs, "
        f"{record['seconds'] / 60:.0f} min: {parts['training']:,} training images of MNIST (Yann LeCun, Corinna Cortes "
        f"and Christopher Burges, CC BY-SA 3.0), varied in all but the last fifth of the epochs; {added}. {taught}"
        f"{parts['validation']:,} other training images served for choices{people}. Nothing was chosen on the test "
        "images.",
    ]


def _seeds(name: str) -> list[str]:
    """Return a line with the accuracy over seeds, where results/edge.json has several."""
    path = RESULTS / "edge.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    mine = [row for row in rows if row["recipe"] == name]
    if len(mine) < 2:
        return []
    means = []
    for file_format in mine[0]["files"]:
        values = [row["files"][file_format]["accuracy"] * 100 for row in mine]
        means.append(f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f} % ({file_format})")
    return [f"Over {len(mine)} seeds, int8: {' and '.join(means)}, mean ± standard deviation.", ""]


def main() -> None:
    """Release every network of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exported", type=Path)
    parser.add_argument("--baseline", type=Path, default=EXPORTS / "cnn")
    options = parser.parse_args()
    dataset = data.load_mnist()
    exported = [options.exported / name for name in EDGE if (options.exported / name / MANIFEST).is_file()]
    folders = [release(source, dataset) for source in exported]
    files = {folder.name: measure(folder, dataset) for folder in folders}
    times = latency(folders, options.baseline, dataset)
    write("edge_latency", {"versions": runtime_versions(), "rows": times}, latency_table(times))
    for folder in folders:
        (folder / CARD).write_text(card(folder, files[folder.name], times, dataset), encoding="utf-8")


if __name__ == "__main__":
    main()
