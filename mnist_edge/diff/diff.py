"""Compares two model files of any format."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from mnist_edge.core.errors import ArtifactError, MissingRuntime
from mnist_edge.core.folder import REFERENCE
from mnist_edge.core.reference import Reference
from mnist_edge.diff.pairing import pair_layers
from mnist_edge.diff.result import DiffReport, LayerDiff, Side, TensorDiff
from mnist_edge.diff.tensors import compare_tensors, start
from mnist_edge.diff.weights import compare_layers
from mnist_edge.formats import format_of
from mnist_edge.formats.first_look import first_look
from mnist_edge.formats.inspection import Description
from mnist_edge.formats.weights import Layer

IMAGES = 20
SIZES = re.compile(r"^(?P<name>.*?)(?P<dtype>\w+) \[(?P<sizes>[^\]]*)\]")


def diff(a: str | Path, b: str | Path, reference: str | Path | None = None) -> DiffReport:
    """Return how two model files differ.

    Args:
        a: the first file.
        b: the other, of the same format or of another.
        reference: a reference.npz with the golden images; else the one beside A or beside B.

    Raises:
        ArtifactError: one of them cannot be read.
        FolderError: the reference cannot be read.
        MissingRuntime: the package that reads one of them is not installed.
    """
    a, b, reference = Path(a), Path(b), None if reference is None else Path(reference)
    side_a, layers_a = read = _read(a)
    side_b, layers_b = read if a == b else _read(b)
    one_format = side_a.format == side_b.format
    can_pair, cannot = zip(*(_parted(each, one_format) for each in (layers_a, layers_b)), strict=True)
    pairs, alone_a, alone_b = pair_layers(*can_pair)
    compared = tuple(compare_layers(*pair) for pair in pairs)
    tensors, images, not_run = _run((a, b), reference, compared, min(start(layers_a), start(layers_b)))
    return DiffReport(
        a=side_a,
        b=side_b,
        operators=tuple(_operators(side_a.description, side_b.description, all_of_them=not one_format)),
        ends=tuple(_ends(side_a.description, side_b.description, one_format)),
        layers=compared,
        alone_a=tuple(alone_a),
        alone_b=tuple(alone_b),
        not_compared_a=tuple(cannot[0]),
        not_compared_b=tuple(cannot[1]),
        tensors=tensors,
        images=images,
        not_run=not_run,
    )


def _read(path: Path) -> tuple[Side, tuple[Layer, ...]]:
    """Return what is in a file, and its layers, after another process has read it."""
    if not path.is_file():
        raise ArtifactError(f"{path} is a folder; give a file." if path.is_dir() else f"there is no file {path}.")
    file_format = format_of(path)
    first_look(path, file_format, step="layers")
    layers = file_format.layers(path)  # first: what has none to compare is refused as that
    return Side(str(path), file_format.name, file_format.describe(path)), layers


def _parted(layers: Iterable[Layer], one_format: bool) -> tuple[list[Layer], list[Layer]]:
    """Return the layers that can be paired with the other file's, and those that cannot."""
    can_pair, cannot = list[Layer](), list[Layer]()
    for item in layers:
        (can_pair if (item.weights if one_format else item.kernel) else cannot).append(item)
    return can_pair, cannot


def _operators(a: Description, b: Description, all_of_them: bool) -> Iterator[tuple[str, int, int]]:
    """Yield the kinds of operators with their counts in A and in B, where these differ."""
    counts = [Counter[str](), Counter[str]()]
    for place, described in enumerate((a, b)):
        for item in described.operators:
            counts[place][item.kind] += item.count
    for kind in dict.fromkeys([*counts[0], *counts[1]]):
        if all_of_them or counts[0][kind] != counts[1][kind]:
            yield kind, counts[0][kind], counts[1][kind]


def _ends(a: Description, b: Description, one_format: bool) -> list[str]:
    """Return the differences of inputs and outputs; layout and scales are the format's own where there are two."""
    lines = []
    for what, ours, theirs in (("input", a.inputs, b.inputs), ("output", a.outputs, b.outputs)):
        for place in range(max(len(ours), len(theirs))):
            one, other = (texts[place] if place < len(texts) else "none" for texts in (ours, theirs))
            if one != other if one_format else _comparable(one) != _comparable(other):
                lines.append(f"{what}: A {one}; B {other}")
    return lines


def _comparable(text: str) -> tuple[str, ...]:
    """Return name, dtype and sizes of an input or output, whatever the order of its axes."""
    found = SIZES.match(text)
    if found is None:
        return (text,)
    sizes = [size for size in re.findall(r"\d+", found["sizes"]) if size != "1"]
    return found["name"], found["dtype"], *sorted(sizes)


def _run(
    paths: tuple[Path, Path], reference: Path | None, layers: tuple[LayerDiff, ...], expected: float
) -> tuple[tuple[TensorDiff, ...], int, str | None]:
    """Return the differences of what both files compute, on how many images, or why that was not compared."""
    beside = [path.parent / REFERENCE for path in paths]
    source = reference or next((path for path in beside if path.is_file()), None)
    if source is None:
        return (), 0, f"there is no {REFERENCE} beside A or B; name one with --reference"
    if not source.is_file():
        raise ArtifactError(f"there is no file {source}.")
    images = Reference.read(source).subset(IMAGES).images
    try:
        trace_a, trace_b = (format_of(path).trace(path, images) for path in paths)
    except (ArtifactError, MissingRuntime) as error:
        return (), 0, str(error).rstrip(".")
    return compare_tensors(trace_a, trace_b, layers, expected), len(images), None
