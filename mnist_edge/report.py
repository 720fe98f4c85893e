"""Results → what a person or a machine reads: rich tables for the terminal, plain dicts for JSON."""

import json
from collections.abc import Collection, Iterable
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mnist_edge.artifact import LABELS, Artifact, Contract, Manifest, Precision, Tensor
from mnist_edge.bench import BenchReport, Latency
from mnist_edge.formats import FORMATS
from mnist_edge.formats.base import Description, Format
from mnist_edge.models import Recipe
from mnist_edge.parity import ParityReport, Status

SCHEMA = 1
STYLES = {Status.PASS: "green", Status.FAIL: "bold red", Status.SKIPPED: "yellow"}


def table(*columns: str, title: str | None = None) -> Table:
    """Start a table; the first column is text and the others are right-aligned."""
    made = Table(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        collapse_padding=True,
        show_edge=False,
    )
    for index, column in enumerate(columns):
        made.add_column(column, justify="right" if index else "left", no_wrap=index == 0, overflow="fold")
    return made


def models_table(recipes: Collection[Recipe]) -> RenderableType:
    """Show the recipes."""
    made = table("model", "params", "MACs", "reported", "notebook")
    for recipe in recipes:
        made.add_row(
            recipe.name,
            f"{recipe.parameters:,}",
            f"{recipe.macs:,}",
            f"{recipe.reported:.2%}",
            recipe.notebook,
        )
    return Group(made, *(Text(f"{recipe.name}: {recipe.network}", style="dim") for recipe in recipes))


def models_json(recipes: Iterable[Recipe]) -> dict[str, Any]:
    """Give the recipes with what follows from them."""
    derived = ("parameters", "macs", "network", "loss")
    return {
        "schema": SCHEMA,
        "models": [{**asdict(recipe), **{name: getattr(recipe, name) for name in derived}} for recipe in recipes],
    }


def formats_table(formats: Collection[Format]) -> RenderableType:
    """Show formats beside precisions, with what is missing below."""
    made = table("precision", *(item.name for item in formats))
    notes = []
    for precision in Precision:
        made.add_row(precision, *("yes" if precision in item.precisions else "no" for item in formats))
    for item in formats:
        notes += [f"no {precision} in {item.name}: {reason}" for precision, reason in item.unsupported.items()]
        notes.append(f"{item.name} runtime: {item.missing() or 'installed'}")
    return Group(made, *(Text(note, style="dim") for note in notes))


def formats_json(formats: Collection[Format]) -> dict[str, Any]:
    """Give what each format can do."""
    return {
        "schema": SCHEMA,
        "formats": [
            {
                "name": item.name,
                "suffix": item.suffix,
                "precisions": item.precisions,
                "unsupported": item.unsupported,
                "calibration_methods": item.methods,
                "runtime_missing": item.missing(),
            }
            for item in formats
        ],
    }


def training_summary(record: dict[str, Any], layers: str) -> RenderableType:
    """Show what `training.json` says: layers, test loss and accuracy, classification report, confusion matrix."""
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
        + f"; the notebook reported {record['recipe']['reported']}.",
        "",
        test["report_text"].rstrip(),
        "",
    ]
    return Group(Text("\n".join(lines)), confusion)


def size(count: int) -> str:
    """Give a size in kB of 1 000 bytes."""
    return f"{count / 1000:,.1f} kB"


def difference(value: float) -> str:
    """Give a difference in probability: 0.036, 9e-07, or 0 where there is none."""
    return "0" if value == 0 else f"{value:.3f}" if value >= 0.001 else f"{value:.0e}"


def end(tensor: Tensor) -> str:
    """Give an input or output as `uint8 1×28×28×1`."""
    return f"{tensor.dtype} {'×'.join('N' if size is None else str(size) for size in tensor.shape)}"


