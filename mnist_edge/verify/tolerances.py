"""How far a file may be from Keras and from the exporting host: each limit with where it comes from."""

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
from mnist_edge.core.metrics import Comparison
from mnist_edge.core.reference import KerasVariation

WORDS = {
    "drop": ("accuracy lost against Keras", "points"),
    "flips": ("images that change class", "images"),
    "difference": ("largest difference from Keras", "in probability"),
    "steps": ("largest error of a logit", "quantization steps"),
    "noise": ("error of the leading logit, root mean square", "quantization steps"),
    "host": ("largest difference from the exporting host", "in probability"),
}
QUANTIZED = {Precision.DYNAMIC, Precision.INT8, Precision.INT16X8}
# Chosen on training images: over seeds 0–9 of all recipes, int8 files were at most 1.1 steps off with noise of 0.7 (1.1
# with an int8 Softmax), over seeds 0–1 others 1.9 spreads and 0.8 halves; 4-bit weights make noise of 1.2 and more.
SPREADS, HALVES, STEPS, NOISE, NOISE_INT8_SOFTMAX = 4, 2, 2, 1, 2
DROP, LEAST = 0.1, 3
FLOAT_SOFTMAX = 1e-6
INT8_SOFTMAX = 1 / 256
INT16_SOFTMAX = 4 / 32768

Given = Mapping[str, float]
"""What the user has set: `drop`, or for one precision `int8.steps`, to its limit."""


@dataclass(frozen=True)
class Tolerance:
    """One criterion: the largest value that passes, and where it comes from."""

    name: str
    allowed: float
    origin: str

    @property
    def words(self) -> str:
        """What is limited."""
        return WORDS[self.name][0]

    @property
    def unit(self) -> str:
        """In what."""
        return WORDS[self.name][1]


@dataclass(frozen=True)
class ToleranceResult:
    """A limit beside the smallest one that would have passed."""

    limit: Tolerance
    measured: float

    @property
    def passed(self) -> bool:
        """Return whether it holds; NaN does not."""
        return self.measured <= self.limit.allowed

    def __str__(self) -> str:
        needed, allowed = figure(self.measured), figure(self.limit.allowed)
        return f"{self.limit.words} is {needed}, allowed {allowed} {self.limit.unit}: {self.limit.origin}"


def figure(value: float) -> str:
    """Return a limit or what was found, short: `0`, `12`, `0.37`, `2.1e-06`."""
    if not math.isfinite(value) or value == int(value):
        return f"{value:g}"
    return f"{value:.2g}" if abs(value) < 0.1 else f"{value:.2f}"


def limits(
    precision: Precision,
    measured: KerasVariation,
    logit_margins: NDArray[np.float64],
    full_integer: bool = False,
    same_runtime: bool = True,
    given: Given | None = None,
) -> tuple[Tolerance, ...]:
    """Return the limits of a precision.

    Args:
        precision: of the file.
        measured: what was taken at export.
        logit_margins: Keras's lead of the first over the second logit on each image, `[N]`.
        full_integer: the output is int8.
        same_runtime: the runtime here has the version of the exporting host's.
        given: the user's own limits.
    """
    spread = (
        f"{SPREADS} × the spread of Keras itself, {measured.run_to_run:.1e} over {len(measured.runs)} ways to run it"
    )
    float32 = Tolerance("difference", SPREADS * measured.run_to_run, spread)
    found = [_drop(len(logit_margins))]
    if precision is Precision.FLOAT32:
        found += [float32, Tolerance("host", float32.allowed, float32.origin)]
    elif precision is Precision.FLOAT16:
        half = f"{HALVES} × what half a float16 unit on every weight makes in Keras, {measured.float16_rounding:.1e}"
        found.append(
            Tolerance("difference", HALVES * measured.float16_rounding + float32.allowed, f"{half}, plus float32's")
        )
    else:
        found.append(
            Tolerance("steps", STEPS, f"a step is the widest span of the logits in 8 bits, {measured.logit_step:.3f}")
        )
        found += [_noise(len(logit_margins), full_integer), _flips(logit_margins, measured.logit_step)]
    if precision is not Precision.FLOAT32:
        found.append(_host(precision, measured, full_integer, same_runtime))
    return tuple(_overridden(found, precision, given or {}))


