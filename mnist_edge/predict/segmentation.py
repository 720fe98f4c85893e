"""Separates the digit of a grey picture from its background, under uneven light, noise and ruled lines.

All numbers are whole, so that `web/static/segmentation.js`, with the same functions in the same order, gives the same
bits. `foreground` is 0 where there is background and up to 255 where a stroke is darkest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnist_edge.core.errors import PictureError
from mnist_edge.predict.lines import without_lines
from mnist_edge.predict.raster import (
    box_of,
    boxes_of,
    components,
    cut,
    extreme,
    longer_of,
    mean_around,
    outline,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnist_edge.predict.raster import Mask, Values

SIDE = 256  # a picture is reduced to this first
LEAST_CONTRAST = 40  # of 255, between foreground and background
NOTHING = "no digit found: nothing stands out from the background, or it is very small."
NOT_ONE = "no digit found: nothing that stands out could be one digit."
SEVERAL = "no digit found: more than one thing stands out. Cut the picture to one digit."
TOO_SMALL = "no digit found: what stands out is too small to read."
LARGE = 64  # the longer side from which a picture can have lines, blobs and noise; smaller ones are all digit
BUSY = 6  # the outline of all that stands out is at most this many times the picture's longer side
OTHERS = 5  # small things beside the digit
NOISY = 7  # times a picture's longer side: a longer outline of what is dark is that of noise
PARTS = 6  # strokes that do not touch


def digit_foreground(picture: NDArray[np.uint8]) -> Values:
    """Return the foreground of the one digit in a grey picture, int64 `[H, W]`, cut to the digit's box.

    Raises:
        PictureError: nothing stands out, or nothing that could be one digit.
    """
    grey = reduced(picture)
    large = max(grey.shape) >= LARGE
    smooth = mean_around(grey, int(large))
    even = even_paper(smooth)
    sharp, foreground, top = standing_out(grey, smooth, even)
    for radius in (2, 3) if large else ():
        if not is_busy(foreground):
            break
        smooth = mean_around(smooth, radius)  # it may be noise
        sharp, foreground, top = standing_out(grey, smooth, even)
    digit = one_digit(foreground, top)
    if large and is_soft(sharp, digit):
        raise PictureError(NOT_ONE)
    return cut(np.where(extreme(digit, 1, np.logical_or), sharp, 0), digit)


def standing_out(grey: Values, smooth: Values, even: tuple[bool, int] | None) -> tuple[Values, Values, int]:
    """Return the sharp foreground, the smooth one without lines, and the darkest level of the smooth one.

    `even` is what `even_paper` says of the picture.

    Raises:
        PictureError: nothing stands out.
    """
    side = max(grey.shape)
    if even is not None:
        dark, level = even
        if dark:
            grey, smooth = 255 - grey, 255 - smooth
        background = np.full_like(smooth, level)
        depth = foreground = np.maximum(level - smooth, 0) * 255 // max(level, 64)
    else:
        if is_light_on_dark(smooth):
            grey, smooth = 255 - grey, 255 - smooth
        background, depth, foreground = contrast(smooth)
    if side >= LARGE:
        foreground = np.where(blobs(depth >= (darkest(foreground) + 1) // 2, even is not None), 0, foreground)
    top = darkest(foreground)
    if side >= LARGE and top >= LEAST_CONTRAST:
        foreground = without_lines(clear(foreground, top))
        top = darkest(foreground)  # the lines may have been darker than a pencil
    if top < LEAST_CONTRAST:
        raise PictureError(NOTHING)
    foreground = clear(foreground, top)
    sharp = np.clip((background - grey) * 255 // np.maximum(background, 64), 0, top) * 255 // top
    return sharp, foreground, top


def even_paper(grey: Values) -> tuple[bool, int] | None:
    """Return whether the paper is dark, and its level with dark strokes on it; None where its light is not even."""
    strokes = grey <= threshold(grey)
    side = max(grey.shape)
    share = frame_share(strokes, 0)
    inner = side // 16
    if abs(share - int(strokes.sum()) / strokes.size) * 2 > 1 and min(grey.shape) > 2 * inner:
        share = frame_share(strokes, inner)  # the border was a box's line, or the margin of a thick digit
    dark = share * 2 > 1
    if dark:
        grey, strokes = 255 - grey, ~strokes
    if strokes.all() or not strokes.any() or outline(strokes).sum() > NOISY * side:
        return None
    level, pen = (middle(grey[mask]) for mask in (~strokes, strokes))
    radius = side // 4 if side >= 2 * LARGE else side // 3
    closed = extreme(extreme(grey, radius, np.maximum), radius, np.minimum)
    uneven = (level - closed) * 5 > level - pen
    return None if uneven.sum() * 100 > uneven.size else (dark, level)


def middle(levels: Values) -> int:
    """Return the median level."""
    return int(np.searchsorted(np.cumsum(np.bincount(levels, minlength=256)) * 2, levels.size))


def frame_share(mask: Mask, depth: int) -> float:
    """Return the share of a mask in the frame of pixels at some depth from the border."""
    mask = mask[depth : mask.shape[0] - depth, depth : mask.shape[1] - depth]
    frame = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return int(frame.sum()) / frame.size


def threshold(grey: Values) -> int:
    """Return the level that separates the two groups of levels best (Otsu, 1979): the darker group's last."""
    histogram = np.bincount(grey.ravel(), minlength=256)
    count, total = np.cumsum(histogram), np.cumsum(histogram * np.arange(256))
    apart = (total[-1] * count - total * count[-1]).astype(np.float64)
    return int((apart * apart / np.maximum(count * (count[-1] - count), 1)).argmax())


