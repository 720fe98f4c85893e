"""The report that `mnist-edge report` writes: one self-contained HTML file, and a Markdown one of the same facts."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from mnist_edge import __version__
from mnist_edge.core.contract import LABELS
from mnist_edge.core.metrics import Pair, margins
from mnist_edge.core.optional import require
from mnist_edge.formats.inspection import tensor_text
from mnist_edge.report import plots
from mnist_edge.report.devices import Device
from mnist_edge.report.tables import difference, size
from mnist_edge.report.verify_tables import interval, worst_findings
from mnist_edge.verify.result import KERAS_NAME, ArtifactResult, Status, VerifyReport
from mnist_edge.verify.tolerances import figure

SHOWN, LISTED = 60, 40
NOISE = {True: "within noise", False: "more than noise"}
MARKS = {Status.PASS: "✓", Status.FAIL: "✗", Status.SKIPPED: "–"}


def render(
    report: VerifyReport, bench: Mapping[str, Any] | None, strict: bool = False, devices: Iterable[Device] = ()
) -> dict[str, str]:
    """Return the pages by their file's suffix, `.html` and `.md`.

    Args:
        report: what `verify` found.
        bench: what `bench` wrote; results of other files than these are left out, and that is said.
        strict: what was skipped counts as a failure.
        devices: what boards said of the same files.

    Raises:
        MissingRuntime: Jinja2 or matplotlib is not installed.
    """
    jinja2 = require("jinja2", "jinja2", "writing a report")
    require("matplotlib", "matplotlib", "writing a report")
    facts = _facts(report, bench, strict, tuple(devices))
    pages = {}
    for suffix, escape in ((".html", True), (".md", False)):
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("mnist_edge.report"), autoescape=escape, trim_blocks=True, lstrip_blocks=True
        )
        environment.globals["mark"] = lambda status: f"{MARKS[Status(status)]} {status}"
        pages[suffix] = environment.get_template(f"report{suffix}.j2").render(facts) + "\n"
    return pages


def _facts(
    report: VerifyReport, bench: Mapping[str, Any] | None, strict: bool, devices: tuple[Device, ...]
) -> dict[str, Any]:
    """Collect what both templates show; numbers are formatted here, once."""
    outputs, changed = report.outputs, _changed(report)
    files = {name: values for name, values in outputs.items() if name != KERAS_NAME}
    latency, left_out = _latency(report, bench)
    return {
        "report": report,
        "good": report.passes(strict) and all(device.passes(strict) for device in devices),
        "failed_on": [device.name for device in devices if not device.passes(strict)],
        "devices": [_device(device, strict) for device in devices],
        "counts": {status: report.statuses().count(status) for status in Status},
        "rows": [_row(result) for result in report.results],
        "names": list(outputs),
        "matrix": _matrix(report),
        "pairs": [{**asdict(pair), "told": _images(pair)} for pair in report.pairs],
        "flips": [_flip(report, image) for image in changed[:SHOWN]],
        "flip_count": len(changed),
        "tolerances": [
            {
                "name": f"{precision}.{finding.limit.name}",
                "words": finding.limit.words,
                "needed": figure(finding.measured),
                "allowed": figure(finding.limit.allowed),
                "unit": finding.limit.unit,
                "origin": finding.limit.origin,
                "file": name,
                "good": finding.passed,
            }
            for precision, finding, name in worst_findings(report.results)
        ],
        "paths": [
            {
                "file": result.artifact.path.name,
                "name": path.name,
                "flips": len(path.flips),
                "difference": path.error or difference(path.largest_difference),
                "good": path.passed,
            }
            for result in report.results
            for path in result.variants
        ],
        "footprints": [(item.artifact.path.name, item.footprint) for item in report.results if item.footprint],
        "layers": {
            item.artifact.path.name: item.internal_check.errors
            for item in report.results
            if item.internal_check is not None
        },
        "confusion": {name: _confusion(report, values) for name, values in outputs.items()},
        "histograms": plots.histograms(report.sample.keras, files) if files else "",
        "latency": latency,
        "latency_host": (bench or {}).get("host"),
        "latency_warnings": (bench or {}).get("warnings", []),
        "latency_left_out": left_out,
        "contracts": [
            (
                result.artifact.path.name,
                tensor_text(contract.input, compact=True),
                contract.input.meaning,
                tensor_text(contract.output, compact=True),
            )
            for result in report.results
            if (contract := result.artifact.contract)
        ],
        "labels": LABELS,
        "version": __version__,
    }


def _device(device: Device, strict: bool) -> dict[str, Any]:
    """Return a board's verdicts and latencies by file; what it was not asked is a dash."""
    rows: dict[str, dict[str, Any]] = {}
    for item in device.verified["results"] if device.verified else ():
        found, host = item["comparison"], item["on_host"]
        rows[item["file"]] = {
            "status": item["status"],
            "reasons": item["reasons"],
            "accuracy": f"{found['accuracy']:.2%}" if found else "–",
            "flips": len(found["flips"]) if found else "–",
            "host": difference(host["largest_difference"]) if host else "–",
        }
    blank = {"status": Status.SKIPPED, "reasons": [], "accuracy": "–", "flips": "–", "host": "–"}
    for item in device.timed["results"] if device.timed else ():
        row = rows.setdefault(item["file"], dict(blank))
        row |= {name: f"{item['call'][f'{name}_us']:.1f}" for name in PERCENTILES}
    return {
        "name": device.name,
        "good": device.passes(strict),
        "host": device.host,
        "sample": device.verified["sample"] if device.verified else "no image",
        "timed": device.timed is not None,
        "notes": [*device.timed.get("warnings", []), *device.timed["notes"]] if device.timed else [],
        "rows": [{"file": file, **row} for file, row in rows.items()],
    }


