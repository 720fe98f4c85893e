"""Read pictures of digits as people take them, with the default network: how many are right, and which are refused.

    python benchmarks/photos.py --artifact exports/cnn/cnn-int8.tflite [--each 200]

Writes results/photos.json (every answer) and results/photos.md. What the pictures are, `pictures.py` says. The fonts'
Debian packages must be installed; it names those that are missing.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import get_args

from pictures import DISTORTIONS, Picture, hopeless, pictures
from shapes import FONT_FOLDER, FONTS, Half

from mnist_edge import data
from mnist_edge.errors import PictureError
from mnist_edge.formats import format_of
from mnist_edge.formats.base import Runner
from mnist_edge.preprocess import mnist_like

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Answer:
    """What was answered to one picture; None is "no digit found"."""

    half: str
    source: str
    distortion: str
    label: int
    answer: int | None


def missing_fonts() -> list[str]:
    """The Debian packages of the fonts that are not installed."""
    fonts = [item for half in FONTS.values() for item in half.values()]
    return sorted(package for package, file in fonts if not (FONT_FOLDER / file).is_file())


def answers(half: Half, of: Iterable[Picture], runner: Runner) -> list[Answer]:
    """Read pictures and classify them."""
    found = []
    for picture in of:
        try:
            answer = int(runner.run(mnist_like(picture.grey)[None])[0].argmax())
        except PictureError:
            answer = None
        found.append(Answer(half, picture.source, picture.distortion, picture.label, answer))
    return found


def share(found: list[Answer]) -> str:
    """How many are right, with the refused ones behind it."""
    right = sum(item.answer == item.label for item in found) / len(found)
    refused = sum(item.answer is None for item in found)
    return f"{right:.1%} of {len(found)}" + (f", {refused} refused" if refused else "")


def table(heads: list[str], rows: Iterable[tuple[str, Callable[[Answer], bool]]], found: list[Answer]) -> list[str]:
    """A row for each name, a column for each half and source that has it."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name, belongs in rows:
        cells = []
        for half in get_args(Half):
            for redrawn in (True, False):
                mine = [x for x in found if x.half == half and (x.source == "redrawn") is redrawn and belongs(x)]
                if mine:
                    cells.append(share(mine))
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return lines


def by_distortion(name: str) -> tuple[str, Callable[[Answer], bool]]:
    """A row of the table of distortions."""
    return name, lambda answer: answer.distortion == name


def by_font(half: Half, name: str) -> tuple[str, Callable[[Answer], bool]]:
    """A row of the table of fonts."""
    return f"{name} (`{FONTS[half][name][0]}`) | {half}", lambda answer: answer.source == name


def main() -> None:
    """Read all pictures and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, default=Path("exports/cnn/cnn-int8.tflite"))
    parser.add_argument("--each", type=int, default=200, help="pictures of each distortion, half and source")
    options = parser.parse_args()
    if missing := missing_fonts():
        parser.error(f"fonts are missing: apt-get install {' '.join(missing)}")
    dataset = data.load()
    found: list[Answer] = []
    with format_of(options.artifact).open(options.artifact) as runner:
        for half in get_args(Half):
            digits = dataset.train if half == "improve" else dataset.test
            found += answers(half, pictures(half, digits, options.each), runner)
            found += answers(half, pictures(half, None, options.each), runner)
    refused = {}
    for name, grey in hopeless().items():
        try:
            mnist_like(grey)
            refused[name] = False
        except PictureError:
            refused[name] = True
    fields = list(Answer.__dataclass_fields__)
    content = {
        "artifact": options.artifact.name,
        "refused": refused,
        "fields": fields,
        "answers": [astuple(answer) for answer in found],
    }
    (RESULTS / "photos.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
    heads = ["distortion", "improve: redrawn", "improve: fonts", "report: redrawn", "report: fonts"]
    every: tuple[str, Callable[[Answer], bool]] = ("**all**", lambda answer: True)
    lines = table(heads, [*map(by_distortion, DISTORTIONS), every], found)
    lines += ["", "What each is, in the half `improve` and in the half `report`:", ""]
    lines += [
        f"- {name}: {each.__doc__ or 'nothing but paper, ink, size and place'}" for name, each in DISTORTIONS.items()
    ]
    rows = [by_font(half, name) for half in get_args(Half) for name in FONTS[half]]
    lines += ["", *table(["font", "half", "right"], rows, found)]
    lines += ["", f"Without a digit, and refused: {', '.join(name for name, is_so in refused.items() if is_so)}."]
    if guessed := [name for name, is_so in refused.items() if not is_so]:
        lines.append(f"Guessed all the same: {', '.join(guessed)}.")
    (RESULTS / "photos.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
