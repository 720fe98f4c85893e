"""Pictures of digits as people take them: redrawn MNIST digits and Debian fonts, each under the distortions of a photo.

Seeded: the same arguments give the same pictures. Everything is split in two. The preprocessing was improved on the
half `improve` (MNIST training images, six fonts, one kind of each distortion) and is reported on the half `report`
(MNIST test images, six other fonts, another kind of each distortion).
"""

import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from shapes import FONTS, GLYPH, Field, Half, Shape, glyph, redrawn

from mnist_edge.data import Digits


@dataclass
class Scene:
    """What a distortion may change before the picture is drawn, and what is done to the picture afterwards."""

    rng: np.random.Generator
    width: float = 1.0  # of the pen, as a share of the usual
    nib: float = 1.0  # how much narrower strokes are in one direction
    turn: float = 0.0  # degrees
    tilt: tuple[float, float] = (0.0, 0.0)  # perspective
    size: float = 0.0  # of the digit, as a share of the sheet's shorter side
    place: tuple[float, float] = (0.5, 0.5)  # 0 at one border, 1 at the other
    paper: float = 0.0
    ink: float = 0.0
    effects: list[Callable[[Field], Field]] = field(default_factory=list)
    grain: float = 0.0  # share of the ink that the paper's grain leaves out
    invert: bool = False
    jpeg: int = 0

    def __post_init__(self) -> None:
        self.width *= self.between(0.8, 1.2)
        self.size = self.between(0.4, 0.7)
        self.place = self.between(0.35, 0.65), self.between(0.35, 0.65)
        self.paper, self.ink = self.between(0.8, 0.97), self.between(0.08, 0.35)

    def between(self, low: float, high: float) -> float:
        """A number between two."""
        return float(self.rng.uniform(low, high))


def noise(scene: Scene, half: Half) -> None:
    """A sensor's noise | salt and pepper, then a hard JPEG."""
    strength = scene.between(0.05, 0.1) if half == "improve" else scene.between(0.005, 0.03)

    def gaussian(picture: Field) -> Field:
        return picture + scene.rng.normal(0, strength, picture.shape)

    def salt_and_pepper(picture: Field) -> Field:
        dice = scene.rng.random(picture.shape)
        return np.where(dice < strength, 0.0, np.where(dice > 1 - strength, 1.0, picture))

    scene.effects.append(gaussian if half == "improve" else salt_and_pepper)
    scene.jpeg = 0 if half == "improve" else 25


def blur(scene: Scene, half: Half) -> None:
    """Out of focus | the camera moved."""
    strength, angle = scene.between(2, 6), scene.between(0, np.pi)

    def focus(picture: Field) -> Field:
        return np.asarray(ndimage.gaussian_filter(picture, strength))

    def motion(picture: Field) -> Field:
        reach = 2 * strength
        steps = [(t * np.sin(angle), t * np.cos(angle)) for t in np.linspace(-reach, reach, 15)]
        return np.asarray(np.mean([ndimage.shift(picture, step, order=1, mode="nearest") for step in steps], axis=0))

    scene.effects.append(focus if half == "improve" else motion)


def light(scene: Scene, half: Half) -> None:
    """Light from one side, darker corners | a cast shadow with a more or less soft edge."""
    angle, depth, soft = scene.between(0, 2 * np.pi), scene.between(0.35, 0.65), scene.between(2, 25)
    where = scene.between(-0.25, 0.25)

    def uneven(picture: Field) -> Field:
        y, x = (axis - 0.5 for axis in np.indices(picture.shape) / np.array(picture.shape)[:, None, None])
        along = x * np.cos(angle) + y * np.sin(angle)
        if half == "improve":
            lit = 1 - (1 - depth) * np.clip(along + 0.5, 0, 1) - 0.3 * (x * x + y * y)
        else:
            lit = np.where(along > where, depth, 1.0)
            lit = np.asarray(ndimage.gaussian_filter(lit, soft))
        return np.asarray(picture * lit)

    scene.effects.append(uneven)


def rotation(scene: Scene, half: Half) -> None:
    """Turned by up to 15° | the same, and seen in perspective."""
    scene.turn = scene.between(-15, 15)
    if half == "report":
        scene.tilt = scene.between(-0.3, 0.3), scene.between(-0.3, 0.3)