def float_twin(artifact: Artifact, manifest: Manifest) -> Artifact | None:
    """Find the float32 artifact of the same format."""
    twins = (item for item in manifest.artifacts if item.format == artifact.format)
    return next((item for item in twins if item.precision is Precision.FLOAT32), None)


def export_table(manifest: Manifest) -> Table:
    """Show the artifacts: size, compression against float32 of the same format, input, output."""
    made = table("file", "size", "vs float32", "input", "output")
    for artifact in manifest.artifacts:
        twin = float_twin(artifact, manifest)
        ratio = twin.bytes / artifact.bytes if twin else 1.0
        compression = f"{ratio:.2f}× smaller" if ratio > 1.05 else "–"
        made.add_row(
            artifact.path.name,
            size(artifact.bytes),
            compression,
            end(artifact.contract.input),
            end(artifact.contract.output),
        )
    return made


def description_table(name: str, described: Description) -> RenderableType:
    """Show what is in a file."""
    made = table("operator", "version", "count", title=name)
    for operator in described.operators:
        made.add_row(operator.kind, str(operator.version), str(operator.count))
    told = {key: value for key, value in described.metadata.items() if key != "contract"}
    lines = [
        *(f"in:  {line}" for line in described.inputs),
        *(f"out: {line}" for line in described.outputs),
        "contract: " + (_contract_line(described.metadata) or "none in the file; it is not one of ours"),
        ", ".join(f"{key} {value}" for key, value in described.versions.items()),
        f"{described.parameters:,} parameters, {described.macs:,} multiply-accumulates for one image",
        "size: " + ", ".join(f"{part} {size(count)}" for part, count in described.sizes.items()),
        f"oldest runtime: {described.oldest}",
        f"executed here: {described.executed or 'no runtime is installed'}",
        *(f"{key}: {value}" for key, value in told.items()),
    ]
    return Group(made, Text("\n".join(lines)))


def _contract_line(metadata: dict[str, str]) -> str | None:
    if "contract" not in metadata:
        return None
    contract = Contract.from_json(json.loads(metadata["contract"]))
    return f"{contract.input.meaning} → {contract.output.meaning}; layout {contract.layout}"


def description_json(described: Description) -> dict[str, Any]:
    """Give the same for a machine."""
    return {"schema": SCHEMA, **asdict(described)}


def executed_lines(manifest: Manifest) -> list[str]:
    """Say of each int8 file how many operators its runtime really computes in int8, here."""
    return [
        f"{artifact.path.name}: {FORMATS[artifact.format].describe(artifact.path).executed}"
        for artifact in manifest.artifacts
        if artifact.precision is Precision.INT8
    ]


def verify_table(report: ParityReport, width: int = 80) -> RenderableType:
    """Show the verdicts, with the reason of each that did not pass; on a narrow terminal with fewer figures."""
    columns = ("file", "verdict", "acc %", "drop", "flips", "max diff", "vs host", "margin", "mean diff")
    longest = max(len(result.artifact.path.name) for result in report.results)
    shown = len(columns) if width >= longest + 58 else 6
    made = table(*columns[:shown])
    made.columns[1].no_wrap = True
    for result in report.results:
        found, on_host = result.comparison, result.on_host
        figures = ["–"] * 7
        if found is not None and on_host is not None:
            figures = [
                f"{found.accuracy:.2%}"[:-1],
                f"{found.drop:+.2f}",
                str(len(found.flips)),
                difference(found.largest_difference),
                difference(on_host.largest_difference),
                f"{found.largest_margin:.3f}" if found.flips else "–",
                difference(found.mean_difference),
            ]
        verdict = Text(result.status, style=STYLES[result.status])
        made.add_row(result.artifact.path.name, verdict, *figures[: shown - 2])
    notes = [
        Text(f"{result.status}  {result.artifact.path.name}: {reason}", style=STYLES[result.status])
        for result in report.results
        for reason in result.reasons
    ]
    checks = [
        Text(f"{check.status}  {check.name}: {check.detail}", style=STYLES[check.status]) for check in report.checks
    ]
    legend = Text(
        f"Checked on {report.sample} ({report.manifest.about['dataset']['name']}). drop: accuracy points lost against "
        "Keras; flips: images that change class; diff: in probability, against Keras; vs host: largest difference "
        "from what the exporting host computed on the golden images; margin: Keras's largest lead on a flip.",
        style="dim",
    )
    return Group(made, *notes, *checks, legend)


