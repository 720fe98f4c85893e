"""The report that `mnist-edge report` writes: one self-contained HTML file, and a Markdown one of the same facts."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from mnist_edge import __version__
from mnist_edge.core.contract import LABELS
from mnist_edge.core.metrics import Pair, margins
from mnist_edge.core.optional import require
from mnist_edge.core.text import printable
from mnist_edge.formats.inspection import tensor_text
from mnist_edge.report import plots
from mnist_edge.report.devices import Device
from mnist_edge.report.latency_facts import figures, latency_facts
from mnist_edge.report.stored import BenchResults
from mnist_edge.report.tables import difference, size
from mnist_edge.report.verify_tables import interval, worst_tolerances
from mnist_edge.verify.result import KERAS_NAME, ArtifactResult, Status, VerifyReport
from mnist_edge.verify.tolerances import figure

SHOWN, LISTED = 60, 40
NOISE = {True: "within noise", False: "more than noise"}
MARKS = {Status.PASS: "✓", Status.FAIL: "✗", Status.SKIPPED: "–"}


def render(
    report: VerifyReport, bench: BenchResults | None, strict: bool = False, devices: Iterable[Device] = ()
) -> dict[str, str]:
    """Return the pages by their file's suffix, `.html` and `.md`.

    Args:
        report: the result of `verify`.
        bench: the results of `bench`; those of other files than these are left out, and the page says so.
        strict: what was skipped counts as a failure.
        devices: results of boards for the same files.

    Raises:
        MissingRuntime: Jinja2 or matplotlib is not installed.
    """
    jinja2 = require("jinja2", "jinja2", "writing a report")
    require("matplotlib", "matplotlib", "writing a report")
    devices = tuple(devices)
    facts = {
        **_verdict_facts(report),
        **latency_facts(report, bench),
        "good": report.passes(strict) and all(device.passes(strict) for device in devices),
        "failed_on": [device.name for device in devices if not device.passes(strict)],
        "devices": [_device(device, strict) for device in devices],
        "labels": LABELS,
        "version": __version__,
    }
    pages = {}
    for suffix, escape in ((".html", True), (".md", False)):
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("mnist_edge.report"),
            autoescape=escape,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_in_one_line if escape else _in_markdown,
        )
        environment.globals["mark"] = lambda status: f"{MARKS[Status(status)]} {status}"
        pages[suffix] = environment.get_template(f"report{suffix}.j2").render(facts) + "\n"
    return pages


def _in_one_line(value: Any) -> Any:
    """Return a value that goes into a page: text of files in one line that prints; markup of ours as it is."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return printable(" ".join(value.splitlines()))


def _in_markdown(value: Any) -> Any:
    """Return a value in which nothing ends a table's cell, is HTML, or makes a link."""
    if not isinstance(value, str):
        return value
    return str(_in_one_line(value)).replace("<", "&lt;").replace("|", "\\|").replace("](", "\\](")


def _verdict_facts(report: VerifyReport) -> dict[str, Any]:
    """Return what both templates show of `verify`; numbers are formatted here, once."""
    outputs, changed = report.outputs, _changed(report)
    files = {name: values for name, values in outputs.items() if name != KERAS_NAME}
    checked = [item for item in report.results if item.internal_check is not None]
    return {
        "report": report,
        "counts": {status: report.statuses().count(status) for status in Status},
        "rows": [_row(result) for result in report.results],
        "names": list(outputs),
        "matrix": _matrix(report),
        "pairs": [{**asdict(pair), "images": _images(pair)} for pair in report.pairs],
        "flips": [_flip(report, image) for image in changed[:SHOWN]],
        "flip_count": len(changed),
        "tolerances": _tolerances(report),
        "variants": _variants(report),
        "footprints": [(item.artifact.path.name, item.footprint) for item in report.results if item.footprint],
        "layers": {item.artifact.path.name: item.internal_check.errors for item in checked if item.internal_check},
        "confusion": {name: _confusion(report, values) for name, values in outputs.items()},
        "histograms": plots.histograms(report.sample.keras, files) if files else "",
        "contracts": [
            (
                result.artifact.path.name,
                tensor_text(contract.input, compact=True),
                contract.input.meaning,
                tensor_text(contract.output),
            )
            for result in report.results
            if (contract := result.artifact.contract)
        ],
    }


def _tolerances(report: VerifyReport) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{precision}.{result.tolerance.name}",
            "words": result.tolerance.words,
            "measured": figure(result.measured),
            "allowed": figure(result.tolerance.allowed),
            "unit": result.tolerance.unit,
            "origin": result.tolerance.origin,
            "file": name,
            "good": result.passed,
        }
        for precision, result, name in worst_tolerances(report.results)
    ]


