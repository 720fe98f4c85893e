"""Draws digits in hands that MNIST lacks, and marks that are no digit, as images in MNIST's form.

A network that has seen no such hand reads it as another digit; one that has seen digits alone is sure of everything.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mnist_edge.training.shapes import DIGITS, MARKS, Stroke

SIDE, BOX = 28, 20
CENTRE = (SIDE - 1) / 2
PEN, THIN, THICK = (1.2, 3.2), (1.0, 2.4), (5, 14)  # pixels of the pen's width
STEPS = 8  # samples of a curve between two points


def drawn_digits(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return digits in hands that MNIST lacks, and their labels.

    Args:
        count: images, spread evenly over `DIGITS`.
        seed: of their variation.

    Returns:
        uint8 `[count, 28, 28]`, 0 black to 255 white, and uint8 `[count]`.
    """
    rng = np.random.default_rng(seed)
    chosen = [DIGITS[index % len(DIGITS)] for index in range(count)]
    images = [_draw(_varied(strokes, rng), rng.uniform(*PEN), rng) for _, strokes in chosen]
    return np.stack(images), np.array([digit for digit, _ in chosen], np.uint8)


def drawn_marks(count: int, seed: int) -> NDArray[np.uint8]:
    """Return marks that are no digit, uint8 `[count, 28, 28]`.

    They are signs, scribbles, thick scribbles, spots, filled shapes, shaded things and digits in a row.
    """
    rng = np.random.default_rng(seed)
    chances, kinds = zip(*KINDS, strict=True)
    return np.stack([kinds[rng.choice(len(kinds), p=chances)](rng) for _ in range(count)])


