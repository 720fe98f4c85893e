"""Which strokes are the one digit, and when there is none, or more than one; `web/digit.js` decides the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnist_edge.core.errors import PictureError
from mnist_edge.predict.raster import boxes_of, components, extreme, longer_of, outline

if TYPE_CHECKING:
    from mnist_edge.predict.raster import Mask, Values

NOTHING = "no digit found: nothing stands out from the background, or it is very small."
NOT_ONE = "no digit found: nothing that stands out could be one digit."
SEVERAL = "no digit found: more than one thing stands out. Cut the picture to one digit."
TOO_SMALL = "no digit found: what stands out is too small to read."
LARGE = 64  # the longer side from which a picture can have lines, blobs and noise; smaller ones are all digit
WINDING = 12  # a digit's outline is at most this many times its longer side; a texture's is longer
BUSY = 6  # the same for all that stands out, and the picture
PARTS = 4  # strokes that do not touch


def is_busy(ink: Values) -> bool:
    """Whether what stands out has more outline than a digit's."""
    return bool(outline(ink > 0).sum() > BUSY * max(ink.shape))


def one_digit(ink: Values, top: int) -> Mask:
    """Choose the components that make the digit: the heaviest, and what of some weight is near it.

    Args:
        ink: int64 `[H, W]`, 0 paper to 255.
        top: Level of the darkest ink.

    Raises:
        PictureError: no ink, more than one digit's, or none that could be a digit's.
    """
    if is_busy(ink):
        raise PictureError(NOT_ONE)
    label = components(ink > 0)
    mass = np.bincount(label.ravel(), weights=ink.ravel()).astype(np.int64)
    mass[np.bincount(label.ravel(), weights=(ink * 2 >= top).ravel()) == 0] = 0
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
    if longer_of(box) * 16 < max(ink.shape):
        raise PictureError(TOO_SMALL)
    if max(ink.shape) >= LARGE and is_dash(box, ink.shape):
        raise PictureError(NOT_ONE)
    return digit


def is_beside(box: Values, boxes: Values) -> Mask:
    """Which boxes are of some height and have few columns in common with the first: parts of one digit do not."""
    heights, widths = (1 - boxes[:, end] - boxes[:, 2 + end] for end in (0, 1))
    common = 1 - np.maximum(boxes[:, 1] + box[3], box[1] + boxes[:, 3])
    found: Mask = (heights * 5 > (1 - box[0] - box[2]) * 3) & (common * 4 < np.minimum(widths, 1 - box[1] - box[3]))
    return found


def is_dash(box: Values, shape: tuple[int, ...]) -> bool:
    """Whether a box is too wide for a digit, or a line's that the border cuts off."""
    height, width = (1 - box[end] - box[2 + end] for end in (0, 1))
    cut_off = (box == np.array([0, 0, *(1 - side for side in shape)])).any()
    return bool(width > 2 * height or (cut_off and height > 6 * width and width * 32 <= max(shape)))


def is_soft(ink: Values, digit: Mask) -> bool:
    """Whether there is much ink close around the digit, too: a stroke has an edge, light and shadow fade."""
    around = extreme(digit, 3, np.logical_or) & ~extreme(digit, 1, np.logical_or)
    return bool(ink[around].sum() * digit.sum() * 3 > ink[digit].sum() * around.sum())