def clear(foreground: Values, top: int) -> Values:
    """Return the foreground without what is much fainter than the darkest."""
    return np.where(foreground >= (top + 3) // 4, foreground, 0)


def reduced(picture: NDArray[np.uint8]) -> Values:
    """Return the average of blocks, so that the longer side is at most SIDE; the border is repeated to fill a block."""
    by = -(-max(picture.shape) // SIDE)
    full = np.pad(picture, [(0, -side % by) for side in picture.shape], mode="edge")
    blocks = full.reshape(full.shape[0] // by, by, full.shape[1] // by, by).sum(axis=(1, 3), dtype=np.int64)
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


def darkest(foreground: Values) -> int:
    """Return the level that the darkest five hundredth of a picture reaches."""
    histogram = np.bincount(foreground.ravel(), minlength=256)
    return int(np.flatnonzero(np.cumsum(histogram[::-1])[::-1] >= max(1, foreground.size // 500))[-1])


def blobs(mask: Mask, even: bool) -> Mask:
    """Return the mask of what is too compact for a stroke or cut off by the border, such as shadows and fingers."""
    label = components(mask)
    count = int(label.max()) + 1
    area = np.bincount(label.ravel(), weights=mask.ravel(), minlength=count)
    edge = np.bincount(label[outline(mask)], minlength=count)
    bad = np.zeros(count, bool)
    for number in np.flatnonzero(area > mask.size // 500):
        it = label == number
        box = box_of(it)
        touching = int(it[:, 0].sum() + it[:, -1].sum() + it[0].sum() + it[-1].sum())
        if even:
            cut_off = touching * 4 > edge[number] and (1 - box[0] - box[2]) * (1 - box[1] - box[3]) * 2 < mask.size
            compact = area[number] * 5 > longer_of(box) * edge[number]
        else:
            cut_off = touching * 10 > edge[number] and longer_of(box) * 4 < max(mask.shape) * 3
            compact = area[number] * 80 > (11 if touching * 10 > edge[number] else 16) * longer_of(box) * edge[number]
        bad[number] = cut_off or compact
    return extreme(bad[label], 2, np.logical_or)


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
    shape = np.array(foreground.shape)
    label = np.where(foreground > 0, components(extreme(foreground > 0, int(max(shape) >= LARGE), np.logical_or)), 0)
    mass = np.bincount(label.ravel(), weights=foreground.ravel()).astype(np.int64)
    mass[np.bincount(label.ravel(), weights=(foreground * 2 >= top).ravel()) == 0] = 0
    if not mass.any():
        raise PictureError(NOTHING)
    main = int(mass.argmax())
    heavy = np.flatnonzero(mass * 30 > mass[main])
    boxes = boxes_of(label)[heavy - 1]
    touching = (boxes[:, :2] == 0).any(axis=1) | (boxes[:, 2:] == 1 - shape).any(axis=1)
    stray = touching & (mass[heavy] * 5 < mass[main]) & ~touching[heavy == main]  # of something beyond the border
    mass[heavy[stray]] = 0
    heavy, boxes = heavy[~stray], boxes[~stray]
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
    others = int((mass * 150 > mass[main]).sum() - chosen.sum())
    if others > OTHERS or int(mass[heavy[chosen]].sum()) * 5 < int(mass.sum()) * 4:
        raise PictureError(SEVERAL)
    if chosen.sum() > PARTS:
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
