"""Pictures for the report, as strings that go into a page: digits as PNG, histograms as SVG."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.metrics import Outputs
from mnist_edge.core.optional import silenced
from mnist_edge.report.trade_offs import FilePoint, draw


def digit(image: NDArray[np.uint8]) -> str:
    """Return a digit, uint8 `[28, 28]`, as a `data:` address of a PNG; black on white."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(255 - image).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


STYLE = {"svg.hashsalt": "mnist-edge", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}
STATES = {"call": ("warm", "#3366aa"), "cold": ("cold", "#cc6622"), "idle": ("idle", "#448844")}


def _svg(figure: Any) -> str:
    """Return a figure as an SVG element."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    return drawn[drawn.index("<svg") :]


@contextmanager
def _figure(rows: int, columns: int, size: tuple[float, float], **options: Any) -> Iterator[tuple[Any, Any]]:
    """Yield a figure and its axes, as an array of two dimensions."""
    with silenced():  # the first time on a machine, matplotlib tells that it looks for fonts
        import matplotlib

        matplotlib.use("svg")
        from matplotlib import pyplot
    with matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, **options)
        for axis in axes.ravel():
            axis.spines[["top", "right"]].set_visible(False)
        yield figure, axes
        pyplot.close(figure)


def histograms(reference: Outputs, outputs: Mapping[str, Outputs]) -> str:
    """Return histograms of the largest difference in probability on each image, one a file, as an SVG element."""
    edges = np.linspace(-9, 0, 37)
    rows = -(-len(outputs) // 2)
    with _figure(rows, 2, (8, 1.5 * rows + 0.4), sharex=True) as (figure, axes):
        for axis in axes.ravel()[len(outputs) :]:
            axis.remove()
        for axis, (name, values) in zip(axes.ravel(), outputs.items(), strict=False):
            largest = np.nan_to_num(np.abs(values - reference).max(axis=1), nan=1.0)
            axis.hist(np.log10(np.clip(largest, 1e-9, 1)), bins=edges, color="#3366aa")
            axis.set_title(name, loc="left", fontsize=9)
            axis.set_yscale("symlog")
            axis.set_xlim(-9, 0)
            axis.set_xticks([-9, -6, -3, 0], ["≤ 1e-9", "1e-6", "0.001", "1"])
            axis.tick_params(labelbottom=True)
        figure.tight_layout()
        return _svg(figure)


def latencies(percentiles: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Return how long a whole call takes, as an SVG element: of each file a bar for each state of the machine.

    Args:
        percentiles: by file and by `call`, `cold` or `idle`: the 0th to 100th percentile in µs. The thin line is from
            the 1st to the 99th, the thick one from the 10th to the 90th, and the tick is the median.
    """
    with _figure(1, 1, (8, 0.6 * len(percentiles) + 0.8)) as (figure, axes):
        axis = axes[0, 0]
        for row, states in enumerate(percentiles.values()):
            for at, (state, (label, color)) in enumerate(STATES.items()):
                if values := states.get(state):
                    place = row + 0.25 * (at - 1)
                    axis.plot([values[1], values[99]], [place] * 2, color=color, linewidth=1)
                    axis.plot([values[10], values[90]], [place] * 2, color=color, linewidth=5, solid_capstyle="butt")
                    axis.plot(values[50], place, "|", color="black", markersize=7)
                    axis.annotate(
                        f"{label} {values[50]:.0f}", (values[99], place), (4, 0), textcoords="offset points",
                        color=color, fontsize=7, va="center",
                    )  # fmt: skip
        axis.set_yticks(range(len(percentiles)), percentiles)
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:,.0f}")
        axis.set_xlabel("µs a call")
        axis.margins(x=0.12)
        figure.tight_layout()
        return _svg(figure)


def accuracy_against_costs(points: Sequence[FilePoint]) -> str:
    """Return accuracy against size and against latency, one below the other, as an SVG element."""
    costs = list(dict.fromkeys(cost for point in points for cost in point.costs))
    height = 1.2 + 0.14 * len(points)
    with _figure(len(costs), 1, (8, height * len(costs))) as (figure, axes):
        figure.subplots_adjust(left=0.09, right=0.72, top=1 - 0.1 / len(costs), bottom=0.3 / len(costs), hspace=0.6)
        for axis, cost in zip(axes.ravel(), costs, strict=True):
            draw(axis, points, cost)
        return _svg(figure)
