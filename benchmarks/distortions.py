"""What people's pictures suffer from: twelve distortions of a sheet with a digit, each in three kinds.

The preprocessing was improved on the kinds 0 and 1 and is reported on kind 2, so that it is not held to what it was
made for; its lamp alone led to one more rule, when empty sheets under it had been guessed. A docstring names the three.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage
from shapes import Field


@dataclass
class Scene:
    """What a distortion may change before the picture is drawn, and what is done to the picture afterwards."""

    rng: np.random.Generator
    width: float = 1.0  # of the pen, as a share of the usual
    nib: float = 1.0  # how much narrower strokes are in one direction
    ragged: float = 0.0  # how far the edge of a stroke wanders, as a share of its width
    turn: float = 0.0  # degrees
    tilt: tuple[float, float] = (0.0, 0.0)  # perspective
    curl: float = 0.0  # how far the sheet's waves move a stroke, as a share of the digit
    size: float = 0.0  # of the digit, as a share of the sheet's shorter side
    place: tuple[float, float] = (0.5, 0.5)  # 0 at one border, 1 at the other
    paper: float = 0.0
    ink: float = 0.0
    effects: list[Callable[[Field], Field]] = field(default_factory=list)
    grain: float = 0.0  # share of the ink that the paper's grain leaves out
    streak: float = 0.0  # pixels by which that grain is drawn out along the paper
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


def noise(scene: Scene, kind: int) -> None:
    """A sensor's noise | salt and pepper, then a hard JPEG | the coarse grain of a film"""
    strength = scene.between(*((0.05, 0.1), (0.005, 0.03), (0.03, 0.06))[kind])

    def gaussian(picture: Field) -> Field:
        return picture + scene.rng.normal(0, strength, picture.shape)

    def salt_and_pepper(picture: Field) -> Field:
        dice = scene.rng.random(picture.shape)
        return np.where(dice < strength, 0.0, np.where(dice > 1 - strength, 1.0, picture))

    def film(picture: Field) -> Field:
        grain = ndimage.gaussian_filter(scene.rng.normal(0, 1, picture.shape), 1)
        return np.asarray(picture + grain * (strength / grain.std()))

    scene.effects.append((gaussian, salt_and_pepper, film)[kind])
    scene.jpeg = 25 if kind == 1 else 0


