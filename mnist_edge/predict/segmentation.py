"""Separates the digit of a grey picture from its background, under uneven light, noise and ruled lines.

All numbers are whole, so that `web/static/segmentation.js`, with the same functions in the same order, gives the same
bits. `foreground` is 0 where there is background and up to 255 where a stroke is darkest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnist_edge.core.errors import PictureError
from mnist_edge.predict.raster import (
    box_of,
    boxes_of,
    components,
    cut,
    extreme,
    longer_of,
    mean_around,
    outline,
    painted,
    runs,
)

if TYPE_CHECKING:
    from mnist_edge.predict.raster import Mask, Values

SIDE = 256  # a picture is reduced to this first
LEAST_CONTRAST = 40  # of 255, between foreground and background
STEEP = 19  # of 64 columns a row: how far from upright a line is taken for one
NOTHING = "no digit found: nothing stands out from the background, or it is very small."
NOT_ONE = "no digit found: nothing that stands out could be one digit."
SEVERAL = "no digit found: more than one thing stands out. Cut the picture to one digit."
TOO_SMALL = "no digit found: what stands out is too small to read."
LARGE = 64  # the longer side from which a picture can have lines, blobs and noise; smaller ones are all digit
WINDING = 12  # a digit's outline is at most this many times its longer side; a texture's is longer
BUSY = 6  # the same for all that stands out, and the picture
PARTS = 4  # strokes that do not touch


def digit_foreground(picture: Values) -> Values:
    """Return the foreground of the one digit in a grey picture, int64 `[H, W]`, cut to the digit's box.

    Raises:
        PictureError: nothing stands out, or nothing that could be one digit.
    """
    grey = smooth = reduced(picture)
    for radius in (1, 2, 3) if max(grey.shape) >= LARGE else (0,):
        smooth = mean_around(smooth, radius)
        sharp, foreground, top = standing_out(grey, smooth)
        if not is_busy(foreground):  # else smooth more: it may be noise
            break
    digit = one_digit(foreground, top)
    if max(grey.shape) >= LARGE and is_soft(sharp, digit):
        raise PictureError(NOT_ONE)
    return cut(np.where(extreme(digit, 1, np.logical_or), sharp, 0), digit)


def standing_out(grey: Values, smooth: Values) -> tuple[Values, Values, int]:
    """Return the sharp foreground, the smooth one without lines, and the darkest level of the smooth one.

    Raises:
        PictureError: nothing stands out.
    """
    side = max(grey.shape)
    if is_light_on_dark(smooth):
        grey, smooth = 255 - grey, 255 - smooth
    background, depth, foreground = contrast(smooth)
    if border_share(foreground) * 4 > 1:  # a digit that fills its picture: what seemed background may be the stroke
        other = contrast(255 - smooth)
        if border_share(other[2]) < border_share(foreground):
            grey, (background, depth, foreground) = 255 - grey, other
    if side >= LARGE:
        foreground = np.where(blobs(depth >= (darkest(foreground) + 1) // 2), 0, foreground)
    top = darkest(foreground)
    if side >= LARGE and top >= LEAST_CONTRAST:
        foreground = without_lines(clear(foreground, top))
        top = darkest(foreground)  # the lines may have been darker than a pencil
    if top < LEAST_CONTRAST:
        raise PictureError(NOTHING)
    foreground = clear(foreground, top)
    sharp = np.clip((background - grey) * 255 // np.maximum(background, 64), 0, top) * 255 // top
    return sharp, foreground, top


def clear(foreground: Values, top: int) -> Values:
    """Return the foreground without what is much fainter than the darkest."""
    return np.where(foreground >= (top + 3) // 4, foreground, 0)


def reduced(picture: Values) -> Values:
    """Return the average of blocks, so that the longer side is at most SIDE; the border is repeated to fill a block."""
    by = -(-max(picture.shape) // SIDE)
    full = np.pad(picture, [(0, -side % by) for side in picture.shape], mode="edge")
    blocks = full.reshape(full.shape[0] // by, by, full.shape[1] // by, by).sum(axis=(1, 3))
    mean: Values = (blocks + by * by // 2) // (by * by)
    return mean


def is_light_on_dark(grey: Values) -> bool:
    """Return whether the pixels that differ most from their surroundings are the light ones."""
    return int(((grey - mean_around(grey, max(grey.shape) // 4)) ** 3).sum()) > 0


def contrast(grey: Values) -> tuple[Values, Values, Values]:
    """Return the background's level, how much darker each pixel is (0 to 255), and the same for strokes alone."""
    side = max(grey.shape)
    radius = max(1, side // 6)
    # dark strokes narrower than the square are filled, wider shadows and their edges stay
    background = extreme(extreme(grey, radius, np.maximum), radius, np.minimum)
    depth = (background - grey) * 255 // np.maximum(background, 64)
    # a stroke is darker than the background and than its surroundings; a shadow's edge or a dim corner only one of them
    return background, depth, np.where(grey * 12 < mean_around(grey, max(2, side // 8)) * 11, depth, 0)


def border_share(foreground: Values) -> float:
    """Return the share of the border's pixels that hold at least half of the darkest foreground."""
    border = np.concatenate([foreground[0], foreground[-1], foreground[:, 0], foreground[:, -1]])
    return int((border * 2 >= max(1, darkest(foreground))).sum()) / border.size


def darkest(foreground: Values) -> int:
    """Return the level that the darkest five hundredth of a picture reaches."""
    histogram = np.bincount(foreground.ravel(), minlength=256)
    return int(np.flatnonzero(np.cumsum(histogram[::-1])[::-1] >= max(1, foreground.size // 500))[-1])


def blobs(mask: Mask) -> Mask:
    """Return the mask of what is too compact for a stroke or cut off by the border, such as shadows and fingers."""
    label = components(mask)
    count = int(label.max()) + 1
    area = np.bincount(label.ravel(), weights=mask.ravel(), minlength=count)
    edge = np.bincount(label[outline(mask)], minlength=count)
    bad = np.zeros(count, bool)
    for number in np.flatnonzero(area > mask.size // 500):
        it = label == number
        longer = int(longer_of(box_of(it)))
        touching = int(it[:, 0].sum() + it[:, -1].sum() + it[0].sum() + it[-1].sum()) * 10 > edge[number]
        cut_off = touching and longer * 4 < max(mask.shape) * 3
        bad[number] = cut_off or area[number] * 80 > (11 if touching else 16) * longer * edge[number]
    return extreme(bad[label], 2, np.logical_or)


def without_lines(foreground: Values) -> Values:
    """Return the foreground without the lines of ruled paper and what is left where they cross."""
    background = foreground
    for _ in range(2):  # where two lines lie side by side, once is not enough
        foreground = without_upright_lines(without_upright_lines(foreground).T).T
    if np.array_equal(foreground, background):
        return foreground
    label = components(foreground > 0)
    small = np.append(True, longer_of(boxes_of(label)) * 32 <= max(foreground.shape))
    return np.where(small[label], 0, foreground)


def without_upright_lines(foreground: Values) -> Values:
    """Return the foreground without lines that are at most 16° from upright and go from the top to the bottom."""
    height, width = foreground.shape
    row, start, end = runs(foreground > 0)
    slopes = np.arange(-STEEP, STEEP + 1)[:, None]
    stride = width + 2 * height
    place = (start + end + 2 * height + row * slopes // 32) // 4 + 1  # where the run's centre line meets row 0
    place += stride * (slopes + STEEP)
    thin = end - start <= max(height, width) // 32
    straight = thin & is_line(place[:, thin], row[thin], foreground.shape)[place].any(axis=0)
    lengths = np.sort((end - start)[straight])
    if len(lengths) == 0:
        return foreground
    level = foreground[row, (start + end) // 2]
    levels = np.sort(level[straight])
    # longer or darker ones are where a stroke crosses, or lies on the line
    straight &= end - start <= lengths[len(lengths) // 2] + 1
    straight &= level * 2 <= levels[len(levels) // 2] * 3
    return np.where(painted(foreground.shape, row[straight], start[straight], end[straight], 1) > 0, 0, foreground)


def is_line(place: Values, row: Values, shape: tuple[int, ...]) -> Mask:
    """Return, for each place at each slope, whether a line crosses the whole picture there, which no stroke does."""
    height, width = shape
    slope, column = np.divmod(np.arange((width + 2 * height) * (2 * STEEP + 1) + 2), width + 2 * height)
    top = 2 * (column - 1) - height  # the column in row 0
    bottom = top - (slope - STEEP) * height // 64
    band = height // 12 + 1
    line = np.ones(len(top), bool)
    above, below = ((at < 4) | (at >= width - 4) for at in (top, bottom))  # where it has left by the side
    nowhere = np.zeros(len(top), bool)
    for rows, first, beyond in ((height, 0, nowhere), (band, 0, above), (band, height - band, below)):
        counts = np.bincount(place[:, (row >= first) & (row < first + rows)].ravel(), minlength=len(line))
        counts[1:-1] += counts[:-2] + counts[2:]
        line &= (counts * 10 >= rows * 6) | beyond
    return line


def is_busy(foreground: Values) -> bool:
    """Return whether what stands out has more outline than a digit's."""
    return bool(outline(foreground > 0).sum() > BUSY * max(foreground.shape))


def one_digit(foreground: Values, top: int) -> Mask:
    """Return the mask of the digit: the heaviest component, and those of some weight that are near it.

    Args:
        foreground: int64 `[H, W]`, 0 background to 255.
        top: Level of the darkest foreground.

    Raises:
        PictureError: there is nothing, more than one digit, or nothing that could be a digit.
    """
    if is_busy(foreground):
        raise PictureError(NOT_ONE)
    label = components(foreground > 0)
    mass = np.bincount(label.ravel(), weights=foreground.ravel()).astype(np.int64)
    mass[np.bincount(label.ravel(), weights=(foreground * 2 >= top).ravel()) == 0] = 0
    if not mass.any():
        raise PictureError(NOTHING)
    main = int(mass.argmax())
    heavy = np.flatnonzero(mass * 30 > mass[main])
    boxes = boxes_of(label)[heavy - 1]
    if is_beside(boxes[heavy == main][0], boxes[mass[heavy] * 5 > mass[main]]).any():
        raise PictureError(SEVERAL)
    chosen = heavy == main
    reach = longer_of(boxes[chosen].min(axis=0)) * np.where(mass[heavy] * 5 < mass[main], 1, 2)
    while True:
        box = boxes[chosen].min(axis=0)
        near = ~chosen & ((boxes + np.roll(box, 2)).max(axis=1) * 6 <= reach)
        if not near.any():
            break
        chosen |= near
    digit = np.isin(label, heavy[chosen])
    if chosen.sum() > PARTS or int(mass[heavy[chosen]].sum()) * 2 < int(mass.sum()):
        raise PictureError(NOT_ONE)
    if int(outline(digit).sum()) > WINDING * longer_of(box):
        raise PictureError(NOT_ONE)
    if longer_of(box) * 16 < max(foreground.shape):
        raise PictureError(TOO_SMALL)
    if max(foreground.shape) >= LARGE and is_dash(box, foreground.shape):
        raise PictureError(NOT_ONE)
    return digit


def is_beside(box: Values, boxes: Values) -> Mask:
    """Return which boxes are tall and share few columns with the first one; the parts of one digit share more."""
    heights, widths = (1 - boxes[:, end] - boxes[:, 2 + end] for end in (0, 1))
    common = 1 - np.maximum(boxes[:, 1] + box[3], box[1] + boxes[:, 3])
    beside: Mask = (heights * 5 > (1 - box[0] - box[2]) * 3) & (common * 4 < np.minimum(widths, 1 - box[1] - box[3]))
    return beside


def is_dash(box: Values, shape: tuple[int, ...]) -> bool:
    """Return whether a box is too wide for a digit, or is a line that the border cuts off."""
    height, width = (1 - box[end] - box[2 + end] for end in (0, 1))
    cut_off = (box == np.array([0, 0, *(1 - side for side in shape)])).any()
    return bool(width > 2 * height or (cut_off and height > 6 * width and width * 32 <= max(shape)))


def is_soft(foreground: Values, digit: Mask) -> bool:
    """Return whether much foreground lies close around the digit: a stroke has an edge, light and shadow fade."""
    around = extreme(digit, 3, np.logical_or) & ~extreme(digit, 1, np.logical_or)
    return bool(foreground[around].sum() * digit.sum() * 3 > foreground[digit].sum() * around.sum())
