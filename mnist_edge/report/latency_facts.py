"""What the report shows of `bench`: the table of latencies, and pictures of them."""

from collections.abc import Iterable, Sequence
from typing import Any

from mnist_edge.report import plots
from mnist_edge.report.stored import BenchResults, StoredLatency, StoredStats
from mnist_edge.report.trade_offs import FilePoint
from mnist_edge.verify.result import VerifyReport


def latency_facts(report: VerifyReport, bench: BenchResults | None) -> dict[str, Any]:
    """Return the results of bench for these files, by SHA-256, and the names of those that were other files."""
    known = {result.artifact.sha256 for result in report.results}
    results = bench.results if bench else ()
    return {
        "latency": [
            {
                "file": item.name,
                "runs": item.call.runs,
                "batch": item.batch,
                **figures(item.invoke, "invoke_"),
                **figures(item.call, "call_"),
                "cold": f"{item.cold.p50_us:.1f}" if item.cold else "–",
                "idle": f"{item.idle.p50_us:.1f}" if item.idle else "–",
            }
            for item in results
            if item.sha256 in known
        ],
        "latency_plot": plots.latencies(
            {item.name: _states(item) for item in results if item.sha256 in known and item.call.percentiles_us}
        )
        if bench
        else "",
        "cost_plot": plots.accuracy_against_costs(points) if len(points := _points(report, results)) > 1 else "",
        "latency_left_out": [item.file for item in results if item.sha256 not in known],
        "latency_host": bench and bench.host,
        "latency_threads": bench and bench.threads,
        "latency_warnings": bench.warnings if bench else (),
    }


def _points(report: VerifyReport, results: Iterable[StoredLatency]) -> list[FilePoint]:
    """Return accuracy, size and latency of every file that was compared."""
    latencies = {item.sha256: item for item in results}
    points = []
    for result in report.results:
        if result.comparison is not None:
            artifact, item = result.artifact, latencies.get(result.artifact.sha256)
            stats = {"µs an image": item and item.call, "µs an image, caches swept": item and item.cold}
            costs = {name: each.p50_us / item.batch for name, each in stats.items() if item and each}
            costs = {"bytes": float(artifact.bytes), **costs}
            points.append(FilePoint(artifact.path.name, artifact.format, result.comparison.accuracy, costs))
    return points


def _states(item: StoredLatency) -> dict[str, Sequence[float]]:
    """Return the percentiles of a file's whole call in each state of the machine."""
    states = {"call": item.call, "cold": item.cold, "idle": item.idle}
    return {state: stats.percentiles_us for state, stats in states.items() if stats}


def figures(stats: StoredStats, prefix: str = "") -> dict[str, str]:
    """Return p50, p90 and p99 in µs as text."""
    values = {"p50": stats.p50_us, "p90": stats.p90_us, "p99": stats.p99_us}
    return {f"{prefix}{name}": f"{value:.1f}" for name, value in values.items()}