def _variants(report: VerifyReport) -> list[dict[str, Any]]:
    return [
        {
            "file": result.artifact.path.name,
            "name": variant.name,
            "flips": len(variant.flips),
            "difference": variant.skipped or variant.error or difference(variant.largest_difference),
            "verdict": Status.SKIPPED if variant.skipped else Status.PASS if variant.passed else Status.FAIL,
        }
        for result in report.results
        for variant in result.variants
    ]


def _device(device: Device, strict: bool) -> dict[str, Any]:
    """Return a board's verdicts and latencies by file; a dash stands for what was not measured."""
    rows: dict[str, dict[str, Any]] = {}
    for verdict in device.verified.results if device.verified else ():
        comparison, on_host = verdict.comparison, verdict.on_host
        rows[verdict.file] = {
            "status": verdict.status,
            "reasons": verdict.reasons,
            "accuracy": f"{comparison.accuracy:.2%}" if comparison else "–",
            "flips": len(comparison.flips) if comparison else "–",
            "host": "–"
            if on_host is None or on_host.largest_difference is None
            else difference(on_host.largest_difference),
        }
    blank = {"status": Status.SKIPPED, "reasons": [], "accuracy": "–", "flips": "–", "host": "–"}
    for latency in device.timed.results if device.timed else ():
        rows.setdefault(latency.file, dict(blank)).update(figures(latency.call))
    return {
        "name": device.name,
        "good": device.passes(strict),
        "host": device.host,
        "sample": device.verified.sample if device.verified else "no image",
        "timed": device.timed is not None,
        "notes": [*device.timed.warnings, *device.timed.notes] if device.timed else [],
        "rows": [{"file": file, **row} for file, row in rows.items()],
    }


def _row(result: ArtifactResult) -> dict[str, Any]:
    comparison = result.comparison
    row: dict[str, Any] = {
        "file": result.artifact.path.name,
        "precision": str(result.artifact.precision),
        "status": str(result.status),
        "size": size(result.artifact.bytes),
        "sha256": result.artifact.sha256,
        "reasons": result.reasons,
        "notes": (*result.notes, *([f"{result.budget}."] if result.budget else [])),
        "diagnosis": result.diagnosis,
    }
    if comparison is not None:
        row |= {
            "accuracy": f"{comparison.accuracy:.2%}",
            "drop": f"{comparison.drop:+.2f}",
            "interval": interval(result.interval),
            "noise": "" if result.interval is None else NOISE[result.interval.within_noise],
            "flips": len(comparison.flips),
            "margin": f"{comparison.largest_margin:.3f}" if comparison.flips else "–",
            "difference": difference(comparison.largest_difference),
            "host": difference(result.on_host.largest_difference) if result.on_host else "–",
        }
    return row


def _matrix(report: VerifyReport) -> list[list[str]]:
    """Return the counts of images that change class as a square."""
    names = list(report.outputs)
    cells = [["·"] * len(names) for _ in names]
    for pair in report.pairs:
        row, column = names.index(pair.first), names.index(pair.second)
        cells[row][column] = cells[column][row] = str(len(pair.flips))
    return cells


def _images(pair: Pair) -> str:
    """Return the images of a pair with their margins, the largest margin first."""
    ranked = sorted(zip(pair.margins, pair.flips, strict=True), reverse=True)
    more = f" and {len(ranked) - LISTED} more" if len(ranked) > LISTED else ""
    return ", ".join(f"{image} ({margin:.3f})" for margin, image in ranked[:LISTED]) + more


def _changed(report: VerifyReport) -> list[int]:
    """Return the images on which a file's class is not Keras's, the largest margin first."""
    largest = {
        image: margin
        for pair in report.pairs
        if pair.first == KERAS_NAME
        for image, margin in zip(pair.flips, pair.margins, strict=True)
    }
    return sorted(largest, key=lambda image: -largest[image])


def _flip(report: VerifyReport, image: int) -> dict[str, Any]:
    """Return an image with the digit that Keras sees, and the files that see another."""
    sample, keras = report.sample, report.sample.keras[image]
    opinions: dict[int, list[str]] = defaultdict(list)
    for name, values in report.outputs.items():
        digit = int(values[image].argmax())
        if digit != int(keras.argmax()):
            opinions[digit].append(f"{name} ({float(values[image, digit]):.3f})")
    return {
        "index": image,
        "label": int(sample.labels[image]),
        "picture": plots.digit(sample.images[image]),
        "keras": int(keras.argmax()),
        "confidence": f"{keras.max():.3f}",
        "margin": f"{margins(keras[None])[0]:.3f}",
        "others": [{"digit": digit, "files": files} for digit, files in sorted(opinions.items())],
    }


def _confusion(report: VerifyReport, values: Any) -> list[list[int]]:
    table = np.zeros((10, 10), np.int64)
    np.add.at(table, (report.sample.labels, values.argmax(axis=1)), 1)
    return [[int(count) for count in row] for row in table]
