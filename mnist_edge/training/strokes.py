"""Draws digits in hands that MNIST lacks, and marks that are no digit, as images in MNIST's form.

MNIST was written by people in the USA: a 1 is a bar, and the top of a 4 is open. Elsewhere a 1 has a flag and often a
foot, a 7 a crossbar, and a 4 is closed. A network that has seen none of these reads them as another digit, and one that
has seen digits alone is sure of everything. Strokes are curves through points in a box, 0 to 1 to the right and down.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Points = Sequence[tuple[float, float]]
Stroke = tuple[str, Points]  # "line" joins its points straight, "curve" smoothly
SIDE, BOX = 28, 20
CENTRE = (SIDE - 1) / 2
PEN = 1.2, 3.2  # pixels of the pen's width
STEPS = 8  # samples of a curve between two points

_RING = (
    (0.5, 0.0),
    (0.15, 0.15),
    (0.0, 0.5),
    (0.15, 0.85),
    (0.5, 1.0),
    (0.85, 0.85),
    (1.0, 0.5),
    (0.85, 0.15),
    (0.5, 0.0),
)
_SEVEN: Stroke = ("line", ((0.0, 0.05), (0.75, 0.0), (0.3, 1.0)))


def _ring(left: float, top: float, right: float, bottom: float) -> Stroke:
    return "curve", tuple((left + x * (right - left), top + y * (bottom - top)) for x, y in _RING)


DIGITS: tuple[tuple[int, tuple[Stroke, ...]], ...] = (
    (1, (("line", ((0.0, 0.35), (0.4, 0.0), (0.4, 1.0))),)),
    (1, (("line", ((0.0, 0.5), (0.45, 0.0), (0.4, 1.0))),)),
    (1, (("line", ((0.1, 0.25), (0.35, 0.0), (0.35, 1.0))), ("line", ((0.0, 1.0), (0.7, 1.0))))),
    (1, (("line", ((0.0, 0.4), (0.4, 0.0), (0.4, 1.0))), ("line", ((0.1, 1.0), (0.7, 1.0))))),
    (7, (_SEVEN, ("line", ((0.2, 0.5), (0.75, 0.45))))),
    (7, (("line", ((0.0, 0.2), (0.03, 0.0), (0.7, 0.0), (0.25, 1.0))),)),
    (
        7,
        (
            ("curve", ((0.0, 0.05), (0.4, 0.06), (0.7, 0.0), (0.45, 0.45), (0.3, 1.0))),
            ("line", ((0.2, 0.5), (0.7, 0.45))),
        ),
    ),
    (4, (("line", ((0.5, 0.0), (0.0, 0.65), (0.75, 0.65))), ("line", ((0.5, 0.0), (0.5, 1.0))))),
    (4, (("line", ((0.55, 1.0), (0.55, 0.0), (0.0, 0.7), (0.8, 0.7))),)),
    (4, (("line", ((0.2, 0.0), (0.0, 0.55), (0.7, 0.55))), ("line", ((0.5, 0.25), (0.5, 1.0))))),
    (6, (("curve", ((0.55, 0.0), (0.15, 0.4), (0.0, 0.75), (0.25, 1.0), (0.55, 0.8), (0.4, 0.55), (0.08, 0.7))),)),
    (6, (("curve", ((0.3, 0.0), (0.08, 0.45), (0.05, 0.8), (0.3, 1.0), (0.6, 0.8), (0.45, 0.55), (0.1, 0.65))),)),
    (6, (("curve", ((0.1, 0.0), (0.0, 0.5), (0.05, 0.9), (0.4, 1.0), (0.6, 0.75), (0.4, 0.5), (0.03, 0.65))),)),
    (
        9,
        (
            ("curve", ((0.6, 0.2), (0.3, 0.0), (0.0, 0.25), (0.3, 0.5), (0.6, 0.25))),
            ("line", ((0.6, 0.1), (0.55, 1.0))),
        ),
    ),
    (
        9,
        (
            (
                "curve",
                ((0.6, 0.2), (0.3, 0.0), (0.0, 0.25), (0.3, 0.5), (0.6, 0.2), (0.6, 0.7), (0.4, 0.95), (0.05, 0.9)),
            ),
        ),
    ),
    (8, (_ring(0.08, 0.0, 0.52, 0.45), _ring(0.0, 0.45, 0.6, 1.0))),
    (
        8,
        (
            (
                "curve",
                (
                    (0.55, 0.1),
                    (0.25, 0.0),
                    (0.05, 0.2),
                    (0.3, 0.45),
                    (0.6, 0.75),
                    (0.3, 1.0),
                    (0.0, 0.75),
                    (0.3, 0.5),
                    (0.55, 0.25),
                    (0.5, 0.08),
                ),
            ),
        ),
    ),
    (0, (_ring(0.0, 0.0, 0.65, 1.0),)),
    (
        2,
        (
            ("curve", ((0.0, 0.25), (0.3, 0.0), (0.6, 0.25), (0.35, 0.6), (0.0, 1.0))),
            ("line", ((0.0, 1.0), (0.7, 1.0))),
        ),
    ),
    (
        3,
        (
            ("line", ((0.0, 0.0), (0.6, 0.0), (0.25, 0.4))),
            ("curve", ((0.25, 0.4), (0.6, 0.65), (0.4, 0.98), (0.0, 0.9))),
        ),
    ),
    (
        3,
        (
            ("curve", ((0.0, 0.1), (0.35, 0.0), (0.55, 0.2), (0.2, 0.45))),
            ("curve", ((0.2, 0.45), (0.6, 0.7), (0.35, 1.0), (0.0, 0.85))),
        ),
    ),
    (
        5,
        (
            ("line", ((0.6, 0.0), (0.1, 0.0), (0.05, 0.45))),
            ("curve", ((0.05, 0.45), (0.45, 0.4), (0.6, 0.7), (0.35, 1.0), (0.0, 0.9))),
        ),
    ),
    (
        5,
        (
            ("line", ((0.1, 0.0), (0.1, 0.45))),
            ("curve", ((0.1, 0.45), (0.5, 0.45), (0.55, 0.85), (0.0, 0.95))),
            ("line", ((0.1, 0.02), (0.6, 0.0))),
        ),
    ),
)
"""A digit, and the strokes of one way to write it."""

MARKS: tuple[tuple[Stroke, ...], ...] = (
    (("line", ((0.0, 1.0), (0.4, 0.0), (0.8, 1.0))), ("line", ((0.18, 0.6), (0.62, 0.6)))),  # A
    (("line", ((0.6, 0.0), (0.0, 0.0), (0.0, 1.0), (0.6, 1.0))), ("line", ((0.0, 0.5), (0.5, 0.5)))),  # E
    (("line", ((0.6, 0.0), (0.0, 0.0), (0.0, 1.0))), ("line", ((0.0, 0.5), (0.5, 0.5)))),  # F
    (("line", ((0.0, 0.0), (0.0, 1.0))), ("line", ((0.7, 0.0), (0.7, 1.0))), ("line", ((0.0, 0.5), (0.7, 0.5)))),  # H
    (("line", ((0.0, 0.0), (0.0, 1.0))), ("line", ((0.7, 0.0), (0.0, 0.5), (0.7, 1.0)))),  # K
    (("line", ((0.0, 1.0), (0.0, 0.0), (0.5, 0.6), (1.0, 0.0), (1.0, 1.0))),),  # M
    (("line", ((0.0, 1.0), (0.0, 0.0), (0.7, 1.0), (0.7, 0.0))),),  # N
    (
        ("line", ((0.0, 1.0), (0.0, 0.0))),
        ("curve", ((0.0, 0.0), (0.6, 0.1), (0.5, 0.45), (0.0, 0.5))),
        ("line", ((0.2, 0.5), (0.65, 1.0))),
    ),  # R
    (("line", ((0.0, 0.0), (0.8, 0.0))), ("line", ((0.4, 0.0), (0.4, 1.0)))),  # T
    (("line", ((0.0, 0.0), (0.7, 1.0))), ("line", ((0.7, 0.0), (0.0, 1.0)))),  # X
    (("line", ((0.0, 0.0), (0.25, 1.0), (0.5, 0.3), (0.75, 1.0), (1.0, 0.0))),),  # W
    (("line", ((0.0, 0.0), (0.4, 0.5), (0.4, 1.0))), ("line", ((0.8, 0.0), (0.4, 0.5)))),  # Y
    (("line", ((0.5, 0.0), (0.5, 1.0))), ("line", ((0.0, 0.5), (1.0, 0.5)))),  # plus
    (("line", ((0.0, 0.3), (0.8, 0.3))), ("line", ((0.0, 0.7), (0.8, 0.7)))),  # equals
    (
        ("line", ((0.5, 0.0), (0.5, 1.0))),
        ("line", ((0.1, 0.2), (0.9, 0.8))),
        ("line", ((0.9, 0.2), (0.1, 0.8))),
    ),  # star
    (
        ("line", ((0.3, 0.0), (0.3, 1.0))),
        ("line", ((0.7, 0.0), (0.7, 1.0))),
        ("line", ((0.0, 0.3), (1.0, 0.3))),
        ("line", ((0.0, 0.7), (1.0, 0.7))),
    ),  # hash
    (("line", ((0.5, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.0))),),  # triangle
    (
        ("line", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0))),
        ("line", ((0.0, 0.5), (1.0, 0.5))),
    ),  # table
    (("line", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (0.0, 0.0))),),  # square
    (
        _ring(0.0, 0.0, 1.0, 1.0),
        ("curve", ((0.25, 0.65), (0.5, 0.8), (0.75, 0.65))),
        ("line", ((0.35, 0.3), (0.35, 0.4))),
        ("line", ((0.65, 0.3), (0.65, 0.4))),
    ),  # face
    (("line", ((0.0, 0.5), (1.0, 0.5))), ("line", ((0.65, 0.2), (1.0, 0.5), (0.65, 0.8)))),  # arrow
    (("curve", ((0.5, 1.0), (0.0, 0.4), (0.2, 0.0), (0.5, 0.25), (0.8, 0.0), (1.0, 0.4), (0.5, 1.0))),),  # heart
    (("line", ((0.0, 0.6), (0.35, 1.0), (1.0, 0.0))),),  # tick
    (
        ("curve", ((0.0, 0.4), (0.3, 0.0), (0.55, 0.25), (0.3, 0.5), (0.3, 0.7))),
        ("line", ((0.3, 0.9), (0.3, 1.0))),
    ),  # question mark
    (
        ("line", ((0.0, 0.0), (0.0, 1.0))),
        ("line", ((0.35, 0.3), (0.35, 1.0))),
        ("line", ((0.7, 0.15), (0.7, 1.0))),
        ("line", ((1.0, 0.5), (1.0, 1.0))),
    ),  # bars
    (_ring(0.0, 0.0, 0.55, 1.0), _ring(0.6, 0.0, 1.15, 1.0)),  # two zeros
)
"""The strokes of letters and signs that look like no digit."""


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
    """Return marks that are no digit, uint8 `[count, 28, 28]`: letters and signs, scribbles, filled shapes, spots."""
    rng = np.random.default_rng(seed)

    def mark() -> NDArray[np.uint8]:
        kind = rng.choice(4, p=(0.55, 0.15, 0.15, 0.15))
        if kind == 0:
            return _draw(_varied(MARKS[rng.integers(len(MARKS))], rng), rng.uniform(*PEN), rng)
        if kind == 1:
            return _draw(_scribble(rng), rng.uniform(*PEN), rng)
        return _draw(_scribble(rng), rng.uniform(5, 14), rng) if kind == 2 else _texture(rng)

    return np.stack([mark() for _ in range(count)])


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
