"""Accuracy against what a file costs, as matplotlib's axes: a file that no other beats in both is filled."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

COLORS = ("#3366aa", "#cc6622", "#448844", "#884488", "#666666")
POINTS_AN_INCH = 72
WIDE = 30  # a range of costs with room for fewer ticks
LINE = 9.5  # points from one label to the next


@dataclass(frozen=True)
class FilePoint:
    """A file with its kind (the color), its accuracy from 0 to 1, and its costs by name, such as `bytes`."""

    label: str
    kind: str
    accuracy: float
    costs: dict[str, float]


def draw(axis: Any, points: Sequence[FilePoint], cost: str) -> None:
    """Draw accuracy against one cost, on a log scale, and write each file's name to the right of its point."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    points = [point for point in points if cost in point.costs]
    kinds = sorted({point.kind for point in points})
    for point in points:
        color = COLORS[kinds.index(point.kind) % len(COLORS)]
        fill = "white" if any(_beats(other, point, cost) for other in points) else color
        axis.plot(point.costs[cost], 100 * point.accuracy, "o", color=color, markerfacecolor=fill, markersize=5)
    axis.set_xscale("log")
    axis.margins(x=0.05, y=0.12)
    axis.xaxis.set_major_formatter("{x:,.0f}")
    costs = [point.costs[cost] for point in points]
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(costs) < WIDE * min(costs) else (1, 3)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_locator(MaxNLocator(4))
    axis.yaxis.set_major_formatter("{x:.6g}")
    axis.set_xlabel(cost)
    axis.set_ylabel("right, %")
    _write_labels(axis, points, cost, kinds)


def _beats(other: FilePoint, point: FilePoint, cost: str) -> bool:
    """Return whether a file costs no more and is right no less often, and one of the two is better."""
    gains = point.costs[cost] - other.costs[cost], other.accuracy - point.accuracy
    return min(gains) >= 0 and max(gains) > 0


def _write_labels(axis: Any, points: Sequence[FilePoint], cost: str, kinds: Sequence[str]) -> None:
    """Write the names in a column beside the axes, at their points' heights as far as they do not overlap."""
    low, high = axis.get_ylim()
    height = axis.get_position().height * axis.figure.get_figheight() * POINTS_AN_INCH
    ranked = sorted(points, key=lambda point: (point.accuracy, -point.costs[cost]))
    places = spread([(100 * point.accuracy - low) / (high - low) for point in ranked], LINE / height)
    for point, place in zip(ranked, places, strict=True):
        color = COLORS[kinds.index(point.kind) % len(COLORS)]
        axis.annotate(
            point.label, (point.costs[cost], 100 * point.accuracy), (1.03, place), textcoords="axes fraction",
            color=color, fontsize=7, va="center",
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.4, "alpha": 0.6, "shrinkB": 3},
        )  # fmt: skip


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Return places, in rising order, moved as little as a gap between each two needs; as a whole near the middle."""
    moved = list(places)
    for _ in range(100):
        crowded = [(at, at + 1) for at, (one, other) in enumerate(pairwise(moved)) if other - one < gap * 0.999]
        for one, other in crowded:
            push = (gap - (moved[other] - moved[one])) / 2
            moved[one] -= push
            moved[other] += push
        if not crowded:
            break
    return moved
