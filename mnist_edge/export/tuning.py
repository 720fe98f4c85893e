"""Chooses how to quantize: within a budget of accuracy, and if asked the fastest on this host.

Every figure here is over held-out training images. No test image is looked at.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from mnist_edge.bench.timing import interleave
from mnist_edge.core.contract import IOOptions, Precision
from mnist_edge.core.errors import ConversionError
from mnist_edge.core.metrics import compare
from mnist_edge.export.inputs import ExportInputs
from mnist_edge.export.plan import ExportPlan
from mnist_edge.formats import FORMATS
from mnist_edge.formats.keras.model import predict
from mnist_edge.formats.request import Quantization, Request, TuningResult

RUNS = 500


@dataclass(frozen=True)
class Budget:
    """The accuracy points that int8 may lose on held-out images, and whether to take the fastest within them."""

    max_drop: float
    by_latency: bool = False


class Tuner:
    """Tries quantizations of one model in one format."""

    def __init__(
        self, inputs: ExportInputs, format_name: str, io: IOOptions, on_progress: Callable[[str], None]
    ) -> None:
        self._format, self._io, self.on_progress = FORMATS[format_name], io, on_progress
        self._inputs, train = inputs, inputs.dataset.train
        self._images, self._labels = train.images[inputs.held_out], train.labels[inputs.held_out]
        self._keras = predict(inputs.model, self._images)
        self.name = format_name
        self.tried: list[dict[str, Any]] = []

    @cached_property
    def layers(self) -> int:
        """Return how many layers of the file can be left in float."""
        request = Request(Precision.INT8, self._inputs.calibration_images, {}, self._io)
        return self._format.layer_count(self._inputs.model, request)

    def methods(self, *per_channel: bool) -> list[Quantization]:
        """Return the candidates with all layers in int8; one alone where the model has ranges of its own."""
        given = self._inputs.quantization
        if given.ranges:
            return [given]
        return [Quantization(method, item) for method in self._format.methods for item in per_channel]

    def write(self, quantization: Quantization, path: Path) -> None:
        """Export one candidate."""
        request = Request(Precision.INT8, self._inputs.calibration_images, {}, self._io, quantization)
        self._format.export(self._inputs.model, path, request)

    def drop(self, quantization: Quantization) -> float:
        """Return the accuracy in points that a candidate loses against Keras; infinite where it cannot be exported."""
        for earlier in self.tried:
            if earlier["quantization"] == asdict(quantization):
                return _drop(earlier)
        attempt: dict[str, Any] = {"quantization": asdict(quantization), "drop": None}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"candidate{self._format.suffix}"
            try:
                self.write(quantization, path)
                with self._format.open(path) as runner:
                    compared = compare(self._keras, runner.run(self._images), self._labels)
                attempt.update(drop=round(compared.drop, 4), flips=len(compared.flips))
            except ConversionError as error:
                attempt["reason"] = str(error)
        self.tried.append(attempt)
        drop = attempt["drop"]
        outcome = "cannot be exported" if drop is None else f"{drop:+.2f} points on held-out images"
        self.on_progress(f"  {self._format.name} {quantization_text(quantization)}: {outcome}")
        return _drop(attempt)

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


def _drop(attempt: dict[str, Any]) -> float:
    """Return the drop of an attempt in points; infinite where the file could not be exported."""
    return float("inf") if attempt["drop"] is None else float(attempt["drop"])


def quantization_text(quantization: Quantization) -> str:
    """Return a quantization in words: `minmax, per-channel, layers [0] in float`."""
    layers = f", layers {list(quantization.float_layers)} in float" if quantization.float_layers else ""
    if quantization.ranges:
        return f"the model's own ranges{layers}"
    return f"{quantization.method}, {'per-channel' if quantization.per_channel else 'per-tensor'}{layers}"


@dataclass(frozen=True)
class Tuned:
    """How to quantize int8, and why that was not found, by format."""

    results: Mapping[str, TuningResult] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


NOT_TUNED = Tuned()


def tune(
    inputs: ExportInputs, plan: ExportPlan, budget: Budget, on_progress: Callable[[str], None] = lambda line: None
) -> Tuned:
    """Return a quantization within the budget for each format that the plan writes int8 files of."""
    results, failed = {}, {}
    for name in plan.int8_formats:
        choose = fastest if budget.by_latency else first_within
        try:
            results[name] = choose(Tuner(inputs, name, plan.io, on_progress), budget.max_drop)
        except ConversionError as error:
            failed[name] = str(error)
    return Tuned(results, failed)


def first_within(tuner: Tuner, max_drop: float) -> TuningResult:
    """Return a quantization within a budget: the calibration methods in turn, then the costliest layers in float.

    Raises:
        ConversionError: not even the last attempt holds the budget.
    """
    candidates = tuner.methods(True)
    for candidate in candidates:
        if tuner.drop(candidate) <= max_drop:
            return TuningResult(candidate, tuple(tuner.tried))
    best = min(candidates, key=tuner.drop)
    while len(best.float_layers) < tuner.layers:
        left = [index for index in range(tuner.layers) if index not in best.float_layers]
        best = min(
            (replace(best, float_layers=tuple(sorted([*best.float_layers, index]))) for index in left), key=tuner.drop
        )
        if tuner.drop(best) <= max_drop:
            return TuningResult(best, tuple(tuner.tried))
    nearest = min(tuner.tried, key=_drop)
    if nearest["drop"] is None:
        raise ConversionError(f"no int8 file can be written to {tuner.name}: {nearest['reason']}")
    raise ConversionError(
        f"no int8 quantization of {tuner.name} stays within {max_drop} points of Keras on held-out training images: of "
        f"{len(tuner.tried)} tried, the best loses {_drop(nearest):.2f} "
        f"({quantization_text(Quantization(**nearest['quantization']))}). Raise --max-drop, or export float16."
    )


def fastest(tuner: Tuner, max_drop: float) -> TuningResult:
    """Return the fastest quantization on this host within a budget.

    The candidates are each calibration method, per-channel and per-tensor, and each layer left in float.

    Raises:
        ConversionError: none is within the budget.
    """
    candidates = tuner.methods(True, False)
    candidates += [replace(candidates[0], float_layers=(index,)) for index in range(tuner.layers)]
    selected = [candidate for candidate in candidates if tuner.drop(candidate) <= max_drop]
    if not selected:
        return first_within(tuner, max_drop)
    times = tuner.times(selected)
    for candidate, time in zip(selected, times, strict=True):
        next(item for item in tuner.tried if item["quantization"] == asdict(candidate))["p50_us"] = round(time, 2)
        tuner.on_progress(f"  {tuner.name} {quantization_text(candidate)}: {time:.1f} µs")
    best = selected[times.index(min(times))]
    tuner.on_progress(f"  {tuner.name}: {quantization_text(best)} is the fastest, {min(times):.1f} µs")
    return TuningResult(best, tuple(tuner.tried))
