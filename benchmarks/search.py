"""Try networks and training of the `edge` family with several seeds, in a trainer about ten times as fast as Keras.

    python benchmarks/search.py [--seeds 3] [--epochs 60] [--recipe edge-nano]

Trains networks on 40,000 training images, as their recipes say otherwise, and tries them on the other 20,000: 5,000
tell two networks apart by 0.2 points at best. It never reads a test image. The trainer is in C++, in `trainer/`; this
compiles it. It follows `mnist_edge/training/augmented.py`, without its calibration. Writes results/search.json and
search.md; what is there of the same network and seed is kept.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from figures import RESULTS, write

from mnist_edge.data.dataset import Dataset, load_mnist
from mnist_edge.training.augmentation import Augmentation
from mnist_edge.training.augmented import training_images
from mnist_edge.training.distillation import wider
from mnist_edge.training.edge import AFFINE, BENT, EDGE, STRONG, TRAININGS, WIDE
from mnist_edge.training.recipe import AugmentedTraining, Conv, Recipe

SOURCE = Path(__file__).parent / "trainer" / "trainer.cpp"
TRAINED_ON, ORDER = 40_000, 5  # images, and the seed of their order
CHANGES = {
    "affine": AFFINE,
    "affine × 1.5": Augmentation(turn=15, scale=0.12, stretch=0.09, shear=0.22, move=1.0),
    "wide": WIDE,
    "bent": BENT,
    "strong": STRONG,
}
PADDINGS = {"s": "same", "v": "valid"}
OTHERS: dict[str, list[tuple[Any, ...]]] = {
    "edge-micro": [
        ("3,3,2,v;4,3,1,s;4,3,1,s;4,3,1,s;3,3,2,s;3,3,2,v", "affine"),
        ("3,5,2,v;4,3,1,s;4,3,1,s;4,3,1,s;3,3,2,s;4,3,2,v", "affine"),
        ("3,5,2,v;4,3,1,s;4,3,1,s;4,3,1,s;4,3,2,s;4,3,2,v", "affine"),
        ("3,5,2,v;4,3,1,v;4,3,1,v;5,3,2,s;5,3,1,v", "affine"),
        ("3,5,2,v;4,3,1,v;4,3,1,s;4,3,1,v;4,3,2,s;4,3,1,v", "affine"),
        ("3,3,2,s;4,3,1,v;4,3,1,v;4,3,1,v;4,3,2,s;4,3,1,v", "affine"),
        ("3,3,2,s;4,3,1,s;4,3,1,v;4,3,1,v;4,3,2,s;4,3,2,v", "affine"),
        ("3,3,2,v;4,3,1,s;4,3,1,v;4,3,1,v;4,3,2,v;4,3,1,v", "affine"),
    ],
    "edge-nano": [
        ("4,5,2,s;4,5,1,s;8,3,2,s;7,3,2,v", "affine × 1.5"),
        ("4,5,2,v;4,5,1,s;8,3,2,s;10,3,2,v", "affine × 1.5"),
        ("4,5,2,v;4,3,1,s;4,5,1,s;8,3,2,s;9,3,2,v", "affine × 1.5"),
        ("5,5,2,v;5,3,1,s;5,3,1,s;8,3,2,s;9,3,2,v", "affine × 1.5"),
        ("4,7,2,v;4,3,1,s;5,3,1,s;8,3,2,s;9,3,2,v", "affine × 1.5"),
        ("4,5,2,v;4,3,1,s;4,3,1,v;8,3,2,s;11,3,2,v", "affine × 1.5"),
        ("4,5,2,v;4,3,1,s;6,3,2,s;8,3,1,s;9,3,2,v", "affine × 1.5"),
        ("4,5,2,v;4,3,1,v;5,3,1,s;8,3,2,s;10,3,2,v", "affine × 1.5"),
        ("4,5,2,v;4,3,1,v;6,3,1,s;8,3,2,s;9,3,2,v", "affine × 1.5"),
        ("4,5,2,v;5,3,1,v;6,3,1,v;8,3,2,s;8,3,1,v", "affine × 1.5"),
        ("4,5,2,v;4,3,1,s;5,3,1,v;8,3,2,s;10,3,2,v", "affine × 1.5"),
        ("4,5,2,v;4,3,1,s;5,3,1,v;8,3,2,s;10,3,2,v", "affine × 1.5", 0.02),
        ("4,5,2,v;4,3,1,s;5,3,1,v;8,3,2,s;10,3,2,v", "affine × 1.5", 0.008),
        ("4,5,2,v;4,3,1,s;5,3,1,v;8,3,2,s;10,3,2,v", "wide"),
        ("4,5,2,v;5,3,1,v;6,3,1,v;8,3,2,s;8,3,1,v", "wide", 0.025),
        ("4,5,2,v;5,3,1,v;6,3,1,v;8,3,2,s;8,3,1,v", "affine × 1.5", 0.025),
        ("4,5,2,v;5,3,1,v;6,3,1,v;8,3,2,s;8,3,1,v", "affine × 1.5", 0.05),
        ("4,5,2,v;4,3,1,s;4,3,1,s;4,3,1,s;8,3,2,s;10,3,2,v", "affine × 1.5"),
        ("4,5,2,v;4,3,1,v;4,3,1,s;4,3,1,s;8,3,2,s;10,3,2,v", "affine × 1.5"),
        ("4,5,2,v;4,3,1,s;4,3,1,s;4,3,1,s;6,3,2,s;12,3,2,v", "affine × 1.5"),
        ("4,5,2,v;4,3,1,s;4,3,1,s;6,3,2,s;8,3,1,s;8,3,2,v", "affine × 1.5"),
        ("3,5,2,v;4,3,1,s;4,3,1,v;6,3,2,s;8,3,1,s;8,3,2,v", "affine × 1.5"),
        ("3,5,2,v;4,5,1,s;4,3,1,s;4,3,1,s;8,3,2,s;8,3,2,v", "affine × 1.5"),
        ("3,5,2,v;4,3,1,s;4,5,1,s;6,3,2,s;7,3,1,s;7,3,2,v", "affine × 1.5"),
        ("3,5,2,v;4,3,1,v;5,3,1,v;6,3,2,s;6,3,1,s;7,3,1,v", "affine × 1.5"),
        ("4,5,2,v;4,3,1,s;4,3,1,s;4,3,1,s;4,3,1,s;8,3,2,s;8,3,2,v", "affine × 1.5"),
    ],
    "edge-small": [
        ("6,3,2,s;8,3,1,s;8,3,1,s;10,3,2,s;12,3,2,v", "bent"),
        ("6,3,2,s;8,3,1,s;8,3,1,s;10,3,2,s;12,3,2,v", "affine × 1.5"),
        ("6,5,2,v;8,3,1,s;8,3,1,s;10,3,2,s;15,3,2,v", "affine × 1.5"),
        ("6,5,2,v;8,3,1,v;10,3,1,v;10,3,2,s;12,3,1,v", "affine × 1.5"),
        ("6,5,2,v;8,3,1,s;8,3,1,s;8,3,1,s;10,3,2,s;11,3,2,v", "affine × 1.5"),
        ("6,5,2,v;8,3,1,s;8,3,1,v;8,3,1,v;10,3,2,s;10,3,1,v", "affine × 1.5"),
        ("6,5,2,v;8,3,1,v;8,3,1,v;8,3,1,v;10,3,1,v;10,3,1,v", "affine × 1.5"),
        ("6,5,2,v;8,3,1,v;8,3,1,v;8,3,2,s;10,3,1,s;10,3,1,v", "affine × 1.5"),
        ("6,5,2,v;8,3,1,v;8,3,1,v;8,3,2,s;10,3,1,s;10,3,1,v", "wide"),
    ],
    "edge": [
        ("8,5,2,s;16,3,1,s;16,3,1,s;24,3,2,s;24,3,2,v", "affine × 1.5"),
        ("8,5,2,s;16,3,1,s;16,3,1,s;24,3,2,s;24,3,2,v", "bent"),
        ("8,5,2,v;16,3,1,v;16,3,1,s;16,3,1,v;24,3,2,s;24,3,1,v", "affine × 1.5"),
        ("8,5,2,v;16,3,1,v;16,3,1,s;16,3,1,v;24,3,2,s;24,3,1,v", "bent"),
        ("8,5,2,v;16,3,1,v;16,3,1,s;16,3,1,v;24,3,2,s;24,3,1,v", "bent", None, True),
        ("8,5,2,v;16,3,1,v;16,3,1,s;16,3,1,v;24,3,2,s;24,3,1,v", "strong"),
    ],
}


@dataclass(frozen=True)
class Candidate:
    """A recipe with other layers, as "filters,kernel,stride,padding;…", other variation of images and learning rate.

    `taught`: with the teacher of the recipe, where it has one.
    """

    recipe: str
    convs: str
    change: str
    learning_rate: float | None = None
    taught: bool = False

    def made(self, epochs: int) -> Recipe:
        """Return the recipe of it."""
        base = EDGE[self.recipe]
        assert base.augmented is not None
        rate = self.learning_rate or base.augmented.learning_rate
        teacher = base.augmented.teacher if self.taught else None
        training = replace(base.augmented, change=CHANGES[self.change], learning_rate=rate, teacher=teacher)
        convs = []
        for text in self.convs.split(";"):
            *numbers, padding = text.split(",")
            filters, kernel, stride = map(int, numbers)
            convs.append(Conv(filters, kernel, stride, PADDINGS[padding], norm=True))
        return replace(base, convs=tuple(convs), augmented=training, epochs=epochs)


def candidates(recipe: str) -> list[Candidate]:
    """Return what was tried for a recipe, that of the package first."""
    own = EDGE[recipe]
    convs = ";".join(f"{conv.filters},{conv.kernel},{conv.stride},{conv.padding[0]}" for conv in own.convs)
    change = next(name for name, change in CHANGES.items() if own.augmented and change == own.augmented.change)
    others = [Candidate(recipe, *item) for item in OTHERS[recipe]]
    taught = bool(own.augmented and own.augmented.teacher)
    return list(dict.fromkeys([Candidate(recipe, convs, change, taught=taught), *others]))


def compiled(folder: Path) -> Path:
    """Return the trainer, compiled for this machine."""
    program = folder / "trainer"
    options = ["-std=c++17", "-O3", "-march=native", "-ffast-math", "-Wno-psabi"]
    subprocess.run([os.environ.get("CXX", "c++"), *options, "-o", str(program), str(SOURCE)], check=True)
    return program


def put(dataset: Dataset, training: AugmentedTraining, folder: Path) -> None:
    """Write the images that the trainer reads."""
    order = np.random.default_rng(ORDER).permutation(len(dataset.train))
    images, targets = training_images(dataset.train.part(order[:TRAINED_ON]), training, seed=0)
    held_out = dataset.train.part(order[TRAINED_ON:])
    folder.mkdir()
    images.tofile(folder / "images.u8")
    targets.astype(np.float32).tofile(folder / "targets.f32")
    held_out.images.tofile(folder / "held_out_images.u8")
    held_out.labels.astype(np.uint8).tofile(folder / "held_out_labels.u8")


def measured(program: Path, folder: Path, candidate: Candidate, epochs: int, seed: int) -> dict[str, Any]:
    """Train one candidate with one seed, and return its row: held-out error in percent and log loss."""
    recipe = candidate.made(epochs)
    training = recipe.augmented
    assert training is not None
    options: dict[str, Any] = {"epochs": epochs, "seed": seed}
    with tempfile.TemporaryDirectory(dir=folder) as place:
        if teacher := training.teacher:
            wide, saved = wider(recipe, teacher.width), f"{place}/teacher"
            trained(program, folder, wide, {"epochs": recipe.teacher_epochs(epochs), "seed": seed, "save": saved})
            options |= {"teacher": saved, "teacher_convs": convs_of(wide)}
            options |= {"share": teacher.share, "temperature": teacher.temperature}
        return {**asdict(candidate), "epochs": epochs, "seed": seed, **trained(program, folder, recipe, options)}


def trained(program: Path, folder: Path, recipe: Recipe, options: dict[str, Any]) -> dict[str, Any]:
    """Train a network as its recipe and further options of the trainer say, and return what the trainer prints."""
    training = recipe.augmented
    assert training is not None
    settings = {
        **{name: value for name, value in asdict(training.change).items() if name != "grid"},
        **{"convs": convs_of(recipe), "unvaried": training.unvaried},
        **{"learning_rate": training.learning_rate, "weight_decay": training.weight_decay},
        **options,
    }
    command = [str(program), str(folder), *(f"{name}={value}" for name, value in settings.items())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def convs_of(recipe: Recipe) -> str:
    """Return the convolutions as the trainer reads them."""
    return ";".join(f"{conv.filters},{conv.kernel},{conv.stride},{conv.padding}" for conv in recipe.convs)


def table(rows: list[dict[str, Any]]) -> str:
    """Return one line a candidate and number of epochs, by recipe, the one with the fewest errors first."""
    heads = ["recipe", "convolutions", "images varied", "parameters", "MACs", "epochs", "seeds", "error, %", "log loss"]
    groups: dict[tuple[Candidate, int], list[dict[str, Any]]] = {}
    for row in rows:
        candidate = Candidate(**{item.name: row[item.name] for item in fields(Candidate)})
        groups.setdefault((candidate, row["epochs"]), []).append(row)

    def order(item: tuple[tuple[Candidate, int], list[dict[str, Any]]]) -> tuple[int, float]:
        return list(EDGE).index(item[0][0].recipe), statistics.mean(row["error"] for row in item[1])

    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for (candidate, epochs), mine in sorted(groups.items(), key=order):
        recipe, errors = candidate.made(epochs), [row["error"] for row in mine]
        deviation = f" ± {statistics.stdev(errors):.2f}" if len(errors) > 1 else ""
        own = "**" if recipe.convs == EDGE[candidate.recipe].convs else ""
        change = candidate.change + (f", rate {candidate.learning_rate}" if candidate.learning_rate else "")
        change += ", teacher" if candidate.taught else ""
        cells = [f"`{candidate.recipe}`", own + candidate.convs.replace(";", " ") + own, change]
        cells += [f"{recipe.parameters:,}", f"{recipe.macs:,}", str(epochs), str(len(mine))]
        cells += [f"{statistics.mean(errors):.2f}{deviation}", f"{statistics.mean(row['loss'] for row in mine):.4f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train what is not measured yet, one candidate a core."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--recipe", action="append", choices=list(EDGE))
    options = parser.parse_args()
    earlier = RESULTS / "search.json"
    rows = list(json.loads(earlier.read_text(encoding="utf-8"))["rows"]) if earlier.is_file() else []
    dataset = load_mnist()
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(os.cpu_count()) as pool:
        program = compiled(Path(place))
        work = []
        for recipe in options.recipe or OTHERS:
            folder = Path(place) / recipe
            put(dataset, TRAININGS[recipe], folder)
            for candidate in candidates(recipe):
                for seed in range(options.seeds):
                    key = {**asdict(candidate), "epochs": options.epochs, "seed": seed}
                    if not any(all(row[name] == value for name, value in key.items()) for row in rows):
                        work.append(pool.submit(measured, program, folder, candidate, options.epochs, seed))
        for done in as_completed(work):
            rows.append(done.result())
            write("search", {"rows": rows}, table(rows))


if __name__ == "__main__":
    main()
