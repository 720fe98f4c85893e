"""Results → plain dicts for JSON: the same facts as the tables, with a schema number."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from mnist_edge.bench import BenchReport, Latency
from mnist_edge.formats.base import Description, Format
from mnist_edge.models import Recipe
from mnist_edge.parity import ParityReport

SCHEMA = 1


def models(recipes: Iterable[Recipe]) -> dict[str, Any]:
    """Give the recipes with what follows from them."""
    derived = ("parameters", "macs", "network", "loss")
    return {
        "schema": SCHEMA,
        "models": [{**asdict(recipe), **{name: getattr(recipe, name) for name in derived}} for recipe in recipes],
    }


def formats(found: Iterable[Format]) -> dict[str, Any]:
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
            for item in found
        ],
    }


def description(described: Description) -> dict[str, Any]:
    """Give the same for a machine."""
    return {"schema": SCHEMA, **asdict(described)}


def verify(report: ParityReport, strict: bool) -> dict[str, Any]:
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


def bench(report: BenchReport) -> dict[str, Any]:
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
        "notes": report.slower_than_float(),
        "host": asdict(report.host),
        "versions": report.versions,
    }