def _row(result: ArtifactResult) -> dict[str, Any]:
    found = result.comparison
    row: dict[str, Any] = {
        "file": result.artifact.path.name,
        "precision": str(result.artifact.precision),
        "status": str(result.status),
        "size": size(result.artifact.bytes),
        "sha256": result.artifact.sha256,
        "reasons": result.reasons,
        "notes": result.notes,
        "diagnosis": result.diagnosis,
    }
    if found is not None:
        row |= {
            "accuracy": f"{found.accuracy:.2%}",
            "drop": f"{found.drop:+.2f}",
            "interval": interval(result.interval),
            "noise": "" if result.interval is None else NOISE[result.interval.within_noise],
            "flips": len(found.flips),
            "margin": f"{found.largest_margin:.3f}" if found.flips else "–",
            "difference": difference(found.largest_difference),
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
    """List the images of a pair with their margins, the largest margin first."""
    ranked = sorted(zip(pair.margins, pair.flips, strict=True), reverse=True)
    more = f" and {len(ranked) - LISTED} more" if len(ranked) > LISTED else ""
    return ", ".join(f"{image} ({margin:.3f})" for margin, image in ranked[:LISTED]) + more


def _changed(report: VerifyReport) -> list[int]:
    """Return the images on which a file's class is not Keras's, the largest margin first."""
    found = {
        image: margin
        for pair in report.pairs
        if pair.first == KERAS_NAME
        for image, margin in zip(pair.flips, pair.margins, strict=True)
    }
    return sorted(found, key=lambda image: -found[image])


def _flip(report: VerifyReport, image: int) -> dict[str, Any]:
    """Return an image with Keras's opinion and those of the files that have another."""
    sample, keras = report.sample, report.sample.keras[image]
    opinions: dict[int, list[str]] = defaultdict(list)
    for name, values in report.outputs.items():
        said = int(values[image].argmax())
        if said != int(keras.argmax()):
            opinions[said].append(f"{name} ({float(values[image, said]):.3f})")
    return {
        "index": image,
        "label": int(sample.labels[image]),
        "picture": plots.digit(sample.images[image]),
        "keras": int(keras.argmax()),
        "confidence": f"{keras.max():.3f}",
        "margin": f"{margins(keras[None])[0]:.3f}",
        "others": [{"said": said, "files": files} for said, files in sorted(opinions.items())],
    }


def _confusion(report: VerifyReport, values: Any) -> list[list[int]]:
    table = np.zeros((10, 10), np.int64)
    np.add.at(table, (report.sample.labels, values.argmax(axis=1)), 1)
    return [[int(count) for count in row] for row in table]


def _latency(report: VerifyReport, bench: Mapping[str, Any] | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Join bench results with these files by SHA-256; give the rows, and the files that were measured as others."""
    known = {result.artifact.sha256 for result in report.results}
    results = bench["results"] if bench else []
    rows = [
        {
            "file": item["file"],
            **{
                f"{kind}_{name}": f"{item[kind][f'{name}_us']:.1f}"
                for kind in ("invoke", "call")
                for name in PERCENTILES
            },
        }
        for item in results
        if item["sha256"] in known
    ]
    return rows, [item["file"] for item in results if item["sha256"] not in known]


PERCENTILES = ("p50", "p90", "p99")
