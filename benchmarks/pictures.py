"""Pictures of digits as people take them, and of what is not one digit, each under the distortions of a photo.

Seeded: the same arguments give the same pictures. Everything is split in two. The preprocessing was improved on the
half `improve` (MNIST training images, twelve fonts, two kinds of each distortion) and is reported on the half `report`
(MNIST test images, six other fonts, a third kind of each distortion).
"""

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from distortions import DISTORTIONS, Scene
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from shapes import FONT_FILES, GLYPH, Field, Half, Shape, beside, glyph, redrawn

from mnist_edge.data.dataset import Digits

SOURCES = REDRAWN, FONTS, EMPTY, TWO = "redrawn digits", "fonts", "empty sheets", "two digits"
KINDS: dict[Half, tuple[int, ...]] = {"improve": (0, 1), "report": (2,)}


def drawn(shape: Shape, scene: Scene) -> NDArray[np.uint8]:
    """Draw a shape on a sheet as the scene says: uint8 `[H, W]`."""
    rng = scene.rng
    height, width = (int(rng.integers(280, 513)) for _ in range(2))
    edge = scene.width * shape.half_width
    # the digit's box on the sheet, from its centre line or outline and the pen
    reach = np.argwhere(shape.distance <= edge)
    low, high = reach.min(axis=0), reach.max(axis=0)
    scale = scene.size * min(height, width) / max(high - low)
    slack = np.array([height, width]) - (high - low) * scale - 8
    centre = 4 + np.clip(slack, 0, None) * scene.place + (high - low) * scale / 2
    y, x = np.indices((height, width)).astype(np.float64)
    y, x = (y - centre[0]) / scale, (x - centre[1]) / scale
    away = 1 + (scene.tilt[0] * y + scene.tilt[1] * x) / GLYPH
    turn = np.deg2rad(scene.turn)
    y, x = (np.cos(turn) * y - np.sin(turn) * x) / away, (np.sin(turn) * y + np.cos(turn) * x) / away
    y, x = y + (low + high)[0] / 2, x + (low + high)[1] / 2
    y, x = y + scene.curl * GLYPH * np.sin(x / 40), x + scene.curl * GLYPH * np.sin(y / 40)
    distance = ndimage.map_coordinates(shape.distance, [y, x], order=1, mode="nearest")
    if scene.nib < 1:  # thinner in one direction: take the distance's mean with a moved pen's
        moved = ndimage.map_coordinates(shape.distance, [y + edge * 0.7, x + edge * 0.7], order=1, mode="nearest")
        distance = np.minimum(distance / scene.nib, moved / scene.nib)
    if scene.ragged:
        distance = distance + ndimage.gaussian_filter(rng.normal(0, 8, distance.shape), 4) * scene.ragged * edge
    cover = np.clip((edge - distance) * scale + 0.5, 0, 1)
    if scene.grain:
        grain = ndimage.gaussian_filter(rng.normal(0, 1.6, cover.shape), (0.7, max(0.7, scene.streak)))
        if scene.streak:
            grain *= 0.65 / grain.std()
        cover = cover * (1 - scene.grain * np.clip(1 + grain, 0, 1))
    picture = scene.paper * (1 - cover) + scene.ink * cover
    for effect in scene.effects:
        picture = effect(picture)
    if scene.invert:
        picture = 1 - picture
    grey: NDArray[np.uint8] = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    if scene.jpeg:
        packed = io.BytesIO()
        Image.fromarray(grey).save(packed, "JPEG", quality=scene.jpeg)
        grey = np.asarray(Image.open(packed))
    return grey


@dataclass(frozen=True)
class Picture:
    """A grey picture uint8 `[H, W]`, its digit if it is one, what is on it and what was done to it."""

    grey: NDArray[np.uint8]
    label: int | None
    source: str
    distortion: str


def pictures(half: Half, digits: Digits, source: str, each: int, seed: int = 0) -> Iterator[Picture]:
    """Draw `each` pictures under every distortion.

    Args:
        half: Which half of distortions and fonts.
        digits: MNIST's, to redraw.
        source: One of SOURCES.
        each: How many of each distortion.
        seed: Another one gives other pictures.
    """
    kinds, fonts = KINDS[half], list(FONT_FILES[half])
    for name, distortion in DISTORTIONS.items():
        for number in range(each):
            rng = np.random.default_rng([seed, zlib.crc32(f"{half} {source} {name} {number}".encode())])
            scene = Scene(rng)
            turn, kind = divmod(number, len(kinds))
            distortion(scene, kinds[kind])
            if source == FONTS:
                shape = glyph(half, fonts[turn % len(fonts)], turn // len(fonts) % 10, scene.width >= 0.8)
            else:
                one, other = (
                    redrawn(digits.images[at], int(digits.labels[at])) for at in rng.integers(len(digits), size=2)
                )
                shape = beside(one, other, scene.between(0.1, 0.4)) if source == TWO else one
            if source == EMPTY:
                scene.ink, scene.grain = scene.paper, 0.0
            label = None if source in (EMPTY, TWO) else shape.label
            yield Picture(drawn(shape, scene), label, source if label is None else shape.source, name)


def hopeless(seed: int = 0) -> dict[str, NDArray[np.uint8]]:
    """Pictures without a digit: blank, noise, shadow alone, texture."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((300, 400)).astype(np.float64)
    weave = 128 + 50 * np.sin(x / 3) * np.sin(y / 4)
    cloud = ndimage.gaussian_filter(rng.normal(0, 1, (300, 400)), 4)
    found: dict[str, Field] = {
        "black": np.zeros((300, 400)),
        "white": np.full((300, 400), 255.0),
        "paper's grain": 230 + rng.normal(0, 5, (300, 400)),
        "noise": rng.uniform(0, 255, (300, 400)),
        "dark noise": rng.normal(90, 60, (300, 400)),
        "gradient": 40 + 200 * x / 400,
        "shadow": np.asarray(ndimage.gaussian_filter(np.where(x + y / 2 > 260, 90.0, 230.0), 6)),
        "shadow in a corner": np.asarray(ndimage.gaussian_filter(np.where(x * x + y * y < 200**2, 90.0, 230.0), 3)),
        "weave": weave + rng.normal(0, 10, weave.shape),
        "cloud": 128 + 60 * cloud / cloud.std(),
        "gravel": np.where(cloud > 0, 200.0, 60.0) + rng.normal(0, 8, cloud.shape),
        "ruled paper": np.where((y % 45 < 2), 150.0, 235.0) + rng.normal(0, 3, y.shape),
        "squared paper": np.where((y % 45 < 2) | (x % 45 < 2), 150.0, 235.0) + rng.normal(0, 3, y.shape),
    }
    return {name: np.round(np.clip(picture, 0, 255)).astype(np.uint8) for name, picture in found.items()}
