"""Tolerances: how far a file may be from Keras and from the exporting host, each with its origin."""

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import ToleranceError
from mnist_edge.core.metrics import Comparison, Interval
from mnist_edge.core.reference import KerasVariation

WORDS = {
    "drop": ("accuracy lost against Keras", "points"),
    "flips": ("images that change class", "images"),
    "difference": ("largest difference from Keras", "in probability"),
    "steps": ("largest error of a logit, but for one image in 1 000,", "quantization steps"),
    "noise": ("error of the leading logit, root mean square", "quantization steps"),
    "host": ("largest difference from the exporting host", "in probability"),
}
QUANTIZED = {Precision.DYNAMIC, Precision.INT8, Precision.INT16X8}
# Chosen on training images: over seeds 0–9 of all recipes, int8 files were at most 1.1 steps off with noise of 0.7 (1.1
# with an int8 Softmax), over seeds 0–1 others 1.9 spreads and 0.8 halves; 4-bit weights make noise of 1.2 and more.
SPREADS, HALVES, STEPS, NOISE, NOISE_INT8_SOFTMAX = 4, 2, 2, 1, 2
# × what int8 costs in a simulation: a runtime rounds at more places, and the largest error varies more than noise
SIMULATED, SIMULATED_LARGEST = 2, 3
DROP = 0.1
FLOAT_SOFTMAX = 1e-6
FLOAT_UNITS = 64 * 2**-24
INT8_SOFTMAX = 1 / 256
INT16_SOFTMAX = 4 / 32768

Overrides = Mapping[str, float]
"""Tolerances that the user has set, by name: `drop`, or for one precision `int8.steps`."""


@dataclass(frozen=True)
class Tolerance:
    """The largest value of a figure that passes, and where that comes from."""

    name: str
    allowed: float
    origin: str

    @property
    def words(self) -> str:
        """Return what the figure is."""
        return WORDS[self.name][0]

    @property
    def unit(self) -> str:
        """Return the unit of the figure."""
        return WORDS[self.name][1]


@dataclass(frozen=True)
class AccuracyBudget:
    """Whether a quantized file loses more accuracy than the user allows; that does not say that it is broken.

    `drop` and `allowed` are in points; `interval` is that of the drop, None where SciPy is not installed. `chosen`
    says that the user set the limit.
    """

    allowed: float
    drop: float
    interval: Interval | None
    chosen: bool

    @property
    def within(self) -> bool:
        """Return whether the drop is not shown to be over the limit, with a confidence of 95 %."""
        return self.drop <= self.allowed or (self.interval is not None and self.interval.low <= self.allowed)

    def __str__(self) -> str:
        verdict = "WITHIN BUDGET" if self.within else "OVER BUDGET"
        between = f", 95 % interval {self.interval.low:+.2f} to {self.interval.high:+.2f}" if self.interval else ""
        default = "" if self.chosen else " by default"
        return f"{verdict}: {self.drop:+.2f} points of accuracy lost{between}, {self.allowed:g} allowed{default}"


@dataclass(frozen=True)
class ToleranceResult:
    """A tolerance with the figure that was measured: the smallest tolerance that would have passed."""

    tolerance: Tolerance
    measured: float

    @property
    def passed(self) -> bool:
        """Return whether the figure is within the tolerance; NaN is not."""
        return self.measured <= self.tolerance.allowed

    def __str__(self) -> str:
        measured, allowed = figure(self.measured), figure(self.tolerance.allowed)
        return f"{self.tolerance.words} is {measured}, allowed {allowed} {self.tolerance.unit}: {self.tolerance.origin}"


def figure(value: float) -> str:
    """Return a figure as short text: `0`, `12`, `0.37`, `2.1e-06`."""
    if not math.isfinite(value) or value == int(value):
        return f"{value:g}"
    return f"{value:.2g}" if abs(value) < 0.1 else f"{value:.2f}"


