"""Pictures for the report, as strings that go into a page: digits as PNG, histograms as SVG."""

import base64
import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.metrics import Outputs
from mnist_edge.core.optional import silenced


def digit(image: NDArray[np.uint8]) -> str:
    """Return a digit, uint8 `[28, 28]`, as a `data:` address of a PNG; black on white."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(255 - image).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def histograms(reference: Outputs, outputs: Mapping[str, Outputs]) -> str:
    """Return histograms of the largest difference in probability on each image, one a file, as an SVG element."""
    with silenced():  # the first time on a machine, matplotlib tells that it looks for fonts
        import matplotlib

        matplotlib.use("svg")
        from matplotlib import pyplot

    edges = np.linspace(-9, 0, 37)
    rows = -(-len(outputs) // 2)
    style = {"svg.hashsalt": "mnist-edge", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}
    with matplotlib.rc_context(style):
        figure, axes = pyplot.subplots(rows, 2, figsize=(8, 1.5 * rows + 0.4), sharex=True, squeeze=False)
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
            axis.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        pyplot.close(figure)
    drawn = buffer.getvalue()
    return drawn[drawn.index("<svg") :]
