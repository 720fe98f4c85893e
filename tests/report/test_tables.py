"""A narrow terminal gets fewer columns and whole cells, a pipe gets all of them."""

import io
import os

import pytest
from rich.console import Console
from support.commands import Run

from mnist_edge.report.tables import table

CELLS = ("cnn-int8.onnx", "PASS", "-0.01…+0.01", "2026", "a_word_of_some_length")


@pytest.mark.parametrize("width", range(26, 90))
def test_no_cell_is_broken_and_what_is_left_out_is_named(width: int) -> None:
    rows = table("file", "verdict", "95 % of drop", "runs", "note")
    rows.add_row(*CELLS)
    screen = Console(width=width, file=io.StringIO())
    screen.print(rows)
    lines = screen.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= width
    shown = lines[2].split()
    assert shown == list(CELLS[: len(shown)])
    assert lines[0].rstrip().endswith(("verdict", "95 % of drop", "runs", "note"))
    assert len(shown) >= 2
    assert ("Left out" in " ".join(lines)) == (len(shown) < len(CELLS))


def test_a_pipe_gets_every_column_in_whole_lines(run: Run) -> None:
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    shown = run("formats", env=env).stdout
    assert "no int16x8 in onnx: ONNX Runtime has no int16 × int8 kernels on the CPU\n" in shown
    assert "004_d1a29ff975793c0b" in run("models", env={**os.environ, "COLUMNS": "80"}).stdout