def tolerances_of(
    precision: Precision,
    variation: KerasVariation,
    logit_margins: NDArray[np.float64],
    full_integer: bool = False,
    same_runtime: bool = True,
) -> tuple[Tolerance, ...]:
    """Return the tolerances of a file.

    Args:
        precision: of the file.
        variation: of Keras, measured at export.
        logit_margins: Keras's lead of the first over the second logit on each image, `[N]`.
        full_integer: the output is int8.
        same_runtime: the runtime here has the version of the exporting host's.
    """
    ways = f"{variation.run_to_run:.1e} over {len(variation.runs)} ways to run it"
    spread = f"{SPREADS} × the spread of Keras itself, {ways}, or 64 units in the last place of a float32 near 1"
    float32 = Tolerance("difference", float_noise(variation), spread)
    if precision is Precision.FLOAT32:
        return (float32, Tolerance("host", float32.allowed, float32.origin))
    if precision is Precision.FLOAT16:
        half = f"{HALVES} × what half a float16 unit on every weight makes in Keras, {variation.float16_rounding:.1e}"
        allowed = HALVES * variation.float16_rounding + float32.allowed
        tolerances = [Tolerance("difference", allowed, f"{half}, plus float32's")]
    else:
        tolerances = [
            _steps(variation),
            _noise(variation, len(logit_margins), full_integer),
            _flips(logit_margins, int8_noise(variation)),
        ]
    return (*tolerances, _host(precision, variation, full_integer, same_runtime))


def float_noise(variation: KerasVariation) -> float:
    """Return how far two ways to compute one network in float32 may differ; the spread of few images may be too low."""
    return max(SPREADS * variation.run_to_run, FLOAT_UNITS)


def int8_noise(variation: KerasVariation) -> float:
    """Return the noise on a logit that int8 may make: a step, or more where the simulation of this network has more."""
    return max(variation.logit_step, SIMULATED * variation.int8_noise)


def variant_margin(precision: Precision, variation: KerasVariation) -> float:
    """Return the margin up to which one file, computed in two ways, may change a class: int8's noise, or float's."""
    return math.tanh(int8_noise(variation)) if precision in QUANTIZED else 2 * float_noise(variation)


def accuracy_budget(
    precision: Precision, drop: float, interval: Interval | None, overrides: Overrides
) -> AccuracyBudget | None:
    """Return the verdict on the accuracy that a file loses; None for float files, unless the user set a limit."""
    chosen = overrides.get(f"{precision}.drop", overrides.get("drop"))
    if precision not in QUANTIZED and chosen is None:
        return None
    return AccuracyBudget(DROP if chosen is None else chosen, drop, interval, chosen is not None)


def _steps(variation: KerasVariation) -> Tolerance:
    step = f"a step is the widest span of the logits in 8 bits, {variation.logit_step:.3f}"
    simulated = SIMULATED_LARGEST * variation.int8_error / variation.logit_step
    if simulated <= STEPS:
        return Tolerance("steps", STEPS, step)
    origin = f"{SIMULATED_LARGEST} × the largest error of int8 simulated in Keras, {variation.int8_error:.3f}; {step}"
    return Tolerance("steps", simulated, origin)


def _noise(variation: KerasVariation, count: int, full_integer: bool) -> Tolerance:
    softmax = NOISE_INT8_SOFTMAX - NOISE if full_integer else 0
    steps = int8_noise(variation) / variation.logit_step
    origin = "1 step" if steps == NOISE else f"{SIMULATED} × the noise of int8 simulated in Keras"
    origin += f"{', one more for the int8 Softmax' if full_integer else ''}, plus what {count} images leave open"
    return Tolerance("noise", (steps + softmax) * _left_open(count), origin)


def _left_open(count: int) -> float:
    """Return the factor on noise that so few images leave open."""
    return 1 + 10 / math.sqrt(count)


def _flips(logit_margins: NDArray[np.float64], noise: float) -> Tolerance:
    """Return the flips that normal noise on the logits would make, plus four standard deviations."""
    noise *= _left_open(len(logit_margins))
    close = logit_margins[logit_margins < 8 * noise] / noise
    expected = sum(math.erfc(gap / math.sqrt(2)) / 2 for gap in close.tolist())
    allowed = math.ceil(expected + 4 * math.sqrt(expected))
    origin = f"noise of {noise:.3f} on Keras's logits flips {expected:.1f}, plus 4 deviations"
    return Tolerance("flips", allowed, origin)