def path_margin(precision: Precision, measured: KerasVariation) -> float:
    """Return the margin up to which one file, computed in two ways, may change a class: one step, or float's spread."""
    return math.tanh(measured.logit_step) if precision in QUANTIZED else 2 * SPREADS * measured.run_to_run


def _drop(count: int) -> Tolerance:
    if DROP * count < 100 * LEAST:
        return Tolerance("drop", 100 * LEAST / count, f"{LEAST} images, as {DROP:g} points of {count} are fewer")
    return Tolerance("drop", DROP, "the project's promise")


def _noise(count: int, full_integer: bool) -> Tolerance:
    steps = NOISE_INT8_SOFTMAX if full_integer else NOISE
    origin = f"{steps} step{'s, one for the int8 Softmax' if full_integer else ''}, plus what {count} images leave open"
    return Tolerance("noise", steps * (1 + 10 / math.sqrt(count)), origin)


def _flips(logit_margins: NDArray[np.float64], step: float) -> Tolerance:
    """Expect each image to flip as often as normal noise of one step exceeds its gap; allow three deviations more."""
    close = logit_margins[logit_margins < 8 * step] / step
    expected = sum(math.erfc(gap / math.sqrt(2)) / 2 for gap in close.tolist())
    allowed = math.ceil(expected + 3 * math.sqrt(expected))
    return Tolerance("flips", allowed, f"noise of one step on Keras's margins flips {expected:.1f}, plus 3 deviations")


def _host(precision: Precision, measured: KerasVariation, full_integer: bool, same_runtime: bool) -> Tolerance:
    one_step = math.tanh(measured.logit_step / 2)
    if precision is Precision.FLOAT16:
        return Tolerance("host", SPREADS * measured.run_to_run, f"{SPREADS} × the spread of Keras itself")
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


def _overridden(found: Iterable[Tolerance], precision: Precision, given: Given) -> list[Tolerance]:
    by_name = {limit.name: limit for limit in found}
    for key, value in given.items():
        of, _, name = key.rpartition(".")
        if of == precision or (not of and f"{precision}.{name}" not in given):
            by_name[name] = Tolerance(name, value, "set by you")
    return list(by_name.values())


def judge(
    limits: Iterable[Tolerance], found: Comparison, on_host: Comparison | None, step: float
) -> tuple[ToleranceResult, ...]:
    """Hold a comparison with Keras, and one with the exporting host's outputs where there are any, to the limits."""
    needed = {
        "drop": found.drop,
        "flips": len(found.flips),
        "difference": found.largest_difference,
        "steps": found.logit_error / step,
        "noise": found.logit_noise / step,
    }
    if on_host is not None:
        needed["host"] = on_host.largest_difference
    return tuple(ToleranceResult(limit, needed[limit.name]) for limit in limits if limit.name in needed)


def parse(content: Mapping[str, Any], source: str) -> dict[str, float]:
    """Read limits as a table or flags give them: `drop = 0.05`, `int8.steps = 1`, `int8 = {steps = 1}`.

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
    """Read `NAME=VALUE` of the command line. Raises ToleranceError."""
    content: dict[str, Any] = {}
    for flag in flags:
        key, _, value = flag.partition("=")
        try:
            content[key.strip()] = float(value)
        except ValueError:
            raise ToleranceError(f"--tolerance {flag}: write NAME=NUMBER, such as int8.steps=1.") from None
    return parse(content, "--tolerance")


def from_project(folder: Path) -> dict[str, float]:
    """Read `[tool.mnist-edge.parity]` of the `pyproject.toml` in `folder` or the nearest one above it.

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
            except (tomllib.TOMLDecodeError, AttributeError, UnicodeDecodeError) as error:
                raise ToleranceError(f"{path} cannot be read ({error}).") from error
    return {}
