"""Accuracy against size and latency: which file is filled, and names that do not lie on each other."""

from itertools import pairwise
from pathlib import Path

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_edge.report.trade_offs import FilePoint, draw, spread

matplotlib.use("agg")
from matplotlib import pyplot


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_names_keep_their_order_and_their_distance(places: list[float]) -> None:
    moved = spread(sorted(places), 0.05)
    assert all(other - one > 0.04 for one, other in pairwise(moved))
    assert sum(moved) == pytest.approx(sum(places), abs=1e-6)


def test_only_a_file_that_no_other_beats_is_filled(tmp_path: Path) -> None:
    points = [
        FilePoint("small.onnx", "onnx", 0.98, {"bytes": 100.0}),
        FilePoint("worse.onnx", "onnx", 0.97, {"bytes": 100.0}),
        FilePoint("large.tflite", "tflite", 0.99, {"bytes": 900.0}),
        FilePoint("larger.tflite", "tflite", 0.99, {"bytes": 901.0}),
        FilePoint("not-timed.tflite", "tflite", 1.0, {"µs": 9.0}),
    ]
    figure, axis = pyplot.subplots()
    draw(axis, points, "bytes")
    assert [line.get_markerfacecolor() != "white" for line in axis.lines] == [True, False, True, False]
    assert {text.get_text() for text in axis.texts} == {point.label for point in points[:4]}
    figure.savefig(tmp_path / "drawn.png")
    pyplot.close(figure)
