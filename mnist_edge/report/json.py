"""Results as plain dicts for JSON: the same facts as the tables, with a schema number."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any, cast

from mnist_edge.bench.benchmark import BenchReport, Latency
from mnist_edge.bench.machine import State
from mnist_edge.bench.statistics import fast_level, interval, ratio
from mnist_edge.bench.timing import LatencyStats
from mnist_edge.core.typed_json import BENCH_SCHEMA, SCHEMA, strict_json
from mnist_edge.formats.base import Format
from mnist_edge.formats.inspection import Description
from mnist_edge.formats.layer_errors import LayerError
from mnist_edge.report.changes import Changes
from mnist_edge.training.recipe import Recipe
from mnist_edge.verify.diagnosis import Diagnosis
from mnist_edge.verify.result import ArtifactResult, VerifyReport


def models(recipes: Iterable[Recipe]) -> dict[str, Any]:
    """Return the recipes with what follows from them."""
    derived = ("parameters", "macs", "network", "loss")
    return {
        "schema": SCHEMA,
        "models": [{**asdict(recipe), **{name: getattr(recipe, name) for name in derived}} for recipe in recipes],
    }


def formats(items: Iterable[Format]) -> dict[str, Any]:
    """Return what each format can do."""
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
            for item in items
        ],
    }


def description(described: Description) -> dict[str, Any]:
    """Return what `inspect` shows."""
    content = {"schema": SCHEMA, **asdict(described)}
    operators = content["executed"] = content.pop("runtime_operators")  # the names of version 0.1
    if operators:
        operators["moves"] = operators.pop("data_movement")
    return {**content, "beside": content.pop("external_files")}


def verify(report: VerifyReport, strict: bool) -> dict[str, Any]:
    """Return all verdicts and figures."""
    content = {
        "schema": SCHEMA,
        "good": report.passes(strict),
        "strict": strict,
        "model": report.model,
        "images": len(report.sample),
        "sample": report.sample.name,
        "dataset": report.dataset,
        "warnings": report.warnings,
        "results": [_result(result) for result in report.results],
        "pairs": [asdict(pair) for pair in report.pairs],
        "checks": [asdict(check) for check in report.checks],
        "host": asdict(report.host),
        "versions": report.versions,
    }
    return cast(dict[str, Any], strict_json(content))


def _result(result: ArtifactResult) -> dict[str, Any]:
    comparison, interval = result.comparison, result.interval
    return {
        "file": result.artifact.path.name,
        "sha256": result.artifact.sha256,
        "status": result.status,
        "reasons": result.reasons,
        "notes": result.notes,
        "diagnosis": result.diagnosis and _diagnosis(result.diagnosis),
        "tolerances": [
            {**asdict(one.tolerance), "unit": one.tolerance.unit, "smallest_that_passes": one.measured}
            for one in result.tolerances
        ],
        "comparison": comparison and {**asdict(comparison), "drop": comparison.drop},
        "drop_95": interval and {**asdict(interval), "within_noise": interval.within_noise},
        "budget": result.budget and {**asdict(result.budget), "within": result.budget.within},
        "on_host": result.on_host and asdict(result.on_host),
        "footprint": result.footprint and asdict(result.footprint),
        "paths": [{**asdict(path), "largest_difference": path.largest_difference} for path in result.variants],
    }


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    content = asdict(diagnosis)
    return {
        "causes": content["causes"],
        "unseen": diagnosis.not_compared,
        "kernels_good": diagnosis.kernels_good,
        "begins": diagnosis.begins,
    }


def layers(errors: Mapping[str, Iterable[LayerError]], skipped: Mapping[str, str]) -> dict[str, Any]:
    """Return each file's errors by layer, the worst first; `sqnr` is null where nothing differs."""
    content = {name: [{**asdict(item), "sqnr": item.sqnr} for item in items] for name, items in errors.items()}
    return {"layers": content, "layers_skipped": dict(skipped)}


def bench(report: BenchReport) -> dict[str, Any]:
    """Return all figures with the raw samples; `BenchResults` reads it."""
    options = report.options
    content = {
        "schema": BENCH_SCHEMA,
        "model": report.manifest.model,
        "threads": options.threads,
        "cpu": options.cpu,
        "duration_s": options.duration,
        "idle_ms": options.idle_ms,
        "processes": len(report.control.processes),
        "results": [_latency(report, item) for item in report.latencies],
        "skipped": report.skipped,
        "notes": report.slower_than_float(),
        "warnings": report.warnings,
        "before": _state(report.before),
        "after": _state(report.after),
        "host": asdict(report.host),
        "versions": report.versions,
        "control": stats(report.control),
        "clock": stats(report.clock),
    }
    return cast(dict[str, Any], strict_json(content))


def changes(found: Changes) -> dict[str, Any]:
    """Return what changed since an older run of `bench`."""
    files = [{**asdict(item), "verdict": str(item.verdict)} for item in found.files]
    return {"changes": files, "alone": dict(found.alone), "control_ratio": found.control, "change_notes": found.notes}


def _latency(report: BenchReport, item: Latency) -> dict[str, Any]:
    content = {
        "file": item.artifact.path.name,
        "sha256": item.artifact.sha256,
        "runtime": item.runtime,
        "batch": item.batch,
        "us_per_image": item.per_image,
        "images_per_second": 1e6 / item.per_image,
        "invoke": stats(item.invoke),
        "call": stats(item.call),
        "cold": item.cold and stats(item.cold),
        "idle": item.idle and stats(item.idle),
        "start": item.start and {"seconds": item.start.seconds, "peak_bytes": item.start.peak},
        "baseline": None,
        "operators": [asdict(operator) for operator in item.operators],
        "throughput": [
            {"batch": rate.batch, "threads": rate.threads, "images_per_second": rate.images_per_second}
            for rate in item.throughput
        ],
    }
    if baseline := report.baseline(item):
        value, low, high = ratio(item.call, baseline.call)
        content["baseline"] = {"file": baseline.artifact.path.name, "ratio": value, "interval": [low, high]}
    return content


def stats(samples: LatencyStats) -> dict[str, Any]:
    """Return the figures of a kind of call with its raw samples by process; `StoredStats` reads it."""
    level, share = fast_level(samples)
    return {
        "p50_us": samples.p50,
        "p50_interval_us": interval(samples),
        "p90_us": samples.p90,
        "p99_us": samples.p99,
        "p999_us": samples.p999,
        "min_us": samples.minimum,
        "mad_us": samples.mad,
        "fast_us": level,
        "fast_open": share,
        "runs": samples.runs,
        "seconds": samples.seconds,
        "percentiles_us": samples.percentiles,
        "samples_ns": [part.tolist() for part in samples.processes],
    }


def _state(state: State) -> dict[str, Any]:
    if state.throttled is None:
        return asdict(state)
    return {**asdict(state), "throttled_now": state.throttled_now, "throttled_since_boot": state.throttled_since_boot}
