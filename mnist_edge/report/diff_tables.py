"""The differences of two model files for a terminal of 80 columns, and as JSON."""

from collections.abc import Iterable
from typing import Any, cast

from rich.console import Group, RenderableType
from rich.text import Text

from mnist_edge.core.text import flat
from mnist_edge.core.typed_json import SCHEMA, strict_json
from mnist_edge.diff.result import DiffReport, LayerDiff, TensorDiff, Verdict, WeightDiff, decibels
from mnist_edge.formats.weights import Layer
from mnist_edge.report.tables import table

STYLES = {Verdict.SAME: "green", Verdict.ROUNDING: "", Verdict.INHERITED: "yellow", Verdict.DIFFERS: "bold red"}
NAME = 18  # characters of a name; of longer ones the end is shown
NAMES = 8  # of layers in a line


def diff_table(report: DiffReport) -> RenderableType:
    """Return whether and where two files differ, then weights, what they compute, operators, inputs and outputs."""
    parts: list[RenderableType] = [
        Text(report.headline, style="bold"),
        Text(f"A: {report.a.path}\nB: {report.b.path}\n"),
    ]
    if report.layers:
        parts += [_weights(report), Text("")]
    if report.tensors:
        parts += [_tensors(report), Text("")]
    return Group(*parts, *map(Text, _lines(report)), Text(_legend(report), style="dim"))


def _weights(report: DiffReport) -> RenderableType:
    rows = table("weights of", "verdict", "SNR dB", "largest", "dtype", "shape")
    details = []
    for layer in report.layers:
        for place, item in enumerate(layer.weights):
            name = _names(layer.a.name, layer.b.name) if not place else f"  {item.role}"
            rows.add_row(name, *_cells(item))
            if item.detail:
                details.append(f"{layer.a.name}, {item.role}: {item.detail}.")
        if report.rewritten(layer):
            details.append(f"{layer.a.name} agrees in what it gives: an operator is folded into it in A or B.")
    return Group(rows, *(Text(line, style=STYLES[Verdict.DIFFERS]) for line in details))


def _cells(item: WeightDiff) -> list[str | Text]:
    shape = "×".join(map(str, item.shape or item.other_shape)) or "1"
    first, second = item.dtypes
    dtype = first if first == second else f"{first}/{second}"
    largest = "0" if not item.largest else f"{item.largest:.2e}"
    return [Text(item.verdict, style=STYLES[item.verdict]), _ratio(item.snr), largest, dtype, shape]


def _tensors(report: DiffReport) -> RenderableType:
    rows = table("output of", "verdict", "SNR dB", "at least", "largest", "of")
    for item in report.tensors:
        verdict = Text(item.verdict, style=STYLES[item.verdict])
        least = "–" if item.verdict is Verdict.INHERITED else f"{item.expected:.1f}"
        figures = _ratio(item.snr), least, f"{item.largest:.2e}", f"{item.reach:.3g}"
        rows.add_row(_names(item.a, item.b), verdict, *figures)
    return rows


def _ratio(snr: float) -> str:
    return decibels(snr).removesuffix(" dB")


def _lines(report: DiffReport) -> list[str]:
    """Return what is told in words: layers that do not pair, operators, inputs and outputs."""
    lines = []
    for who, alone in (("A", report.alone_a), ("B", report.alone_b)):
        lines += [f"{who} alone has {_listed(alone)}."] if alone else []
    for who, layers in (("A", report.not_compared_a), ("B", report.not_compared_b)):
        lines += [f"Not compared, {who}: constants of {_listed(layers)}."] if layers else []
    if report.one_format:
        lines += [f"Operator {kind}: {in_a} in A, {in_b} in B." for kind, in_a, in_b in report.operators]
    else:
        for place, who in enumerate("AB", 1):
            counts = (f"{item[0]} ×{item[place]}" for item in report.operators if item[place])
            lines.append(f"Operators of {who}: {', '.join(counts)}.")
    lines += [f"Differs: {line}" for line in report.ends]
    if report.not_run:
        lines.append(f"What they compute was not compared: {report.not_run}.")
    return lines


def _listed(layers: Iterable[Layer]) -> str:
    found = [f"{item.name} ({item.kind})" for item in layers]
    return ", ".join(found[:NAMES]) + (f" and {len(found) - NAMES} more" if len(found) > NAMES else "")


def _names(a: str, b: str) -> str:
    """Return the name of a layer in both files."""
    first, second = (name if len(name) <= NAME else f"…{name[1 - NAME :]}" for name in map(flat, (a, b)))
    return first if a == b else f"{first} / {second}"


def _legend(report: DiffReport) -> str:
    legend = (
        "SNR: of B against A; rounding: no number differs by more than the steps of both files; largest: of the "
        "differences."
    )
    if report.tensors:
        legend += (
            f" Outputs on {report.images} golden images, computed operator by operator; under “at least” a layer "
            "parts: 12 dB under the lowest before it; of: A's largest value."
        )
    return legend


def diff_json(report: DiffReport) -> dict[str, Any]:
    """Return all of it as plain values, with a schema number."""
    parts = report.parts_at
    content = {
        "schema": SCHEMA,
        "same": report.same,
        "verdict": report.verdict,
        "headline": report.headline,
        "a": {"file": report.a.path, "format": report.a.format},
        "b": {"file": report.b.path, "format": report.b.format},
        "operators_compared": report.one_format,
        "operators": [{"kind": kind, "a": in_a, "b": in_b} for kind, in_a, in_b in report.operators],
        "ends": report.ends,
        "layers": [_layer(item) for item in report.layers],
        "alone_a": _kinds(report.alone_a),
        "alone_b": _kinds(report.alone_b),
        "not_compared_a": _kinds(report.not_compared_a),
        "not_compared_b": _kinds(report.not_compared_b),
        "images": report.images,
        "tensors": [_tensor(item) for item in report.tensors],
        "parts_at": parts and parts.a,
        "not_run": report.not_run,
    }
    return cast(dict[str, Any], strict_json(content))


def _layer(layer: LayerDiff) -> dict[str, Any]:
    weights = [
        {
            "role": item.role,
            "verdict": item.verdict,
            "shape": [item.shape, item.other_shape],
            "dtype": item.dtypes,
            "largest": item.largest,
            "snr": item.snr,
            "beyond_rounding": item.beyond,
            "detail": item.detail,
        }
        for item in layer.weights
    ]
    return {"a": layer.a.name, "b": layer.b.name, "kind": [layer.a.kind, layer.b.kind], "weights": weights}


def _tensor(item: TensorDiff) -> dict[str, Any]:
    return {
        "a": flat(item.a),
        "b": flat(item.b),
        "verdict": item.verdict,
        "snr": item.snr,
        "at_least": item.expected,
        "largest": item.largest,
        "reach": item.reach,
    }


def _kinds(layers: Iterable[Layer]) -> list[dict[str, str]]:
    return [{"name": item.name, "kind": item.kind} for item in layers]
