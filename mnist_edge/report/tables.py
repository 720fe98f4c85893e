"""Results as rich tables for the terminal."""

import sys
from collections.abc import Collection, Iterable
from copy import copy
from dataclasses import replace
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Column, Table
from rich.text import Text

from mnist_edge.core.contract import LABELS, Contract, Precision
from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.manifest import Manifest
from mnist_edge.core.reading import reading
from mnist_edge.core.typed_json import parse
from mnist_edge.export.exporter import Exported
from mnist_edge.formats import FORMATS
from mnist_edge.formats.base import Format
from mnist_edge.formats.inspection import Description, tensor_text
from mnist_edge.training.recipe import Recipe
from mnist_edge.verify.result import Status

SCHEMA = 1
TEXT = 24  # columns for a text that wraps, at least
LOOK: dict[str, Any] = {"box": box.SIMPLE_HEAD, "pad_edge": False, "collapse_padding": True, "show_edge": False}
STYLES = {Status.PASS: "green", Status.FAIL: "bold red", Status.SKIPPED: "yellow"}


class FittedTable(Table):
    """A table that leaves out its last columns where there is no room for them; of two, the first may be broken."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the columns that fit, two at least, and name the others."""
        columns, left_out = list(self.columns), list[str]()
        wide = options.update(width=sys.maxsize)

        def too_wide() -> bool:
            return console.measure(self._with(columns, TEXT), options=wide).maximum > options.max_width

        while len(columns) > 2 and too_wide():
            left_out.insert(0, str(columns.pop().header))
        if too_wide():
            columns[0] = replace(columns[0], no_wrap=False)
        yield self._with(columns)
        if left_out:
            yield Text(f"Left out, as the terminal is too narrow: {', '.join(left_out)}.", style="dim")

    def _with(self, columns: Iterable[Column], text: int | None = None) -> Table:
        """Return a plain table of some of the columns; `text` is the width of those that wrap, where it is set."""
        shown = [column if column.no_wrap else replace(column, width=text) for column in columns]
        rows = Table(*map(copy, shown), title=self.title, title_justify="left", title_style="bold", **LOOK)
        rows.rows = self.rows
        return rows


def table(*columns: str, title: str | None = None) -> FittedTable:
    """Return an empty table; the first column is text and the others are right-aligned. No cell is wrapped."""
    rows = FittedTable(title=title)
    for index, column in enumerate(columns):
        rows.add_column(column, justify="right" if index else "left", no_wrap=True, overflow="fold")
    return rows


def models_table(recipes: Collection[Recipe]) -> RenderableType:
    """Return the recipes."""
    rows = table("model", "params", "MACs", "reported", "notebook")
    for recipe in recipes:
        rows.add_row(
            recipe.name,
            f"{recipe.parameters:,}",
            f"{recipe.macs:,}",
            "" if recipe.reported is None else f"{recipe.reported:.2%}",
            recipe.notebook or "",
        )
    return Group(rows, *(Text(f"{recipe.name}: {recipe.network}", style="dim") for recipe in recipes))


def formats_table(formats: Collection[Format]) -> RenderableType:
    """Return formats beside precisions, with what is missing below."""
    rows = table("precision", *(item.name for item in formats))
    notes = []
    for precision in Precision:
        rows.add_row(precision, *("yes" if precision in item.precisions else "no" for item in formats))
    for item in formats:
        notes += [f"no {precision} in {item.name}: {reason}" for precision, reason in item.unsupported.items()]
        notes.append(f"{item.name} runtime: {item.missing() or 'installed'}")
    return Group(rows, *(Text(note, style="dim") for note in notes))


def training_summary(record: dict[str, Any], layers: str) -> RenderableType:
    """Return what `training.json` says: layers, test loss and accuracy, classification report, confusion matrix."""
    test, parts = record["test"], record["split"]
    confusion = table("true \\ said", *LABELS, title="Confusion matrix, test images")
    for digit, row in zip(LABELS, test["confusion"], strict=True):
        confusion.add_row(
            digit, *(Text(str(count), style="bold" if str(said) == digit else "") for said, count in enumerate(row))
        )
    lines = [
        layers.rstrip(),
        "",
        f"Trained on {parts['training']:,} images, {parts['validation']:,} held out, seed {record['seed']}, "
        f"{record['epochs']} epochs of batch {record['batch_size']}, {record['seconds']:.0f} s. "
        f"Data: {record['dataset']['name']}.",
        f"Test loss {test['loss']:.4f}, test accuracy {test['accuracy']:.4f}"
        + (f" (floor of this recipe {record['floor']})" if record["floor"] is not None else "")
        + (f"; the notebook reported {reported}." if (reported := record["recipe"]["reported"]) else "."),
        "",
        test["report_text"].rstrip(),
        "",
    ]
    return Group(Text("\n".join(lines)), confusion)


