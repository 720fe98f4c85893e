"""Compares what two files compute on the same images, and finds the first layer at which they part.

The rule: a layer of B has a signal-to-noise ratio against A's, in dB. `start` is what the coarser of both files, by the
numbers that its weights are held in, has at least before errors add up; later layers are measured against the lowest
ratio of those before them, as errors are inherited. A layer parts where it falls more than `FALL` under that. Over
`FLOAT32 - FALL` = 80 dB two layers are the same, but for the order of float32 additions.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mnist_edge.diff.result import LayerDiff, TensorDiff, Verdict
from mnist_edge.formats.inspection import Trace
from mnist_edge.formats.layer_errors import saturated, sqnr
from mnist_edge.formats.weights import Layer

Array = NDArray[np.float32]
FLOAT32, FLOAT16, INTEGERS = 92.0, 66.0, 32.0
FALL = 12.0
SIX = 6.0


def start(layers: Iterable[Layer]) -> float:
    """Return the ratio in dB that a file with these weights has at least in its first layers."""
    weights = [item for layer in layers for item in layer.weights]
    if any(item.quantized for item in weights):
        return INTEGERS
    return FLOAT16 if any(item.step.any() for item in weights) else FLOAT32


def compare_tensors(a: Trace, b: Trace, layers: Iterable[LayerDiff], expected: float) -> tuple[TensorDiff, ...]:
    """Return the differences of what both files compute, in the order of A's execution.

    Args:
        a: what A computes.
        b: what B computes, on the same images.
        layers: their pairs of layers, whose outputs are compared; the last tensors of both are compared too, and where
            all tensors of both have the same names, all.
        expected: the ratio of the first layers for rounding alone, in dB.
    """
    of_a, of_b = dict(a.tensors), dict(b.tensors)
    layers = list(layers)
    names = {item.a.output: item.a.name for item in layers}
    pairs = {item.a.output: item.b.output for item in layers}
    if [*of_a] == [*of_b]:
        pairs = {name: name for name in of_a} | pairs
    pairs |= {[*of_a][-1]: [*of_b][-1]} if of_a and of_b else {}
    quantized, lowest, parted, behind, found = expected == INTEGERS, expected, False, "", []
    for name in of_a:
        behind = names.get(name, behind)
        other = pairs.get(name, "")
        if other not in of_b or of_a[name].shape != of_b[other].shape:
            continue
        one, two = _kept(*_same_activation(of_a[name], of_b[other]), quantized)
        with np.errstate(over="ignore", invalid="ignore"):
            ratio = float("inf") if np.array_equal(one, two, equal_nan=True) else sqnr(one, two)
            largest, reach = float(np.abs(one - two).max(initial=0)), float(np.abs(one).max(initial=0))
        if ratio < lowest - FALL:
            verdict, parted = Verdict.DIFFERS, True
        elif ratio >= FLOAT32 - FALL:
            verdict = Verdict.SAME
        else:
            verdict = Verdict.INHERITED if parted else Verdict.ROUNDING
        found.append(TensorDiff(name, other, behind, ratio, lowest - FALL, largest, reach, verdict))
        lowest = min(lowest, ratio)
    return tuple(found)


def _kept(a: Array, b: Array, quantized: bool) -> tuple[Array, Array]:
    """Return both without the numbers that lie at an end of a quantized file's range while the others go beyond it."""
    if not quantized:
        return a, b
    with np.errstate(over="ignore", invalid="ignore"):
        kept = ~(saturated(a, b) | saturated(b, a))
    return a[kept], b[kept]


def _same_activation(a: Array, b: Array) -> tuple[Array, Array]:
    """Return both after a Relu or Relu6 where one of them is before it: a format may have it in the layer itself."""
    return _as_after(a, b), _as_after(b, a)


def _as_after(values: Array, other: Array) -> Array:
    if not values.size or not (values.min() < 0 <= other.min()):
        return values
    six = values.max() > SIX and abs(other.max() - SIX) < 0.05
    return np.clip(values, 0, SIX if six else None)
