"""Latencies, and what changed since another run, as rich tables for the terminal."""

from statistics import median

from rich.console import Group, RenderableType
from rich.text import Text

from mnist_edge.bench.benchmark import BenchReport, Latency
from mnist_edge.bench.machine import describe_change
from mnist_edge.bench.statistics import interval, ratio
from mnist_edge.bench.timing import LatencyStats
from mnist_edge.report.changes import Changes, Verdict
from mnist_edge.report.tables import table

MIB = 2**20
STYLES = {Verdict.FASTER: "green", Verdict.SLOWER: "bold red", Verdict.SAME: "", Verdict.OPEN: "yellow"}


def bench_table(report: BenchReport) -> RenderableType:
    """Return the latencies in microseconds, and the host that they were measured on."""
    batches = {latency.batch for latency in report.latencies}
    one = batches == {1}
    columns = ["invoke", "cold", "idle", "× float32", "start ms", "MiB", "p99.9", "min", "MAD", "runs"]
    more = [] if one else ["batch", "µs an image", "images/s"]
    latencies = table(
        "file",
        "p50",
        "±",
        "p90",
        "p99",
        *more,
        *columns,
        title=f"Latency in µs{' of a call, batch 1' if one else ' a call'}",
    )
    for latency in report.latencies:
        latencies.add_row(latency.name, *_figures(report, latency, not one))
    notes = [Text(f"SKIPPED  {name}: {reason}", style="yellow") for name, reason in report.skipped.items()]
    notes += [Text(f"Note: {line}", style="yellow") for line in [*report.warnings, *report.slower_than_float()]]
    return Group(latencies, *notes, Text(_legend(report), style="dim"))


def more_tables(report: BenchReport) -> list[RenderableType]:
    """Return a table of the operators of each file, and one of the throughput, where they were measured."""
    tables: list[RenderableType] = []
    for latency in report.latencies:
        if latency.operators:
            rows = table("operator", "kind", "µs", "share", title=f"{latency.name} by operator")
            total = sum(item.microseconds for item in latency.operators)
            for item in latency.operators:
                share = f"{100 * item.microseconds / total:.0f} %" if total else "–"
                rows.add_row(item.name, item.kind, f"{item.microseconds:.1f}", share)
            tables.append(rows)
    if any(latency.throughput for latency in report.latencies):
        rows = table("file", "threads", "images a call", "µs a call", "images/s", title="Throughput")
        for latency in report.latencies:
            for rate in latency.throughput:
                figures = f"{rate.microseconds:.1f}", f"{rate.images_per_second:,.0f}"
                rows.add_row(latency.name, str(rate.threads), str(rate.batch), *figures)
        tables.append(rows)
    return tables


def _figures(report: BenchReport, latency: Latency, batches: bool) -> list[str]:
    """Return a row of the table: the whole call, then what else was measured of the file."""
    call, baseline, start = latency.call, report.baseline(latency), latency.start
    low, high = interval(call)
    row = [f"{call.p50:.1f}", f"{(high - low) / 2:.1f}", f"{call.p90:.1f}", f"{call.p99:.1f}"]
    if batches:
        row += [str(latency.batch), f"{latency.per_image:.1f}", f"{1e6 / latency.per_image:,.0f}"]
    row += [_median(stats) for stats in (latency.invoke, latency.cold, latency.idle)]
    value, least, most = ratio(call, baseline.call) if baseline else (1.0, 1.0, 1.0)
    row.append(f"{value:.2f} ±{(most - least) / 2:.2f}" if baseline else "–")
    row += [f"{median(start.seconds) * 1000:.0f}", f"{start.peak / MIB:.0f}"] if start else ["–", "–"]
    return [*row, f"{call.p999:.1f}", f"{call.minimum:.1f}", f"{call.mad:.1f}", str(call.runs)]


def _median(stats: LatencyStats | None) -> str:
    return f"{stats.p50:.1f}" if stats else "–"


def _legend(report: BenchReport) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    options = report.options
    pinned = "" if options.cpu is None else f" on CPU {options.cpu}"
    least = f", {options.duration:g} s of each" if options.duration else ""
    return (
        f"p50 is of pixels to probabilities, ± its 95 % interval; invoke: the bare inference; cold: after a sweep of "
        f"the caches; idle: after {options.idle_ms:g} ms of sleep; start: process start to first prediction. "
        f"{options.threads} thread(s){pinned}, interleaved, {len(report.control.processes)} processes{least}; the "
        f"clock takes {report.clock.p50:.2f} µs.\n"
        f"Host: {report.host}. {versions}.\nState before → after: {describe_change(report.before, report.after)}."
    )


def changes_table(changes: Changes, old: str) -> RenderableType:
    """Return each file's verdict against an older run; `old` names that."""
    rows = table("file", "verdict", "change", "±", "p50 then", "p50 now", "bytes", title=f"Since {old}")
    for item in changes.files:
        rows.add_row(
            item.name,
            Text(str(item.verdict), style=STYLES[item.verdict]),
            f"{100 * (item.ratio - 1):+.1f} %",
            f"{100 * item.margin:.1f}",
            *(f"{value:.1f}" for value in item.medians),
            "same" if item.same_file else "other",
        )
    notes = [Text(f"Note: {line}.", style="yellow") for line in changes.notes]
    notes += [Text(f"{name}: {why}.", style="yellow") for name, why in changes.alone.items()]
    legend = (
        f"change: of what a whole call takes where nothing disturbs it (2nd percentiles of processes); ±: what may "
        f"be chance. A fixed computation on this host changed by {100 * (changes.control - 1):+.1f} %. not clear: "
        f"other work disturbed one of the runs; run again on a quieter machine."
    )
    return Group(rows, *notes, Text(legend, style="dim"))
