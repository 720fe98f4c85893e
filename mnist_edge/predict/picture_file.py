"""Opens the file of a picture; what its pixels take in memory is known from its header before they are read."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from mnist_edge.core.reading import MEGABYTE, check_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from PIL.JpegImagePlugin import JpegImageFile

WORKING_SIDE = 512  # a photo is reduced to this first: nothing finer survives the 20×20 box
MOST_BYTES = 300 * MEGABYTE  # of a file
MOST_PIXELS = 200 * MEGABYTE  # in memory, one to four bytes each; there are up to four copies on the way to grey
MOST_COEFFICIENTS = 700 * MEGABYTE  # which a progressive JPEG has in memory, whatever size is read
SHARES = {"WEBP": 2, "AVIF": 2, "JPEG2000": 2}  # their decoders take so many times as much
SLOW = 12  # times as slow, at least: what Pillow decodes in Python
JPEG, PNG, ICON = b"\xff\xd8\xff", b"\x89PNG", b"\0\0\1\0"
PAGED = ("TIFF", "GIF", "WEBP")  # formats of scans and animations, of which Pillow shows the first page alone
REFUSED = {"EPS": "a program in PostScript", "ICNS": "an icon that does not say how large its pictures are"}


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture; a JPEG is then read at an eighth of its size or more.

    Raises:
        ValueError: it is over a limit; Pillow raises other errors too.
    """
    check_size(path.stat().st_size, MOST_BYTES)
    with path.open("rb") as file, warnings.catch_warnings():
        head = file.read(len(ICON))
        file.seek(0)
        warnings.simplefilter("ignore")  # Pillow says what is odd; what is hopeless it raises
        if head == ICON:  # whose picture is read at once, and may be larger than it says
            warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with _image(file, head) as picture:
                _check(picture)
                yield picture
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise ValueError(f"it has too many pixels; they may take {MOST_PIXELS / MEGABYTE:.0f} MB") from error


def _image(file: BinaryIO, head: bytes) -> Image.Image:
    """Return the picture in a file that begins with `head`; Pillow imports readers of five kinds to find its own."""
    try:
        if head.startswith(JPEG):
            from PIL.JpegImagePlugin import JpegImageFile

            _reduce(picture := JpegImageFile(file))
            return picture
        if head == PNG:
            from PIL.PngImagePlugin import PngImageFile

            return PngImageFile(file)
        return Image.open(file)
    except UnidentifiedImageError as error:
        raise ValueError("it is empty" if not head else "it is of no kind that Pillow reads") from error
    except SyntaxError as error:
        raise ValueError("its header is damaged") from error


def _reduce(picture: JpegImageFile) -> None:
    """Have a JPEG read at a smaller size. Raises ValueError where even that takes too much time or memory."""
    check_size(picture.width * picture.height, 3 * MOST_PIXELS, _pixels(picture))
    if picture.info.get("progressive"):
        sizes = [across * down for _, across, down, _ in picture.layer]
        coefficients = picture.width * picture.height * sum(sizes) // max(1, *sizes)
        check_size(2 * coefficients, MOST_COEFFICIENTS, "its progressive form")
    picture.draft("L", (WORKING_SIDE, WORKING_SIDE))


def _check(picture: Image.Image) -> None:
    """Raise ValueError where a picture takes too much time or memory, or is of a form that is not read."""
    if why := REFUSED.get(str(picture.format)):
        raise ValueError(f"it is {why}")
    if picture.format in PAGED and getattr(picture, "is_animated", False):
        raise ValueError("it has several pages; save the one with the digit as a file of its own")
    in_python = any(tile[0] in Image.DECODERS for tile in getattr(picture, "tile", [])[:1])
    each = 1 if picture.mode in ("1", "L", "P") else 2 if picture.mode.startswith("I;16") else 4
    share = SLOW if in_python else SHARES.get(str(picture.format), 1)
    check_size((4 if in_python else each) * picture.width * picture.height, MOST_PIXELS // share, _pixels(picture))


def _pixels(picture: Image.Image) -> str:
    return f"a picture of {picture.width:,} × {picture.height:,} pixels"
