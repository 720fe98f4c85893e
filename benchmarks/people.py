"""Read a folder of labelled pictures, none of them of MNIST, with any number of files: right, wrong, refused, by kind.

    python benchmarks/people.py FOLDER --artifact exports/cnn/cnn-int8.tflite [--artifact …] [--name people]

FOLDER has a `labels.csv` with the columns file, label and kind. Where the label is no digit, to refuse is right. Writes
results/NAME.json (every answer) and results/NAME.md.
"""

import argparse
import csv
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mnist_edge.core.errors import PictureError
from mnist_edge.predict import check_known, opened, threshold_of
from mnist_edge.predict.picture import read

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Answer:
    """What a file answered to one picture; `refused` is why no digit was named."""

    picture: str
    kind: str
    label: str
    digit: int | None
    probability: float | None
    refused: str | None

    @property
    def right(self) -> bool:
        """Whether the digit is right, or a picture without one was refused."""
        return str(self.digit) == self.label if self.label.isdigit() and len(self.label) == 1 else self.digit is None


def labels(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a folder's labels.csv."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def answers(folder: Path, artifact: Path) -> list[Answer]:
    """Return what one file answers to all pictures of a folder."""
    found, threshold = [], threshold_of(artifact)
    with opened(artifact) as run:
        for row in labels(folder):
            digit = probability = refused = None
            try:
                probabilities = run(read(folder / row["file"])[None])[0]
                check_known(probabilities, threshold)
                digit, probability = int(probabilities.argmax()), float(np.max(probabilities))
            except PictureError as error:
                refused = str(error).partition("no digit found: ")[2] or str(error)
            found.append(Answer(row["file"], row["kind"], row["label"], digit, probability, refused))
    return found


def table(found: list[Answer]) -> list[str]:
    """Return the lines of the table of one file: a row for each kind."""
    lines = ["| kind | pictures | right | wrong | refused |", "|---|---|---|---|---|"]
    for kind in dict.fromkeys(item.kind for item in found):
        mine = [item for item in found if item.kind == kind]
        right, refused = sum(item.right for item in mine), sum(item.digit is None for item in mine)
        wrong = sum(not item.right and item.digit is not None for item in mine)
        lines.append(f"| {kind} | {len(mine)} | {right} ({right / len(mine):.1%}) | {wrong} | {refused} |")
    return lines


def main() -> None:
    """Read all pictures with every file, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--artifact", type=Path, action="append", required=True)
    parser.add_argument("--name", default="people", help="of the results")
    options = parser.parse_args()
    content, lines = {}, []
    for artifact in options.artifact:
        found = answers(options.folder, artifact)
        content[artifact.name] = [asdict(item) for item in found]
        lines += [f"`{artifact.name}`:", "", *table(found), "", "| why refused | pictures |", "|---|---|"]
        reasons = Counter(item.refused for item in found if item.refused)
        lines += [f"| {reason} | {count} |" for reason, count in reasons.most_common()] + [""]
    (RESULTS / f"{options.name}.json").write_text(json.dumps(content) + "\n", encoding="utf-8")
    (RESULTS / f"{options.name}.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
