"""Shapes of digits at high resolution: MNIST's redrawn with a pen, and Debian fonts.

A redrawn digit is a digit's centre line, found by thinning it at ten times its size, swept with a round pen. It is kept
as a field of distances to that line, so that a pen's width is one subtraction and turning it costs no sharpness.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Half = Literal["improve", "report"]
Field = NDArray[np.float64]

FONT_FILES: dict[Half, dict[str, tuple[str, str]]] = {  # name: Debian package, file
    "improve": {
        "DejaVu Sans": ("fonts-dejavu-core", "truetype/dejavu/DejaVuSans.ttf"),
        "Tomson Talks": ("fonts-tomsontalks", "truetype/tomsontalks/TomsonTalks.ttf"),
        "Écolier Court": ("fonts-ecolier-court", "truetype/ecolier-court/Ecolier-court.ttf"),
        "Kristi": ("fonts-kristi", "truetype/kristi/Kristi.ttf"),
        "Femke Klaver": ("fonts-femkeklaver", "truetype/femkeklaver/femkeklaver.ttf"),
        "Comfortaa": ("fonts-comfortaa", "truetype/comfortaa/Comfortaa-Regular.ttf"),
        "FreeSerif": ("fonts-freefont-ttf", "truetype/freefont/FreeSerif.ttf"),
        "Humor Sans": ("fonts-humor-sans", "truetype/humor-sans/Humor-Sans.ttf"),
        "Breip": ("fonts-breip", "truetype/breip/Breip.ttf"),
        "Dancing Script": ("fonts-dancingscript", "opentype/dancingscript/DancingScript-Regular.otf"),
        "DKG Handwriting": ("fonts-dkg-handwriting", "truetype/fifthhorseman/dkg.ttf"),
        "OCR-A": ("fonts-ocr-a", "truetype/ocr-a/OCRA.ttf"),
    },
    "report": {
        "Klee One": ("fonts-klee", "truetype/klee/KleeOne-Regular.ttf"),
        "RufScript": ("fonts-rufscript", "truetype/rufscript/Rufscript010.ttf"),
        "Kaushan Script": ("fonts-kaushanscript", "opentype/kaushanscript/KaushanScript-Regular.otf"),
        "Because We Learn": ("fonts-bwht", "opentype/bwht/BecauseWeLearn-Regular.otf"),
        "Quicksand": ("fonts-quicksand", "truetype/quicksand/Quicksand-Regular.ttf"),
        "Courier Prime": ("fonts-courier-prime", "opentype/courier-prime/Courier Prime.otf"),
    },
}
FONT_FOLDER = Path("/usr/share/fonts")
GLYPH = 200  # a digit's longer side, in pixels of its distance field
MARGIN = 60


@dataclass(frozen=True)
class Shape:
    """A digit as distances to its centre line or edge, float64 `[H, W]` in pixels, and what they mean."""

    distance: Field
    half_width: float  # where the ink's edge is, at the shape's own pen
    label: int
    source: str


def subset(ink: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Reduce strokes to their centre line, one pixel wide (Zhang and Suen, 1984)."""
    ink = np.pad(ink, 1)
    changed = True
    while changed:
        changed = False
        for first in (True, False):
            n, e, s, w = (np.roll(ink, by, axis) for by, axis in ((1, 0), (-1, 1), (-1, 0), (1, 1)))
            ne, se, sw, nw = np.roll(n, -1, 1), np.roll(s, -1, 1), np.roll(s, 1, 1), np.roll(n, 1, 1)
            ring = [n, ne, e, se, s, sw, w, nw]
            count = np.sum(ring, axis=0)
            rises = np.sum([~a & b for a, b in zip(ring, ring[1:] + ring[:1], strict=True)], axis=0)
            spared = (n & e & s) | (e & s & w) if first else (n & e & w) | (n & s & w)
            removed = ink & (count >= 2) & (count <= 6) & (rises == 1) & ~spared
            ink = ink & ~removed
            changed |= bool(removed.any())
    return ink[1:-1, 1:-1]


def redrawn(image: NDArray[np.uint8], label: int) -> Shape:
    """A digit of MNIST, uint8 `[28, 28]`, as its centre line at high resolution."""
    large = ndimage.gaussian_filter(ndimage.zoom(image / 255.0, 10, order=1), 2)
    line = subset(large > 0.5)
    rows, columns = np.flatnonzero(line.any(axis=1)), np.flatnonzero(line.any(axis=0))
    line = line[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return swept(np.pad(line, MARGIN), label, "redrawn digits")


def swept(line: NDArray[np.bool_], label: int, source: str) -> Shape:
    """A centre line, to be swept with a round pen."""
    distance = ndimage.distance_transform_edt(~line)
    return Shape(np.asarray(ndimage.gaussian_filter(distance, 1.0)), GLYPH / 20, label, source)


def beside(one: Shape, other: Shape, gap: float) -> Shape:
    """Two redrawn digits as one shape, as far apart as this share of a digit's longer side."""
    height = max(one.distance.shape[0], other.distance.shape[0])
    lines = []
    for shape in (one, other):
        line = shape.distance < 1
        above = (height - len(line)) // 2
        lines.append(np.pad(line, [(above, height - len(line) - above), (0, 0)])[:, MARGIN:-MARGIN])
    between = np.zeros((height, round(gap * GLYPH) + GLYPH // 10), bool)  # a pen's width more
    return swept(np.pad(np.hstack([lines[0], between, lines[1]]), [(0, 0), (MARGIN, MARGIN)]), one.label, one.source)


@cache
def glyph(half: Half, name: str, label: int, outline: bool) -> Shape:
    """A digit of a font by its outline, to be drawn as it is or bolder, or by its centre line, for a thin pen."""
    path = FONT_FOLDER / FONT_FILES[half][name][1]
    large = ImageFont.truetype(str(path), 300)
    sheet = Image.new("L", (700, 700))
    ImageDraw.Draw(sheet).text((200, 150), str(label), fill=255, font=large)
    box = sheet.getbbox()
    assert box is not None
    cut = sheet.crop(box)
    factor = GLYPH / max(cut.size)
    ink = np.asarray(cut.resize((round(cut.width * factor), round(cut.height * factor)))) > 127
    ink = np.pad(ink, MARGIN)
    if not outline:
        return swept(subset(ink), label, name)
    inside = ndimage.distance_transform_edt(ink)
    half_width = float(np.percentile(inside[ink], 90))
    return Shape(ndimage.distance_transform_edt(~ink) - inside + half_width, half_width, label, name)
