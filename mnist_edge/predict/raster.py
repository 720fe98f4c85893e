"""Operations on two-dimensional whole numbers: means, runs, components … `web/static/raster.js` has the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.int64]
    Mask = NDArray[np.bool_]
    Picture = TypeVar("Picture", Values, Mask)


def mean_around(values: Values, radius: int) -> Values:
    """Return the mean over the square of this radius, which shrinks towards the border to stay symmetric."""
    count = np.ones((1, 1), np.int64)
    for axis in (0, 1):
        side = values.shape[axis]
        at = np.arange(side)
        reach = np.minimum(radius, np.maximum(np.minimum(at, side - 1 - at), max(1, radius // 4)))
        low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, side)
        sums = np.insert(np.cumsum(values, axis=axis), 0, 0, axis=axis)
        values = np.take(sums, high, axis=axis) - np.take(sums, low, axis=axis)
        count = count * np.expand_dims(high - low, 1 - axis)
    return (values + count // 2) // count


def extreme(values: Picture, radius: int, pick: np.ufunc, axes: tuple[int, ...] = (0, 1)) -> Picture:
    """Return the maximum or minimum (`pick`) over the square of this radius, as far as it lies inside."""
    for axis in axes:
        values = np.pad(values, [(radius, radius) if axis == other else (0, 0) for other in (0, 1)], mode="edge")
        width = 1
        while width < 2 * radius + 1:  # windows that start at a pixel, grown to twice their width at most
            step = min(width, 2 * radius + 1 - width)
            values = pick(np.delete(values, np.s_[-step:], axis), np.delete(values, np.s_[:step], axis))
            width += step
    return values


def outline(mask: Mask) -> Mask:
    """Return the pixels of a mask with a neighbour outside it; beyond the border is outside."""
    full = np.pad(mask, 1)
    inner: Mask = full[:-2, 1:-1] & full[2:, 1:-1] & full[1:-1, :-2] & full[1:-1, 2:]
    return mask & ~inner


def runs(mask: Mask) -> tuple[Values, Values, Values]:
    """Return the unbroken runs in rows, in reading order: row, first column, column after the last."""
    edges = np.diff(np.pad(mask, [(0, 0), (1, 1)]).astype(np.int8), axis=1)
    row, start = np.nonzero(edges == 1)
    return row, start, np.nonzero(edges == -1)[1]


def painted(shape: tuple[int, ...], row: Values, start: Values, end: Values, value: Values | int) -> Values:
    """Return runs painted with their values, int64 `[H, W]`, 0 elsewhere."""
    change = np.zeros((shape[0], shape[1] + 1), np.int64)
    change[row, start] = value
    change[row, end] -= value
    return np.cumsum(change, axis=1)[:, :-1]


def components(mask: Mask) -> Values:
    """Return the numbers of connected components, with diagonals, int64 `[H, W]`: 0 outside, then in reading order."""
    row, start, end = runs(mask)
    stride = mask.shape[1] + 2
    first, last = row * stride + start, row * stride + end
    low, high = np.searchsorted(last, first + stride), np.searchsorted(first, last + stride, side="right")
    upper = np.repeat(np.arange(len(row)), high - low)
    lower = np.arange(len(upper)) + np.repeat(low - np.cumsum(high - low) + (high - low), high - low)
    label = np.arange(len(row))
    while True:
        known = label.copy()
        smaller = np.minimum(known[upper], known[lower])
        np.minimum.at(label, known[upper], smaller)
        np.minimum.at(label, known[lower], smaller)
        label = label[label]
        if np.array_equal(label, known):
            return painted(mask.shape, row, start, end, np.unique(label, return_inverse=True)[1] + 1)


def box_of(mask: Mask) -> Values:
    """Return first row and column of a mask, and minus the last ones, int64 `[4]`; a union has their minima."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([rows[0], columns[0], -rows[-1], -columns[-1]])


def boxes_of(label: Values) -> Values:
    """Return the box of each component as `box_of` does, int64 `[components, 4]`, that of number 1 first."""
    row, start, end = runs(label > 0)
    boxes = np.full((int(label.max()), 4), max(label.shape))
    np.minimum.at(boxes, label[row, start] - 1, np.stack([row, start, -row, 1 - end], axis=1))
    return boxes


def longer_of(boxes: Values) -> Values:
    """Return the longer side of each box `[..., 4]`."""
    longer: Values = 1 - (boxes[..., :2] + boxes[..., 2:]).min(axis=-1)
    return longer


def cut(values: Values, mask: Mask) -> Values:
    """Return the part of a picture within a mask's box."""
    top, left, bottom, right = box_of(mask)
    return values[top : 1 - bottom, left : 1 - right]