def _varied(strokes: tuple[Stroke, ...], rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Return strokes as a hand draws them: their points moved, with the corners of a curve rounded."""
    paths = []
    for kind, points in strokes:
        moved = np.array(points) + rng.normal(0, 0.035, (len(points), 2))
        if points[0] == points[-1]:
            moved[-1] = moved[0]
        paths.append(_smooth(moved) if kind == "curve" else moved)
    return paths


def _smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return samples of the Catmull-Rom spline through points `[N, 2]`."""
    closed = np.array_equal(points[0], points[-1])
    before, after = (points[-2], points[1]) if closed else (2 * points[0] - points[1], 2 * points[-1] - points[-2])
    padded = np.vstack([before, points, after])
    t = np.linspace(0, 1, STEPS, endpoint=False)[:, None]
    p0, p1, p2, p3 = (padded[start : len(padded) - 3 + start, None] for start in range(4))
    curve = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    return np.vstack([curve.reshape(-1, 2), points[-1:]])


def _draw(paths: list[NDArray[np.float64]], width: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return strokes drawn with a round pen in a box of 20 pixels, centred by mass, as MNIST's digits are."""
    aspect, slant = np.exp(rng.normal(0, 0.15)), rng.normal(0.1, 0.15)
    paths = [np.stack([path[:, 0] * aspect - slant * path[:, 1], path[:, 1]], 1) for path in paths]
    points = np.vstack(paths)
    scale = (BOX - width) / max(np.ptp(points, axis=0).max(), 1e-6)
    segments = np.vstack([np.hstack([path[:-1], path[1:]]) for path in paths]) - np.tile(
        np.ptp(points, axis=0) / 2 + points.min(0), 2
    )
    image = _covered(segments * scale, (0, 0), width / 2)
    y, x = np.indices(image.shape) - CENTRE
    mass = max(image.sum(), 1e-6)
    image = _covered(segments * scale, ((image * x).sum() / mass, (image * y).sum() / mass), width / 2)
    return np.asarray(np.round(image * 255), np.uint8)


def _covered(segments: NDArray[np.float64], centre: tuple[float, float], radius: float) -> NDArray[np.float64]:
    """Return how far each pixel is covered by a round pen along segments `[N, 4]`, 0 to 1, `[28, 28]`.

    A segment is x, y, x, y in pixels from the middle of the image; `centre` is the point that comes to the middle.
    """
    y, x = (np.indices((SIDE, SIDE)) - CENTRE).reshape(2, -1, 1)
    x0, y0, x1, y1 = segments.T - np.tile(centre, 2)[:, None]
    dx, dy = x1 - x0, y1 - y0
    along = np.clip(((x - x0) * dx + (y - y0) * dy) / np.maximum(dx * dx + dy * dy, 1e-9), 0, 1)
    away = np.hypot(x - x0 - along * dx, y - y0 - along * dy).min(1)
    return np.asarray(np.clip(radius + 0.5 - away, 0, 1).reshape(SIDE, SIDE))


def _scribble(rng: np.random.Generator) -> list[NDArray[np.float64]]:
    points = rng.uniform(0, 1, (rng.integers(4, 9), 2))
    return [_smooth(points) if rng.random() < 0.5 else points]


def _texture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return spots and areas without a shape: smooth noise over a threshold."""
    size = rng.integers(3, 15)
    noise = np.kron(rng.normal(size=(size, size)), np.ones((SIDE // size + 1,) * 2))[:SIDE, :SIDE]
    image = np.clip((noise - np.quantile(noise, rng.uniform(0.3, 0.85))) * 3, 0, 1)
    image[:4] = image[-4:] = image[:, :4] = image[:, -4:] = 0
    return np.asarray(np.round(image * 255), np.uint8)


def _filled(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a bar or an oval, thicker than the stroke of a 1."""
    size = np.array((rng.uniform(3.2, 10), 10))[:: rng.choice((1, -1))]
    x, y = _turned(0) / size[:, None, None]
    away = np.maximum(abs(x), abs(y)) if rng.random() < 0.7 else np.hypot(x, y)
    return np.asarray(np.round(255 * np.clip((1 - away) * size.min() + 0.5, 0, 1)), np.uint8)


def _shaded(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return what a photo shows of a thing: a few ovals that overlap, lit unevenly."""
    image = np.zeros((SIDE, SIDE))
    for _ in range(rng.integers(2, 6)):
        x, y = _turned(rng.uniform(0, np.pi)) - rng.uniform(-5, 5, (2, 1, 1))
        image = np.maximum(image, np.clip(2 - 2 * np.hypot(x / rng.uniform(2, 7), y / rng.uniform(3, 10)), 0, 1))
    light = np.kron(rng.uniform(0.3, 1, (7, 7)), np.ones((4, 4)))
    return np.asarray(np.round(255 * np.minimum(image * 3, 1) * light), np.uint8)


def _turned(angle: float) -> NDArray[np.float64]:
    """Return x and y of each pixel from the middle, turned by radians, `[2, 28, 28]`."""
    y, x = np.indices((SIDE, SIDE)) - CENTRE
    return np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)])


def _row(rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Return the strokes of two or three digits side by side, sometimes with a line between."""
    paths: list[NDArray[np.float64]] = []
    for place in range(rng.integers(2, 4)):
        height, lift = rng.uniform(0.7, 1), rng.uniform(0, 0.3)
        digit = _varied(DIGITS[rng.integers(len(DIGITS))][1], rng)
        paths += [path * height + (place * rng.uniform(0.8, 1.2), lift) for path in digit]
    if rng.random() < 0.3:
        paths.append(np.array([(0.8, -0.2), (0.8, 1.2)]))
    return paths


KINDS: tuple[tuple[float, Callable[[np.random.Generator], NDArray[np.uint8]]], ...] = (
    (0.4, lambda rng: _draw(_varied(MARKS[rng.integers(len(MARKS))], rng), rng.uniform(*PEN), rng)),
    (0.12, lambda rng: _draw(_scribble(rng), rng.uniform(*PEN), rng)),
    (0.1, lambda rng: _draw(_scribble(rng), rng.uniform(*THICK), rng)),
    (0.1, _texture),
    (0.1, _filled),
    (0.06, _shaded),
    (0.12, lambda rng: _draw(_row(rng), rng.uniform(*THIN), rng)),
)
"""The kinds of marks: how many of them there are, as a share, and what draws one."""