def lines(scene: Scene, half: Half) -> None:
    """Ruled paper | squared paper with a margin line, held less straight."""
    gap, thick, tone = scene.between(35, 90), scene.between(1, 3), scene.between(0.5, 0.8)
    slope = scene.between(-0.03, 0.03) if half == "improve" else scene.between(-0.06, 0.06)
    start, margin = scene.between(0, 90), scene.between(0.02, 0.15)

    def ruled(picture: Field) -> Field:
        y, x = np.indices(picture.shape).astype(np.float64)
        along, across = y + slope * x - start, x - slope * y - start
        distance = np.abs(along - gap * np.round(along / gap))
        if half == "report":
            distance = np.minimum(distance, np.abs(across - gap * np.round(across / gap)))
            distance = np.minimum(distance, np.abs(x - slope * y - margin * picture.shape[1]))
        return np.asarray(picture * (1 - (1 - tone) * np.clip(thick / 2 + 0.5 - distance, 0, 1)))

    scene.effects.append(ruled)


def thin(scene: Scene, half: Half) -> None:
    """A ballpoint | a pencil, whose grain leaves paper showing."""
    scene.width = scene.between(0.15, 0.35)
    if half == "report":
        scene.ink, scene.grain = scene.between(0.3, 0.5), 0.35


def thick(scene: Scene, half: Half) -> None:
    """A round marker | a flat nib."""
    scene.width = scene.between(1.5, 2.0)
    scene.nib = 1.0 if half == "improve" else scene.between(0.55, 0.7)


def inverted(scene: Scene, half: Half) -> None:
    """White on black | chalk on a smeared board."""
    scene.invert = True
    if half == "report":
        scene.paper, scene.ink, scene.grain = scene.between(0.65, 0.8), scene.between(0.1, 0.3), 0.25
        smears = ndimage.gaussian_filter(scene.rng.normal(0, 1, (600, 600)), 30)
        smears *= 0.04 / smears.std()
        scene.effects.append(lambda picture: picture + smears[: picture.shape[0], : picture.shape[1]])


def off_centre(scene: Scene, half: Half) -> None:
    """Small, anywhere | large, almost touching the border."""
    scene.place = scene.between(0, 1), scene.between(0, 1)
    scene.size = scene.between(0.2, 0.35)
    if half == "report":
        scene.size = scene.between(0.6, 0.9)
        scene.place = float(scene.rng.integers(0, 2)), scene.between(0, 1)


def pencil(scene: Scene, half: Half) -> None:
    """A light, thin pencil on ruled paper | on squared paper."""
    thin(scene, half)
    scene.ink = scene.between(0.3, 0.5)
    lines(scene, half)


def photo(scene: Scene, half: Half) -> None:
    """All of it, each a little: what a phone sees of a note in bad light."""
    scene.width = scene.between(0.35, 0.9)
    scene.turn = scene.between(-6, 6)
    for distortion in (lines, light, blur, noise):
        distortion(scene, half)


DISTORTIONS: dict[str, Callable[[Scene, Half], None]] = {
    "plain": lambda scene, half: None,
    "noise": noise,
    "blur": blur,
    "uneven light": light,
    "rotation": rotation,
    "lines": lines,
    "thin pen": thin,
    "thick pen": thick,
    "inversion": inverted,
    "off-centre": off_centre,
    "pencil on lines": pencil,
    "photo of a note": photo,
}


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
    distance = ndimage.map_coordinates(shape.distance, [y, x], order=1, mode="nearest")
    if scene.nib < 1:  # thinner in one direction: take the distance's mean with a moved pen's
        moved = ndimage.map_coordinates(shape.distance, [y + edge * 0.7, x + edge * 0.7], order=1, mode="nearest")
        distance = np.minimum(distance / scene.nib, moved / scene.nib)
    cover = np.clip((edge - distance) * scale + 0.5, 0, 1)
    if scene.grain:
        cover = cover * (1 - scene.grain * np.clip(ndimage.gaussian_filter(rng.normal(1, 1.6, cover.shape), 0.7), 0, 1))
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
    """A grey picture uint8 `[H, W]`, its digit, where that came from (`redrawn` or a font) and what was done to it."""

    grey: NDArray[np.uint8]
    label: int
    source: str
    distortion: str


def pictures(half: Half, digits: Digits | None, each: int, seed: int = 0) -> Iterator[Picture]:
    """Draw `each` pictures under every distortion: of MNIST's digits where they are given, else of the half's fonts."""
    for name, distortion in DISTORTIONS.items():
        for number in range(each):
            kind = f"{half} {digits is None} {name} {number}"
            rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
            scene = Scene(rng)
            distortion(scene, half)
            if digits is None:
                font = list(FONTS[half])[number % len(FONTS[half])]
                shape = glyph(half, font, number // len(FONTS[half]) % 10, scene.width >= 0.8)
            else:
                chosen = int(rng.integers(len(digits)))
                shape = redrawn(digits.images[chosen], int(digits.labels[chosen]))
            yield Picture(drawn(shape, scene), shape.label, shape.source, name)


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
