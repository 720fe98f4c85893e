"""Compares the weights of two paired layers, number by number, against what both files can hold.

A file that holds a number in steps knows it to half a step; the end of an integer range may be another half away, as
its zero point is rounded too. So A and B agree where their numbers are within these distances of each other. Where both
have the same dtype and the same steps, and in float32, which has none, they have to be the same.
"""

import numpy as np
from numpy.typing import NDArray

from mnist_edge.diff.result import LayerDiff, Verdict, WeightDiff
from mnist_edge.formats.layer_errors import sqnr
from mnist_edge.formats.weights import KERNEL, Array, Layer, Weights

SLACK = 1e-5  # of a number: the products of float32 scales
SHOWN = 4
ALIKE = 25.0  # dB that numbers have which only rounding changes
NEAR = 0.01  # of a factor to 1
LEAST = 8  # numbers, of which a factor can be seen


def compare_layers(a: Layer, b: Layer) -> LayerDiff:
    """Return the differences of two layers; a constant that one alone has is told too."""
    found = []
    for role in dict.fromkeys(item.role for item in (*a.weights, *b.weights)):
        one, other = (next((item for item in layer.weights if item.role == role), None) for layer in (a, b))
        if one is not None and other is not None:
            found.append(_compare(one, other))
        elif (alone := one or other) is not None and (alone.values.any() or role == KERNEL):
            found.append(_alone(alone, in_a=one is not None))
    return LayerDiff(a, b, tuple(found))


def _alone(weights: Weights, in_a: bool) -> WeightDiff:
    """Return the difference of a constant to none; a bias of zeros is none."""
    with np.errstate(invalid="ignore"):
        largest = float(np.abs(weights.values).max(initial=0))
    shape, dtype, who = weights.values.shape, weights.dtype, "A" if in_a else "B"
    shapes, dtypes = ((shape, ()), (dtype, "–")) if in_a else (((), shape), ("–", dtype))
    return WeightDiff(
        role=weights.role,
        shape=shapes[0],
        other_shape=shapes[1],
        dtypes=dtypes,
        largest=largest,
        snr=-float("inf"),
        beyond=weights.values.size,
        verdict=Verdict.DIFFERS,
        detail=f"{who} alone has it",
    )


def _compare(a: Weights, b: Weights) -> WeightDiff:
    shapes, dtypes = (a.values.shape, b.values.shape), (a.dtype, b.dtype)
    if a.values.size != b.values.size:
        detail = f"of shape {list(shapes[0])} in A and {list(shapes[1])} in B"
        return WeightDiff(a.role, *shapes, dtypes, float("nan"), -float("inf"), b.values.size, Verdict.DIFFERS, detail)
    one, other = a.values, b.values.reshape(a.values.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        difference = np.abs(one - other)
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        beyond = ~same & ~(difference <= _room_of_both(a, b))
        snr = sqnr(one, other)
        largest = float(np.where(same, 0, difference).max(initial=0))
    count = int(beyond.sum())
    verdict = Verdict.DIFFERS if count else Verdict.SAME if same.all() and a.dtype == b.dtype else Verdict.ROUNDING
    detail = _detail(one, other, beyond) if count else ""
    return WeightDiff(a.role, *shapes, dtypes, largest, snr if not same.all() else float("inf"), count, verdict, detail)


def _room_of_both(a: Weights, b: Weights) -> Array:
    """Return how far each number of A may lie from B's: no more than the slack of products where both have one step."""
    room = _room(a) + _room(b).reshape(a.values.shape)
    steps = [np.broadcast_to(item.step, item.values.shape).reshape(a.values.shape) for item in (a, b)]
    if a.dtype == b.dtype:
        room = np.where(steps[0] == steps[1], 0, room)
    return np.asarray(room + np.where(steps[0] + steps[1] > 0, SLACK * np.abs(a.values), 0), np.float32)


def _room(weights: Weights) -> Array:
    """Return how far each number may lie from the one that was rounded to it."""
    values = weights.values
    room = np.broadcast_to(weights.step / 2, values.shape)
    if not weights.quantized:
        return np.asarray(room, np.float32)
    axes = tuple(range(values.ndim - 1)) if values.ndim > 1 else None
    low, high = (np.broadcast_to(end(values, axis=axes, keepdims=True), values.shape) for end in (np.min, np.max))
    return np.asarray(np.where((values == low) | (values == high), 2 * room, room), np.float32)


def _detail(a: Array, b: Array, beyond: NDArray[np.bool_]) -> str:
    """Return how numbers differ that do so beyond rounding: which channels, swapped or by which factor."""
    total = beyond.shape[-1] if beyond.ndim else 1
    one, other, changed = a.reshape(-1, total), b.reshape(-1, total), beyond.reshape(-1, total)
    count = int(beyond.sum())
    channels = np.flatnonzero(changed.any(axis=0))
    places = f"channel{'s' if len(channels) > 1 else ''} {', '.join(map(str, channels[:SHOWN]))}"
    places += f" … ({len(channels)} of {total})" if len(channels) > SHOWN else ""
    places = "all channels" if len(channels) == total > 1 else places
    if count == 1:
        return f"1 of {beyond.size:,} numbers, in {places}: {one[changed][0]:.4g} in A, {other[changed][0]:.4g} in B"
    one, other = one[:, channels], other[:, channels]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if len(channels) == 2 and sqnr(one, other[:, ::-1]) > ALIKE:
            return f"channels {channels[0]} and {channels[1]} are swapped"
        if one.size >= LEAST and (factors := _factors(one, other)):
            return f"{places}: B has {factors} the numbers of A"
    return f"{count:,} of {beyond.size:,} numbers, in {places}"


def _factors(a: Array, b: Array) -> str | None:
    """Return the factor that makes B of A, or the range of those of the channels; None where none do."""
    one, other = a.astype(np.float64), b.astype(np.float64)
    factor = (one * other).sum() / np.square(one).sum()
    if abs(factor - 1) > NEAR and sqnr(np.asarray(one * factor, np.float32), b) > ALIKE:
        return f"{factor:.4g} ×"
    each = (one * other).sum(axis=0) / np.square(one).sum(axis=0)
    if len(a) >= LEAST and sqnr(np.asarray(one * each, np.float32), b) > ALIKE and np.abs(each - 1).max() > NEAR:
        return f"{each.min():.4g} to {each.max():.4g} ×, by the channel,"
    return None
