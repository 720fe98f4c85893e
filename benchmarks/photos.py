"""Read pictures of digits as people take them, with the default network: how many are right, and which are refused.

    python benchmarks/photos.py [--artifact exports/edge/edge-int8.tflite] [--each 200]

Writes results/photos.json (every answer) and results/photos.md. What the pictures are, `pictures.py` says. The fonts'
Debian packages must be installed; it names those that are missing.
"""

import argparse
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import astuple, dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import get_args

from distortions import DISTORTIONS
from pictures import EMPTY, FONTS, KINDS, REDRAWN, SOURCES, TWO, Picture, hopeless, pictures
from shapes import FONT_FILES, FONT_FOLDER, Half

from mnist_edge.core.errors import PictureError
from mnist_edge.core.folder import NETWORK
from mnist_edge.data import dataset as data
from mnist_edge.predict import check_known, opened, threshold_of
from mnist_edge.predict.picture import mnist_like

RESULTS = Path(__file__).parent / "results"
ARTIFACT = NETWORK / "edge-int8.tflite"


@dataclass(frozen=True)
class Answer:
    """What was answered to one picture; None is "no digit found", which is right where there is no label."""

    half: str
    source: str
    distortion: str
    label: int | None
    answer: int | None


def missing_fonts() -> list[str]:
    """The Debian packages of the fonts that are not installed."""
    fonts = [item for half in FONT_FILES.values() for item in half.values()]
    return sorted(package for package, file in fonts if not (FONT_FOLDER / file).is_file())


def part(half: Half, source: str, each: int, artifact: Path) -> list[Answer]:
    """Draw and read one source of one half; for a process of its own."""
    dataset = data.load_mnist()
    digits = dataset.train if half == "improve" else dataset.test
    return answers(half, pictures(half, digits, source, each), artifact)


def answers(half: Half, of: Iterable[Picture], artifact: Path = ARTIFACT) -> list[Answer]:
    """Read pictures and classify them as `predict` does."""
    found, threshold = [], threshold_of(artifact)
    with opened(artifact) as run:
        for picture in of:
            answer = None
            with suppress(PictureError):
                probabilities = run(mnist_like(picture.grey)[None])[0]
                check_known(probabilities, threshold)
                answer = int(probabilities.argmax())
            found.append(Answer(half, picture.source, picture.distortion, picture.label, answer))
    return found


def share(found: list[Answer]) -> str:
    """How many are right, with the refused ones behind it."""
    right = sum(item.answer == item.label for item in found) / len(found)
    refused = sum(item.answer is None and item.label is not None for item in found)
    return f"{right:.1%} of {len(found)}" + (f", {refused} refused" if refused else "")


def table(half: Half, found: list[Answer]) -> list[str]:
    """A row for each distortion, a column for each source."""
    heads = ["what is done to it", REDRAWN, FONTS, f"{EMPTY}, refused", f"{TWO}, refused"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    everything = "**all**"
    for name in (*DISTORTIONS, everything):
        cells = []
        for source in SOURCES:
            sources = FONT_FILES[half] if source == FONTS else {source}
            mine = [x for x in found if x.half == half and x.source in sources and name in (x.distortion, everything)]
            cells.append(share(mine))
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return lines


def tables(found: list[Answer], guessed: list[str]) -> list[str]:
    """The lines of photos.md."""
    lines = []
    for half in reversed(get_args(Half)):
        lines += [f"The half `{half}`:", "", *table(half, found), "", "What each is there:", ""]
        for name, each in DISTORTIONS.items():
            kinds = (each.__doc__ or "").split(" | ")
            lines.append(f"- {name}: {'; or '.join(kinds[kind] for kind in KINDS[half])}")
        lines += ["", "| font | right |", "|---|---|"]
        for name, (package, _) in FONT_FILES[half].items():
            lines.append(f"| {name} (`{package}`) | {share([x for x in found if x.source == name])} |")
        lines.append("")
    without = [name for name in hopeless() if name not in guessed]
    lines.append(
        f"Other pictures without a digit, refused: {', '.join(without)}; guessed: {', '.join(guessed) or 'none'}."
    )
    return lines


def main() -> None:
    """Read all pictures and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifact", type=Path, default=ARTIFACT)
    parser.add_argument("--each", type=int, default=200, help="pictures of each distortion, half and source")
    options = parser.parse_args()
    if missing := missing_fonts():
        parser.error(f"fonts are missing: apt-get install {' '.join(missing)}")
    parts = [(half, source, options.each, options.artifact) for half in get_args(Half) for source in SOURCES]
    with Pool() as pool:
        found = [answer for one in pool.starmap(part, parts, chunksize=1) for answer in one]
    guessed = []
    for name, grey in hopeless().items():
        try:
            mnist_like(grey)
            guessed.append(name)
        except PictureError:
            continue
    content = {
        "artifact": options.artifact.name,
        "guessed": guessed,
        "fields": list(Answer.__dataclass_fields__),
        "answers": [astuple(answer) for answer in found],
    }
    (RESULTS / "photos.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
    lines = tables(found, guessed)
    (RESULTS / "photos.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
