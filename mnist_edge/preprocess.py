"""Any picture of one digit → a 28×28 one like MNIST's: white on black, in a 20×20 box, centred by its mass.

The method is that of the dataset's own page: the digit is scaled, keeping its proportions, into a 20×20 box with
anti-aliasing, and placed in a 28×28 field so that its centre of mass is at the field's centre.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mnist_edge.errors import PictureError

BOX, FIELD = 20, 28
WORKING_SIDE = 512  # a photo is reduced to this first: nothing finer survives the 20×20 box
LEAST_CONTRAST = 40  # of 255, between ink and paper
PAPER = 0.2  # ink under this share of the darkest is paper's grain or shadow


def read(path: Path) -> NDArray[np.uint8]:
    """Read a picture file and give it as uint8 `[28, 28]`.

    Raises:
        PictureError: it cannot be read, or shows no digit.
    """
    if not path.is_file():
        raise PictureError(f"there is no picture {path}.")
    try:
        with Image.open(path) as picture:
            picture.draft("L", (WORKING_SIDE, WORKING_SIDE))
            grey = _grey(ImageOps.exif_transpose(picture))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(f"{path} is not a picture that can be read ({error}). Give a PNG or JPEG.") from error
    try:
        return mnist_like(np.asarray(grey))
    except PictureError as error:
        raise PictureError(f"{path}: {error}") from error


def _grey(picture: Image.Image) -> Image.Image:
    """Flatten to at most 512×512 grey; a transparent picture is laid on what its strokes stand out from."""
    if picture.mode.startswith("I"):  # 16 bit grey; Pillow's own conversion would clip it
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    picture.thumbnail((WORKING_SIDE, WORKING_SIDE))
    if not picture.has_transparency_data:
        return picture.convert("L")
    picture = picture.convert("LA")
    brightness, alpha = (np.asarray(band) for band in picture.split())
    opaque = brightness[alpha > 127]
    paper = 0 if opaque.size and opaque.mean() > 127 else 255
    return Image.composite(picture.getchannel(0), Image.new("L", picture.size, paper), picture.getchannel(1))


def mnist_like(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn a grey picture uint8 `[H, W]`, dark on light or light on dark, into uint8 `[28, 28]`.

    Raises:
        PictureError: there is no ink that stands out from the paper.
    """
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ink = grey.astype(np.float32) - np.median(border)
    if ink.sum() < 0:
        ink = -ink
    ink = np.clip(ink, 0, None)
    contrast = np.percentile(ink[ink > 0], 95) if (ink > 0).any() else 0.0
    if ink.max() < LEAST_CONTRAST:
        raise PictureError("no digit found: nothing stands out from the background.")
    ink = np.clip(ink / max(contrast, LEAST_CONTRAST), 0, 1)
    ink[ink < PAPER] = 0
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    digit = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _centred(_boxed(digit))


def _boxed(digit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale so that the longer side is 20, keeping proportions."""
    height, width = digit.shape
    factor = BOX / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    method = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    scaled = np.clip(np.asarray(Image.fromarray(digit).resize(size, method)), 0, 1)
    brightest: NDArray[np.float32] = scaled / max(scaled.max(), 1e-6)  # thin strokes fade when they shrink
    return brightest


def _centred(digit: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Place the digit so that its centre of mass is the field's centre, as far as it stays inside."""
    field = np.zeros((FIELD, FIELD), np.float32)
    corner = []
    for axis, side in enumerate(digit.shape):
        mass = digit.sum(axis=1 - axis)
        centre = float((mass * np.arange(side)).sum() / mass.sum())
        corner.append(min(max(round((FIELD - 1) / 2 - centre), 0), FIELD - side))
    top, left = corner
    field[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return np.round(field * 255).astype(np.uint8)
