"""Takes the lines of ruled paper and of boxes out of a foreground; `web/static/lines.js` has the same functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnist_edge.predict.raster import boxes_of, components, extreme, longer_of, painted, runs

if TYPE_CHECKING:
    from mnist_edge.predict.raster import Mask, Values

THIN, THICK = 32, 18  # a line's width is at most this share of the picture's longer side; near the border the second
OUTER = 5  # the share of a picture that is near the border
STEEP = 19  # of 64 columns a row: how far from upright a line is taken for one


def without_lines(foreground: Values) -> Values:
    """Return the foreground without the lines of ruled paper or of a box, and what is left where they cross."""
    background = foreground
    for _ in range(4):  # upright and level; then again, where two lie side by side or end at another
        foreground, background = without_upright_lines(foreground, background).T, background.T
    if np.array_equal(foreground, background):
        return foreground
    label = components(foreground > 0)
    side = max(foreground.shape)
    beside = extreme((background > 0) & (foreground == 0), side // 48 + 1, np.logical_or)
    boxes, (height, width) = boxes_of(label), foreground.shape
    count = len(boxes) + 1
    rest = np.bincount(label[~beside], minlength=count) == 0  # of a line that was not even
    rest[1:] |= longer_of(boxes) * 32 <= side
    outside = (boxes * 8 >= [7 * height, 7 * width, 1 - height, 1 - width]).any(axis=1)
    rest[1:] |= outside & (np.bincount(label[beside], minlength=count) > 0)[1:]  # a line's end, beyond the box
    return np.where(rest[label], 0, foreground)


def without_upright_lines(foreground: Values, background: Values) -> Values:
    """Return the foreground without lines at most 16° from upright, from the top to the bottom or between level lines.

    Args:
        foreground: int64 `[H, W]`, 0 background to 255.
        background: The same with the lines that have been found before.
    """
    height = len(foreground)
    crossed = np.flatnonzero((background > 0).sum(axis=1) * 2 > foreground.shape[1])
    top = int(crossed[crossed * 4 < height].max(initial=-1)) + 1
    bottom = int(crossed[crossed * 4 >= height * 3].min(initial=height))
    side = max(foreground.shape)
    lines = upright_lines(foreground, side // THIN, 2) | upright_lines(foreground, side // THICK, OUTER)
    if bottom - top < height:
        lines[top:bottom] |= upright_lines(foreground[top:bottom], side // THICK, OUTER)
    return np.where(lines, 0, foreground)


def upright_lines(foreground: Values, thickest: int, share: int) -> Mask:
    """Return the mask of the lines that are at most 16° from upright and go from the top to the bottom.

    Args:
        foreground: int64 `[H, W]`, 0 background to 255.
        thickest: Their greatest width.
        share: Only lines in this share of the picture at the left and at the right.
    """
    height, width = foreground.shape
    row, start, end = runs(foreground > 0)
    slopes = np.arange(-STEEP, STEEP + 1)[:, None]
    stride = width + 2 * height
    place = (start + end + 2 * height + row * slopes // 32) // 4 + 1  # where the run's centre line meets row 0
    place += stride * (slopes + STEEP)
    thin = end - start <= thickest
    line = is_line(place[:, thin], row[thin], foreground.shape, share)
    straight = thin & line[place].any(axis=0)
    lengths = np.sort((end - start)[straight])
    if len(lengths) == 0:
        return np.zeros(foreground.shape, bool)
    level = foreground[row, (start + end) // 2]
    levels = np.sort(level[straight])
    # longer or darker ones are where a stroke crosses, or lies on the line
    straight &= end - start <= lengths[len(lengths) // 2] * 3 // 2 + 1
    straight &= level * 2 <= levels[len(levels) // 2] * 3
    lines: Mask = painted(foreground.shape, row[straight], start[straight], end[straight], 1) > 0
    return lines


def is_line(place: Values, row: Values, shape: tuple[int, ...], share: int) -> Mask:
    """Return, for each place at each slope, whether a line crosses the whole picture there, which no stroke does."""
    height, width = shape
    slope, column = np.divmod(np.arange((width + 2 * height) * (2 * STEEP + 1) + 2), width + 2 * height)
    top = 2 * (column - 1) - height  # the column in row 0
    bottom = top - (slope - STEEP) * height // 64
    band = height // 12 + 1
    middle = (top + bottom) // 2
    line = (middle * share < width) | (middle * share >= width * (share - 1))
    above, below = ((at < 4) | (at >= width - 4) for at in (top, bottom))  # where it has left by the side
    nowhere = np.zeros(len(top), bool)
    for rows, first, beyond in ((height, 0, nowhere), (band, 0, above), (band, height - band, below)):
        counts = np.bincount(place[:, (row >= first) & (row < first + rows)].ravel(), minlength=len(line))
        counts[1:-1] += counts[:-2] + counts[2:]
        line &= (counts * 10 >= rows * 6) | beyond
    wide: Mask = line.copy()  # a line's edge is not even, and the border may cut some of it off
    wide[1:] |= line[:-1]
    wide[:-1] |= line[1:]
    return wide
