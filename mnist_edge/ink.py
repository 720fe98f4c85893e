"""Ink and paper: what of a grey picture is the digit, under uneven light, noise and lines.

Whole numbers throughout, so that `web/preprocess.js`, with the same functions in the same order, gives the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from mnist_edge.errors import PictureError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.int64]
    Mask = NDArray[np.bool_]
    Picture = TypeVar("Picture", Values, Mask)

NOTHING = "no digit found: nothing stands out from the background."
NOT_ONE = "no digit found: nothing that stands out could be one digit."
TOO_SMALL = "no digit found: what stands out is too small to read."
SIDE = 256  # a picture is reduced to this first
LEAST_CONTRAST = 30  # of 255, between ink and paper
LARGE = 64  # the longer side from which a picture can have lines, blobs and noise; smaller ones are all digit
WINDING = 12  # a digit's outline is at most this many times its longer side; a texture's is longer
BUSY = 6  # the same for all that stands out, and the picture


def digit_ink(picture: Values) -> Values:
    """Give the ink of the one digit in a grey picture int64 `[H, W]`: 0 paper to 255 ink, cut to the digit's box.

    Raises:
        PictureError: nothing stands out, or nothing that could be one digit.
    """
    grey = smooth = reduced(picture)
    for radius in (1, 2, 3) if max(grey.shape) >= LARGE else (0,):
        smooth = mean_around(smooth, radius)
        sharp, ink, strong = standing_out(grey, smooth)
        if not is_busy(ink):  # else smooth more: it may be noise
            break
    digit = one_digit(ink, strong)
    return cut(np.where(extreme(digit, 1, np.logical_or), sharp, 0), digit)


def standing_out(grey: Values, smooth: Values) -> tuple[Values, Values, int]:
    """Give the ink of the grey and of the smoothed picture, this without paper and lines, and its level that is sure.

    Raises:
        PictureError: nothing stands out.
    """
    side = max(grey.shape)
    if is_light_on_dark(smooth):
        grey, smooth = 255 - grey, 255 - smooth
    paper, depth, ink = contrast(smooth)
    if border_share(ink) * 4 > 1:  # a digit that fills its picture: what seemed paper may be the stroke
        other = contrast(255 - smooth)
        if border_share(other[2]) < border_share(ink):
            grey, (paper, depth, ink) = 255 - grey, other
    if side >= LARGE:
        ink = np.where(blobs(depth >= (darkest(ink) + 1) // 2), 0, ink)
    top = darkest(ink)
    if top < LEAST_CONTRAST:
        raise PictureError(NOTHING)
    ink = np.where(ink >= (top + 3) // 4, ink, 0)
    if side >= LARGE:
        ink = without_lines(without_lines(ink).T).T
    sharp = np.clip((paper - grey) * 255 // np.maximum(paper, 64), 0, top) * 255 // top
    return sharp, ink, (top + 1) // 2


def reduced(picture: Values) -> Values:
    """Average blocks so that the longer side is at most SIDE; the last row and column are repeated to fill a block."""
    by = -(-max(picture.shape) // SIDE)
    full = np.pad(picture, [(0, -side % by) for side in picture.shape], mode="edge")
    blocks = full.reshape(full.shape[0] // by, by, full.shape[1] // by, by).sum(axis=(1, 3))
    mean: Values = (blocks + by * by // 2) // (by * by)
    return mean


def mean_around(values: Values, radius: int) -> Values:
    """Mean over the square of this radius, which shrinks to a quarter towards the border to stay symmetric."""
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


def is_light_on_dark(grey: Values) -> bool:
    """Whether the few pixels that stand far out from their surroundings are the light ones."""
    return int(((grey - mean_around(grey, max(grey.shape) // 4)) ** 3).sum()) > 0


def contrast(grey: Values) -> tuple[Values, Values, Values]:
    """Give the paper's level, how much darker than it each pixel is (0 to 255), and the same for strokes alone."""
    side = max(grey.shape)
    radius = max(1, side // 6)
    # dark strokes narrower than the square are filled, wider shadows and their edges stay
    paper = extreme(extreme(grey, radius, np.maximum), radius, np.minimum)
    depth = (paper - grey) * 255 // np.maximum(paper, 64)
    # a stroke is darker than the paper and than its surroundings; a shadow's edge or a dim corner only one of them
    return paper, depth, np.where(grey * 12 < mean_around(grey, max(2, side // 8)) * 11, depth, 0)


def border_share(ink: Values) -> float:
    """Share of the border's pixels that hold at least half of the darkest ink."""
    border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    return int((border * 2 >= max(1, darkest(ink))).sum()) / border.size


def extreme(values: Picture, radius: int, pick: np.ufunc, axes: tuple[int, ...] = (0, 1)) -> Picture:
    """The maximum or minimum (`pick`) over the square of this radius, as far as it lies inside."""
    for axis in axes:
        values = np.pad(values, [(radius, radius) if axis == other else (0, 0) for other in (0, 1)], mode="edge")
        width = 1
        while width < 2 * radius + 1:  # windows that start at a pixel, grown to twice their width at most
            step = min(width, 2 * radius + 1 - width)
            values = pick(np.delete(values, np.s_[-step:], axis), np.delete(values, np.s_[:step], axis))
            width += step
    return values


def darkest(ink: Values) -> int:
    """The level that the darkest five hundredth of a picture reaches."""
    histogram = np.bincount(ink.ravel(), minlength=256)
    return int(np.flatnonzero(np.cumsum(histogram[::-1])[::-1] >= max(1, ink.size // 500))[-1])


def blobs(mask: Mask) -> Mask:
    """Find what is too compact for a stroke or cut off by the border: shadows, fingers, the table's edge."""
    label = components(mask)
    count = int(label.max()) + 1
    area = np.bincount(label.ravel(), weights=mask.ravel(), minlength=count)
    edge = np.bincount(label[outline(mask)], minlength=count)
    bad = np.zeros(count, bool)
    for number in np.flatnonzero(area > mask.size // 500):
        it = label == number
        longer = longer_of(box_of(it))
        touching = int(it[:, 0].sum() + it[:, -1].sum() + it[0].sum() + it[-1].sum()) * 10 > edge[number]
        cut_off = touching and longer * 4 < max(mask.shape) * 3
        bad[number] = cut_off or area[number] * 80 > (11 if touching else 16) * longer * edge[number]
    return extreme(bad[label], 2, np.logical_or)


def outline(mask: Mask) -> Mask:
    """The pixels of a mask that have one outside beside them, above or below; beyond the border is outside."""
    full = np.pad(mask, 1)
    inner: Mask = full[:-2, 1:-1] & full[2:, 1:-1] & full[1:-1, :-2] & full[1:-1, 2:]
    return mask & ~inner


def without_lines(ink: Values) -> Values:
    """Take out what is thin and straight through most of the picture's height, up to 16° from upright."""
    height, width = ink.shape
    row, start, end = runs(ink > 0)
    slopes = np.arange(-19, 20)[:, None]
    place = (start + end + 2 * height + row * slopes // 32) // 4 + 1  # where the run's centre line meets row 0
    place += (width + 2 * height) * (slopes + 19)
    thin = end - start <= max(height, width) // 32
    counts = np.bincount(place[:, thin].ravel(), minlength=(width + 2 * height) * 39 + 2)
    counts[1:-1] += counts[:-2] + counts[2:]
    straight = thin & (counts[place] * 10 >= height * 6).any(axis=0)
    lengths = np.sort((end - start)[straight])
    if len(lengths) == 0:
        return ink
    level = ink[row, (start + end) // 2]
    levels = np.sort(level[straight])
    # longer or darker ones are where a stroke crosses, or lies on the line
    straight &= end - start <= lengths[len(lengths) // 2] + 1
    straight &= level * 2 <= levels[len(levels) // 2] * 3
    return np.where(painted(ink.shape, row[straight], start[straight], end[straight], 1) > 0, 0, ink)


def runs(mask: Mask) -> tuple[Values, Values, Values]:
    """Unbroken runs in rows, in reading order: the row, the first column, the column after the last."""
    edges = np.diff(np.pad(mask, [(0, 0), (1, 1)]).astype(np.int8), axis=1)
    row, start = np.nonzero(edges == 1)
    return row, start, np.nonzero(edges == -1)[1]


def painted(shape: tuple[int, ...], row: Values, start: Values, end: Values, value: Values | int) -> Values:
    """Runs painted with their values, int64 `[H, W]`, 0 elsewhere."""
    change = np.zeros((shape[0], shape[1] + 1), np.int64)
    change[row, start] = value
    change[row, end] -= value
    return np.cumsum(change, axis=1)[:, :-1]


def components(mask: Mask) -> Values:
    """Number what touches, diagonally too: int64 `[H, W]`, 0 outside, from 1 in reading order of the first pixel."""
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
    """First row and column of a mask, and minus the last ones, so that a union's are the minima: int64 `[4]`."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([rows[0], columns[0], -rows[-1], -columns[-1]])


def longer_of(box: Values) -> int:
    """The longer side of a box."""
    return 1 - int((box[:2] + box[2:]).min())


def cut(values: Values, mask: Mask) -> Values:
    """The part of a picture within a mask's box."""
    top, left, bottom, right = box_of(mask)
    return values[top : 1 - bottom, left : 1 - right]


def is_busy(ink: Values) -> bool:
    """Whether what stands out has more outline than a digit's."""
    return bool(outline(ink > 0).sum() > BUSY * max(ink.shape))


def one_digit(ink: Values, strong: int) -> Mask:
    """Choose the components that make the digit: the heaviest, and what of some weight is near it.

    Raises:
        PictureError: most of the ink lies elsewhere, or the outline winds as no digit's does.
    """
    if is_busy(ink):
        raise PictureError(NOT_ONE)
    label = components(ink > 0)
    mass = np.bincount(label.ravel(), weights=ink.ravel()).astype(np.int64)
    mass[np.bincount(label.ravel(), weights=(ink >= strong).ravel()) == 0] = 0
    if not mass.any():
        raise PictureError(NOTHING)
    main = int(mass.argmax())
    heavy = np.flatnonzero(mass * 30 > mass[main])
    boxes = np.array([box_of(label == number) for number in heavy])
    chosen = heavy == main
    reach = longer_of(boxes[chosen].min(axis=0)) * np.where(mass[heavy] * 5 < mass[main], 1, 2)
    while True:
        box = boxes[chosen].min(axis=0)
        near = ~chosen & ((boxes + np.roll(box, 2)).max(axis=1) * 6 <= reach)
        if not near.any():
            break
        chosen |= near
    digit = np.isin(label, heavy[chosen])
    if int(outline(digit).sum()) > WINDING * longer_of(box) or int(mass[heavy[chosen]].sum()) * 2 < int(mass.sum()):
        raise PictureError(NOT_ONE)
    if longer_of(box) * 16 < max(ink.shape):
        raise PictureError(TOO_SMALL)
    return digit