def _host(precision: Precision, variation: KerasVariation, full_integer: bool, same_runtime: bool) -> Tolerance:
    one_step = math.tanh(int8_noise(variation) / 2)
    if precision is Precision.FLOAT16:
        return Tolerance("host", float_noise(variation), f"{SPREADS} × the spread of Keras itself")
    if not same_runtime:
        return Tolerance(
            "host", one_step, "one step of a logit, which another version of the runtime may round otherwise"
        )
    if full_integer:
        return Tolerance("host", INT8_SOFTMAX, "one step of an int8 Softmax, 1/256")
    if precision is Precision.DYNAMIC:
        return Tolerance("host", one_step, "one step of a logit: activations are quantized at every call")
    if precision is Precision.INT16X8:
        return Tolerance("host", INT16_SOFTMAX, "four steps of an int16 Softmax, 1/32768 each")
    return Tolerance("host", FLOAT_SOFTMAX, "eight units in the last place of a float Softmax")


def overridden(tolerances: Iterable[Tolerance], precision: Precision, overrides: Overrides) -> tuple[Tolerance, ...]:
    """Return tolerances with those that the user has set; one of a precision goes before a general one."""
    by_name = {tolerance.name: tolerance for tolerance in tolerances}
    for key, value in overrides.items():
        of, _, name = key.rpartition(".")
        applies = of == precision or (not of and f"{precision}.{name}" not in overrides)
        if applies and name != "drop":  # that is the accuracy budget
            by_name[name] = Tolerance(name, value, "set by you")
    return tuple(by_name.values())


def judge(
    tolerances: Iterable[Tolerance], comparison: Comparison, on_host: Comparison | None, logit_step: float
) -> tuple[ToleranceResult, ...]:
    """Return each tolerance with its figure from the comparisons with Keras and with the exporting host."""
    measured = {
        "flips": len(comparison.flips),
        "difference": comparison.largest_difference,
        "steps": comparison.logit_error / logit_step,
        "noise": comparison.logit_noise / logit_step,
    }
    if on_host is not None:
        measured["host"] = on_host.largest_difference
    return tuple(ToleranceResult(item, measured[item.name]) for item in tolerances if item.name in measured)


def parse(content: Mapping[str, Any], source: str) -> dict[str, float]:
    """Return overrides from a table or flags: `drop = 0.05`, `int8.steps = 1`, `int8 = {steps = 1}`.

    Raises:
        ToleranceError: an unknown name, or no number that can be a limit.
    """
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    for key, value in flat.items():
        of, _, name = key.rpartition(".")
        if name not in WORDS or (of and of not in tuple(Precision)):
            raise ToleranceError(
                f"{source}: there is no limit {key!r}. Say one of {', '.join(WORDS)}, alone or behind a precision: "
                f"int8.steps. Precisions: {', '.join(Precision)}."
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise ToleranceError(f"{source}: {key} = {value!r} is not a number from 0 upward.")
    return {key: float(value) for key, value in flat.items()}


def from_flags(flags: Iterable[str]) -> dict[str, float]:
    """Return overrides from `NAME=VALUE` on the command line. Raises ToleranceError."""
    content: dict[str, Any] = {}
    for flag in flags:
        key, _, value = flag.partition("=")
        try:
            content[key.strip()] = float(value)
        except ValueError:
            raise ToleranceError(f"--tolerance {flag}: write NAME=NUMBER, such as int8.steps=1.") from None
    return parse(content, "--tolerance")


def from_project(folder: Path) -> dict[str, float]:
    """Return overrides from `[tool.mnist-edge.parity]` of the `pyproject.toml` in `folder` or the nearest one above it.

    Raises:
        ToleranceError: the file or the table cannot be read.
    """
    for place in (folder, *folder.parents):
        path = place / "pyproject.toml"
        if path.is_file():
            try:
                content = tomllib.loads(path.read_text(encoding="utf-8"))
                table = content.get("tool", {}).get("mnist-edge", {}).get("parity", {})
                return parse(table, f"{path} [tool.mnist-edge.parity]")
            except (tomllib.TOMLDecodeError, AttributeError, UnicodeDecodeError, RecursionError) as error:
                raise ToleranceError(f"{path} cannot be read ({error}).") from error
    return {}
