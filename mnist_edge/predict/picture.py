"""Any picture of one digit → a 28×28 one like MNIST's: white on black, in a 20×20 box, centred by its mass.

The method is that of the dataset's own page: the digit is scaled, keeping its proportions, into a 20×20 box with
anti-aliasing, and placed in a 28×28 field so that its centre of mass is at the field's centre. `segmentation` finds the
digit; strokes of an unusual width are made wider or narrower. `web/static/picture.js` gives the same bits.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from mnist_edge.core.errors import PictureError
from mnist_edge.core.reading import reading
from mnist_edge.predict.picture_file import WORKING_SIDE, opened
from mnist_edge.predict.raster import cut, extreme, mean_around, outline, runs
from mnist_edge.predict.segmentation import NOT_ONE, digit_foreground

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnist_edge.predict.raster import Values

BOX, FIELD = 20, 28
FINE = 8  # pens are made usual at this many times MNIST's resolution
THIN, THICK = 12, 20  # the usual width of strokes, in those pixels
WINDING = 17  # a digit's outline is at most half as many times its longer side; a texture's is longer
EVEN = 5  # radius over which a boxed digit's noise is evened out
STROKES = 5  # more lie side by side in no large part of a digit
FAINT = 64  # foreground under this is outside the box


def read(path: Path) -> NDArray[np.uint8]:
    """Return a picture file as MNIST has digits, uint8 `[28, 28]`.

    Raises:
        PictureError: it cannot be read, or shows no digit.
    """
    if path.is_dir():
        raise PictureError(f"{path} is a folder; give the pictures in it, such as {path / '*.png'}.")
    if not path.is_file():
        raise PictureError(f"there is no picture {path}.")
    with (
        reading(PictureError, f"{path} is not a picture that can be read", "Give a PNG or JPEG."),
        opened(path) as picture,
    ):
        grey = _grey(ImageOps.exif_transpose(picture))
    try:
        return mnist_like(np.asarray(grey))
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error


def _grey(picture: Image.Image) -> Image.Image:
    """Return a grey picture of at most 512×512; a transparent one is laid on black or white, as its strokes need."""
    if picture.mode.startswith("I"):  # 16 bit grey, or 12 of a camera; Pillow's own conversion would clip it
        values = np.asarray(picture)
        picture = Image.fromarray((values // (257 if values.max() > 4095 else 16)).astype(np.uint8))
    picture.thumbnail((WORKING_SIDE, WORKING_SIDE))
    if not picture.has_transparency_data:
        return picture.convert("L")
    picture = picture.convert("LA")
    brightness, alpha = (np.asarray(band) for band in picture.split())
    opaque = brightness[alpha > 127]
    background = 0 if opaque.size and opaque.mean() > 127 else 255
    return Image.composite(picture.getchannel(0), Image.new("L", picture.size, background), picture.getchannel(1))


def mnist_like(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a grey picture uint8 `[H, W]`, dark on light or light on dark, as uint8 `[28, 28]`.

    Raises:
        PictureError: nothing stands out from the background, or nothing that could be one digit.
    """
    digit = boxed(digit_foreground(grey))
    if not is_drawn(digit):
        raise PictureError(NOT_ONE)
    return centred(boxed(with_usual_pen(digit)))


def boxed(digit: Values) -> Values:
    """Return the digit scaled by areas to BOX at the fine resolution, in its proportions; the darkest is 255."""
    height, width = digit.shape
    side = max(height, width)
    rows, columns = (max(1, (2 * length * BOX * FINE + side) // (2 * side)) for length in (height, width))
    area = height * width
    scaled = (_averaged(_averaged(digit, rows).T, columns).T + area // 2) // area
    strong: Values = scaled * 255 // scaled.max()
    return strong


def _averaged(values: Values, count: int) -> Values:
    """Return `count` rows, each the sum of the old rows that it covers, in units of 1 / `count` of a row."""
    place = np.arange(count + 1) * len(values)
    whole, part = place // count, (place % count)[:, None]
    sums = np.pad(np.cumsum(values, axis=0), [(1, 0), (0, 0)])
    return np.diff(sums[whole] * count + np.pad(values, [(0, 1), (0, 0)])[whole] * part, axis=0)


def is_drawn(digit: Values) -> bool:
    """Return whether a boxed digit has no more area, outline and strokes side by side than digits have."""
    solid, side = mean_around(digit, EVEN) >= 128, BOX * FINE  # noise makes a digit ragged too
    many = [(np.bincount(runs(mask)[0], minlength=1) >= STROKES).sum() * 5 > 2 * len(mask) for mask in (solid, solid.T)]
    return bool(solid.sum() * 3 <= 2 * side * side and outline(solid).sum() * 2 <= WINDING * side and not any(many))


def with_usual_pen(digit: Values) -> Values:
    """Return the digit with wider or narrower strokes, where their mean width is unusual in MNIST."""
    area, edge = int((digit >= 128).sum()), int(outline(digit >= 128).sum())
    wider, narrower = (THIN * edge - 2 * area + edge) // (2 * edge), (2 * area - THICK * edge + edge) // (2 * edge)
    steps, pick = (wider, np.maximum) if wider > 0 else (max(narrower, 0), np.minimum)
    digit = np.pad(digit, steps + 1)
    for step in range(steps):  # crosses and squares in turn, which makes a rough circle
        if step % 2:
            digit = extreme(digit, 1, pick)
        else:
            digit = pick(extreme(digit, 1, pick, (0,)), extreme(digit, 1, pick, (1,)))
    return cut(digit, digit >= FAINT)


def centred(digit: Values) -> NDArray[np.uint8]:
    """Return the 28×28 field with the digit's centre of mass at its centre, as far as the digit stays inside."""
    corner, mass, side = [], int(digit.sum()), FIELD * FINE
    for axis, length in enumerate(digit.shape):
        moment = int((digit.sum(axis=1 - axis) * np.arange(length)).sum())
        corner.append(min(max((side * mass // 2 - moment) // mass, 0), side - length))
    top, left = corner
    field = np.zeros((side, side), np.int64)
    field[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    blocks = field.reshape(FIELD, FINE, FIELD, FINE).sum(axis=(1, 3))
    image: NDArray[np.uint8] = (blocks * 255 // blocks.max()).astype(np.uint8)  # thin strokes fade when they shrink
    return image