def verify_json(report: ParityReport, strict: bool) -> dict[str, Any]:
    """Give all verdicts and figures."""
    return {
        "schema": SCHEMA,
        "good": report.good(strict),
        "strict": strict,
        "model": report.manifest.model,
        "images": report.images,
        "sample": report.sample,
        "dataset": report.manifest.about["dataset"],
        "results": [
            {
                "file": result.artifact.path.name,
                "sha256": result.artifact.sha256,
                "status": result.status,
                "reasons": result.reasons,
                "comparison": result.comparison and {**asdict(result.comparison), "drop": result.comparison.drop},
                "on_host": result.on_host and asdict(result.on_host),
            }
            for result in report.results
        ],
        "checks": [asdict(check) for check in report.checks],
        "host": asdict(report.host),
        "versions": report.versions,
    }


def slower_than_float(report: BenchReport) -> list[str]:
    """Say which files take longer than their float32 twins here, by the median of the whole call."""
    by_name = {latency.artifact.path.name: latency for latency in report.latencies}
    lines = []
    for latency in report.latencies:
        twin = float_twin(latency.artifact, report.manifest)
        other = by_name.get(twin.path.name) if twin else None
        if latency.artifact.precision is not Precision.FLOAT32 and other and latency.call.p50 > 1.05 * other.call.p50:
            lines.append(
                f"{latency.artifact.path.name} takes {latency.call.p50 / other.call.p50:.1f}× as long as "
                f"{other.artifact.path.name} on this host: it is smaller, not faster."
            )
    return lines


def bench_table(report: BenchReport) -> RenderableType:
    """Show the latencies in microseconds, and on what host."""
    made = table("file", "timed", "p50", "p90", "p99", "min", "runs", title="Latency in µs, batch 1")
    made.columns[1].justify = "left"
    for latency in report.latencies:
        for name, stats in (("invoke", latency.invoke), ("call", latency.call)):
            figures = (f"{value:.1f}" for value in (stats.p50, stats.p90, stats.p99, stats.minimum))
            made.add_row(latency.artifact.path.name if name == "invoke" else "", name, *figures, str(stats.runs))
    notes = [Text(f"SKIPPED  {name}: {reason}", style="yellow") for name, reason in report.skipped.items()]
    slow = [Text(f"Note: {line}", style="yellow") for line in slower_than_float(report)]
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    legend = Text(
        f"invoke: the bare inference call; call: uint8 pixels in, float32 probabilities out. "
        f"{report.threads} thread(s), interleaved, warmed up.\nHost: {report.host}. {versions}.",
        style="dim",
    )
    return Group(made, *notes, *slow, legend)


def bench_json(report: BenchReport) -> dict[str, Any]:
    """Give all figures with the raw samples."""

    def stats(latency: Latency) -> dict[str, Any]:
        return {
            name: {
                "p50_us": timed.p50,
                "p90_us": timed.p90,
                "p99_us": timed.p99,
                "min_us": timed.minimum,
                "runs": timed.runs,
                "samples_ns": timed.samples_ns.tolist(),
            }
            for name, timed in (("invoke", latency.invoke), ("call", latency.call))
        }

    return {
        "schema": SCHEMA,
        "model": report.manifest.model,
        "threads": report.threads,
        "results": [
            {"file": item.artifact.path.name, "sha256": item.artifact.sha256, **stats(item)}
            for item in report.latencies
        ],
        "skipped": report.skipped,
        "notes": slower_than_float(report),
        "host": asdict(report.host),
        "versions": report.versions,
    }