def blur(scene: Scene, kind: int) -> None:
    """Out of focus | the camera moved | few pixels, enlarged"""
    strength, angle = scene.between(2, 6), scene.between(0, np.pi)

    def focus(picture: Field) -> Field:
        return np.asarray(ndimage.gaussian_filter(picture, strength))

    def motion(picture: Field) -> Field:
        reach = 2 * strength
        steps = [(t * np.sin(angle), t * np.cos(angle)) for t in np.linspace(-reach, reach, 15)]
        return np.asarray(np.mean([ndimage.shift(picture, step, order=1, mode="nearest") for step in steps], axis=0))

    def enlarged(picture: Field) -> Field:
        by = round(strength) + 2
        few = ndimage.uniform_filter(picture, by)[by // 2 :: by, by // 2 :: by]
        y, x = (axis / by for axis in np.indices(picture.shape))
        return np.asarray(ndimage.map_coordinates(few, [y - 0.5, x - 0.5], order=1, mode="nearest"))

    scene.effects.append((focus, motion, enlarged)[kind])


def light(scene: Scene, kind: int) -> None:
    """Light from one side, darker corners | a cast shadow with a more or less soft edge | a lamp beside the digit"""
    angle, depth, soft = scene.between(0, 2 * np.pi), scene.between(0.35, 0.65), scene.between(2, 25)
    where = scene.between(-0.25, 0.25)

    def uneven(picture: Field) -> Field:
        y, x = (axis - 0.5 for axis in np.indices(picture.shape) / np.array(picture.shape)[:, None, None])
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        if kind == 0:
            lit = 1 - (1 - depth) * np.clip(along + 0.5, 0, 1) - 0.3 * (x * x + y * y)
        elif kind == 1:
            lit = np.where(along > where, depth, 1.0)
            lit = np.asarray(ndimage.gaussian_filter(lit, soft))
        else:
            lit = depth + (1 - depth) / (1 + 6 * ((along - where) ** 2 + (across - where) ** 2))
        return np.asarray(picture * lit)

    scene.effects.append(uneven)


def rotation(scene: Scene, kind: int) -> None:
    """Turned by up to 15° | turned, and seen in perspective | turned by up to 15°, on a sheet that is not flat"""
    scene.turn = scene.between(-15, 15)
    if kind == 1:
        scene.tilt = scene.between(-0.3, 0.3), scene.between(-0.3, 0.3)
    elif kind == 2:
        scene.curl = scene.between(-0.05, 0.05)


def lines(scene: Scene, kind: int) -> None:
    """Ruled paper | squared paper with a margin line, held less straight | a school's four lines, two of them close"""
    gap, thick, tone = scene.between(35, 90), scene.between(1, 3), scene.between(0.5, 0.8)
    slope = scene.between(-0.06, 0.06) if kind == 1 else scene.between(-0.03, 0.03)
    start, margin = scene.between(0, 90), scene.between(0.02, 0.15)

    def ruled(picture: Field) -> Field:
        y, x = np.indices(picture.shape).astype(np.float64)
        along, across = y + slope * x - start, x - slope * y - start
        distance = np.abs(along - gap * np.round(along / gap))
        if kind == 1:
            distance = np.minimum(distance, np.abs(across - gap * np.round(across / gap)))
            distance = np.minimum(distance, np.abs(x - slope * y - margin * picture.shape[1]))
        elif kind == 2:
            distance = np.minimum(distance, np.abs(along - gap / 3 - gap * np.round((along - gap / 3) / gap)))
        return np.asarray(picture * (1 - (1 - tone) * np.clip(thick / 2 + 0.5 - distance, 0, 1)))

    scene.effects.append(ruled)


def thin(scene: Scene, kind: int) -> None:
    """A ballpoint | a pencil, whose grain leaves paper showing | a pen that runs dry in streaks"""
    scene.width = scene.between(0.15, 0.35)
    if kind:
        scene.ink, scene.grain = scene.between(0.3, 0.5), 0.35
    if kind == 2:
        scene.streak = 6


def thick(scene: Scene, kind: int) -> None:
    """A round marker | a flat nib | a marker with a ragged edge"""
    scene.width = scene.between(1.5, 2.0)
    if kind == 1:
        scene.nib = scene.between(0.55, 0.7)
    elif kind == 2:
        scene.ragged = scene.between(0.15, 0.3)


def inverted(scene: Scene, kind: int) -> None:
    """White on black | chalk on a smeared board | a light pen on speckled dark paper"""
    scene.invert = True
    if kind == 0:
        return
    scene.paper, scene.ink = scene.between(0.65, 0.8), scene.between(0.1, 0.3)
    spread, strength = (30.0, 0.04) if kind == 1 else (1.5, 0.03)
    scene.grain = 0.25 if kind == 1 else 0.0
    smears = ndimage.gaussian_filter(scene.rng.normal(0, 1, (600, 600)), spread)
    smears *= strength / smears.std()
    scene.effects.append(lambda picture: picture + smears[: picture.shape[0], : picture.shape[1]])


def off_centre(scene: Scene, kind: int) -> None:
    """Small, anywhere | large, almost touching the border | in a corner"""
    scene.place = scene.between(0, 1), scene.between(0, 1)
    scene.size = scene.between(*((0.2, 0.35), (0.6, 0.9), (0.3, 0.6))[kind])
    corner = float(scene.rng.integers(0, 2)), float(scene.rng.integers(0, 2))
    if kind == 1:
        scene.place = corner[0], scene.place[1]
    elif kind == 2:
        scene.place = corner


def pencil(scene: Scene, kind: int) -> None:
    """A light pencil on ruled paper | a grainy one on squared paper | one that runs dry on a school's lines"""
    thin(scene, kind)
    scene.ink = scene.between(0.3, 0.5)
    lines(scene, kind)


def photo(scene: Scene, kind: int) -> None:
    """Lines, light, blur and noise of the first kinds at once | of the second kinds | of the third kinds"""
    scene.width = scene.between(0.35, 0.9)
    scene.turn = scene.between(-6, 6)
    for distortion in (lines, light, blur, noise):
        distortion(scene, kind)


def plain(scene: Scene, kind: int) -> None:
    """Nothing but paper, ink, size and place | nothing but those | nothing but those"""


DISTORTIONS: dict[str, Callable[[Scene, int], None]] = {
    "plain": plain,
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
