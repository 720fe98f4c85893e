"""Choose how to quantize: within a budget of accuracy, and if asked the fastest on this host.

Every figure here is over held-out training images. No test image is looked at.
"""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from mnist_edge.bench.timing import interleave
from mnist_edge.core.contract import IOOptions, Precision
from mnist_edge.core.errors import ConversionError
from mnist_edge.core.metrics import compare
from mnist_edge.data.dataset import Dataset
from mnist_edge.export.exporter import Source
from mnist_edge.formats import FORMATS
from mnist_edge.formats.base import Quantization, Request, TuningResult
from mnist_edge.formats.keras.model import predict

RUNS = 500


class Bench:
    """Tries quantizations of one model in one format."""

    def __init__(
        self, start: Source, dataset: Dataset, format_name: str, io: IOOptions, tell: Callable[[str], None]
    ) -> None:
        self._format, self._io, self._tell = FORMATS[format_name], io, tell
        self._start, self._dataset = start, dataset
        self._images, self._labels = dataset.train.images[start.held_out], dataset.train.labels[start.held_out]
        self._keras = predict(start.model, self._images)
        self.layers = sum(1 for layer in start.model.layers if hasattr(layer, "kernel"))
        self.methods = self._format.methods
        self.tried: list[dict[str, Any]] = []

    def write(self, quantization: Quantization, path: Path) -> None:
        """Export one candidate."""
        calibration = self._dataset.train.images[self._start.calibration]
        self._format.export(self._start.model, path, Request(Precision.INT8, calibration, {}, self._io, quantization))

    def drop(self, quantization: Quantization) -> float:
        """Return the accuracy in points that a candidate loses against Keras; infinite where it cannot be exported."""
        for earlier in self.tried:
            if earlier["quantization"] == asdict(quantization):
                return _drop(earlier)
        found: dict[str, Any] = {"quantization": asdict(quantization), "drop": None}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"candidate{self._format.suffix}"
            try:
                self.write(quantization, path)
                with self._format.open(path) as runner:
                    compared = compare(self._keras, runner.run(self._images), self._labels)
                found.update(drop=round(compared.drop, 4), flips=len(compared.flips))
            except ConversionError as error:
                found["reason"] = str(error)
        self.tried.append(found)
        outcome = "cannot be exported" if found["drop"] is None else f"{found['drop']:+.2f} points on held-out images"
        self._tell(f"  {self._format.name} {in_words(quantization)}: {outcome}")
        return _drop(found)

    def times(self, candidates: list[Quantization]) -> list[float]:
        """Return each candidate's median time of the whole call in µs, all measured side by side."""
        with tempfile.TemporaryDirectory() as folder:
            calls: dict[str, Callable[[], object]] = {}
            for index, candidate in enumerate(candidates):
                path = Path(folder) / f"{index}{self._format.suffix}"
                self.write(candidate, path)
                calls[str(index)] = partial(self._format.open(path).run, self._images[:1])
            stats = interleave(calls, RUNS, warmup=50)
        return [stats[str(index)].p50 for index in range(len(candidates))]


def _drop(tried: dict[str, Any]) -> float:
    """Return the drop of an attempt in points; infinite where the file could not be exported."""
    return float("inf") if tried["drop"] is None else float(tried["drop"])


def in_words(quantization: Quantization) -> str:
    """Return a candidate in words."""
    layers = f", layers {list(quantization.float_layers)} in float" if quantization.float_layers else ""
    return f"{quantization.method}, {'per-channel' if quantization.per_channel else 'per-tensor'}{layers}"


def search(
    start: Source,
    dataset: Dataset,
    formats: Iterable[str],
    io: IOOptions,
    max_drop: float,
    by_latency: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, TuningResult]:
    """Choose a quantization for each format: within `max_drop`, and the fastest such on this host if `by_latency`.

    Raises:
        ConversionError: nothing holds the budget.
    """
    choose = fastest if by_latency else within
    return {name: choose(Bench(start, dataset, name, io, tell), max_drop) for name in formats}


def within(bench: Bench, max_drop: float) -> TuningResult:
    """Find a quantization within a budget: the calibration methods in turn, then the layer that costs most in float.

    Args:
        bench: the model and format.
        max_drop: accuracy points against Keras on held-out training images.

    Raises:
        ConversionError: not even the last attempt holds the budget.
    """
    candidates = [Quantization(method=method) for method in bench.methods]
    for candidate in candidates:
        if bench.drop(candidate) <= max_drop:
            return TuningResult(candidate, tuple(bench.tried))
    best = min(candidates, key=bench.drop)
    while len(best.float_layers) < bench.layers:
        left = [index for index in range(bench.layers) if index not in best.float_layers]
        best = min(
            (replace(best, float_layers=tuple(sorted([*best.float_layers, index]))) for index in left), key=bench.drop
        )
        if bench.drop(best) <= max_drop:
            return TuningResult(best, tuple(bench.tried))
    lowest = min(map(_drop, bench.tried))
    raise ConversionError(
        f"no int8 quantization stays within {max_drop} points of Keras on held-out training images: "
        f"{len(bench.tried)} were tried, the best loses {lowest:.2f}. Raise --max-drop, or export float16."
    )


def fastest(bench: Bench, max_drop: float) -> TuningResult:
    """Measure candidates on this host and give the fastest within the budget.

    The candidates are each calibration method, per-channel and per-tensor, and each layer left in float.

    Raises:
        ConversionError: none is within the budget.
    """
    candidates = [Quantization(method, per_channel) for method in bench.methods for per_channel in (True, False)]
    candidates += [Quantization(float_layers=(index,)) for index in range(bench.layers)]
    good = [candidate for candidate in candidates if bench.drop(candidate) <= max_drop]
    if not good:
        return within(bench, max_drop)
    times = bench.times(good)
    for candidate, time in zip(good, times, strict=True):
        next(item for item in bench.tried if item["quantization"] == asdict(candidate))["p50_us"] = round(time, 2)
    return TuningResult(good[times.index(min(times))], tuple(bench.tried))