def size(count: int) -> str:
    """Return a size in kB of 1 000 bytes."""
    return f"{count / 1000:,.1f} kB"


def difference(value: float) -> str:
    """Return a difference in probability: 0.036, 9e-07, or 0 where there is none."""
    return "0" if value == 0 else f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def export_table(manifest: Manifest, width: int = 80) -> Table:
    """Return the artifacts: size, compression against float32, and on a wide terminal input and output."""
    columns = ("file", "size", "vs float32", "input", "output")
    shown = len(columns) if width >= max(len(item.path.name) for item in manifest.artifacts) + 59 else 3
    rows = table(*columns[:shown])
    for artifact in manifest.artifacts:
        other = manifest.float32_counterpart(artifact)
        ratio = other.bytes / artifact.bytes if other else 1.0
        compression = f"{ratio:.2f}× smaller" if ratio > 1.05 else f"{1 / ratio:.2f}× larger" if ratio < 0.95 else "–"
        cells = [
            size(artifact.bytes),
            compression,
            tensor_text(artifact.contract.input, compact=True),
            tensor_text(artifact.contract.output, compact=True),
        ]
        rows.add_row(artifact.path.name, *cells[: shown - 1])
    return rows


def description_table(name: str, described: Description) -> RenderableType:
    """Return what is in a file."""
    rows = table("operator", "version", "count", title=name)
    for operator in described.operators:
        rows.add_row(operator.kind, str(operator.version), str(operator.count))
    metadata = {key: value for key, value in described.metadata.items() if key != "contract"}
    lines = [
        *(f"in:  {line}" for line in described.inputs),
        *(f"out: {line}" for line in described.outputs),
        "contract: " + (_contract_line(described.metadata) or "none in the file; it is not one of ours"),
        ", ".join(f"{key} {value}" for key, value in described.versions.items()),
        f"{described.parameters:,} parameters, {described.macs:,} multiply-accumulates for one image",
        "size: " + ", ".join(f"{part} {size(count)}" for part, count in described.sizes.items()),
        f"oldest runtime: {described.oldest}",
        f"executed here: {_executed(described)}",
        *([f"takes {described.footprint}"] if described.footprint else []),
        *(f"{key}: {value}" for key, value in metadata.items()),
    ]
    return Group(rows, Text("\n".join(lines)))


def _executed(described: Description) -> str:
    if described.refused:
        return f"nothing: {described.refused}"
    return str(described.runtime_operators or "no runtime is installed")


def _contract_line(metadata: dict[str, str]) -> str | None:
    if "contract" not in metadata:
        return None
    try:
        with reading(ArtifactError, "what the file says of it cannot be read"):
            contract = Contract.from_json(parse(metadata["contract"]))
    except ArtifactError as error:
        return str(error)
    return f"{contract.input.meaning} → {contract.output.meaning}; layout {contract.layout}"


def quantization_code(manifest: Manifest) -> str:
    """Return Python code that quantizes pixels for files with int8 input, and dequantizes their outputs."""
    contracts = {
        item.path.name: item.contract
        for item in manifest.artifacts
        if item.contract.input.scale is not None and not FORMATS[item.format].platform  # whose header says it in C
    }
    lines = []
    for name, contract in contracts.items():
        source, sink = contract.input, contract.output
        lines += [
            f"# {name}: real numbers to and from its int8; `pixels` are uint8, 0 black to 255 white",
            f"image = np.round(pixels / 255 / {source.scale!r}) {_signed(source.zero_point or 0)}",
            f"image = np.clip(image, -128, 127).astype(np.int8).reshape({[size or -1 for size in source.shape]})",
            f"{sink.name} = ({sink.name}_int8.astype(np.float32) {_signed(-(sink.zero_point or 0))}) * {sink.scale!r}",
        ]
    return "\n".join(lines)


def _signed(number: int) -> str:
    return f"{'-' if number < 0 else '+'} {abs(number)}"


def operator_lines(exported: Exported) -> list[str]:
    """Return for each new int8 file how many operators its runtime here computes in int8."""
    return [
        f"{artifact.path.name}: {FORMATS[artifact.format].describe(artifact.path).runtime_operators}"
        for artifact in exported.manifest.artifacts
        if artifact.precision is Precision.INT8 and artifact.path.name in exported.written
    ]


def footprint_lines(exported: Exported) -> list[str]:
    """Return for each file just written for another kind of machine what it takes there."""
    return [
        f"{artifact.path.name}: {target.footprint(artifact.path)}"
        for artifact in exported.manifest.artifacts
        if artifact.path.name in exported.written and (target := FORMATS[artifact.format].platform)
    ]
