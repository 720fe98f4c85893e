"""`compare` and `timing`: plain arrays and plain callables."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_edge.bench.timing import BLOCK, LatencyStats, interleave
from mnist_edge.core.metrics import compare
from mnist_edge.formats.runner import pixel_table


def rows(*digits: tuple[int, float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Probabilities that give each digit its share and the rest to digit 0."""
    outputs = np.zeros((len(digits), 10), np.float32)
    for row, (digit, share) in zip(outputs, digits, strict=True):
        row[0] = 1 - share
        row[digit] = share
    return outputs


def test_flips_margins_drop_and_differences() -> None:
    reference = rows((1, 0.9), (2, 0.6), (3, 0.55), (4, 1.0))
    candidate = rows((1, 0.9), (2, 0.4), (3, 0.45), (4, 0.9))
    found = compare(reference, candidate, np.array([1, 2, 0, 4], np.uint8))
    assert found.flips == (1, 2)
    assert found.margins == pytest.approx((0.2, 0.1), abs=1e-6)
    assert found.reference_accuracy == 0.75
    assert found.accuracy == 0.75  # one lost, one won
    assert found.drop == 0
    assert found.largest_difference == pytest.approx(0.2, abs=1e-6)
    assert found.mean_difference == pytest.approx((0.4 + 0.2 + 0.2) / 40, abs=1e-6)


def test_not_a_number_is_never_a_small_difference() -> None:
    reference = rows((1, 0.9))
    assert compare(reference, np.full_like(reference, np.nan), np.array([1], np.uint8)).largest_difference == 1


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_float_inputs_take_shares_of_255(dtype: str) -> None:
    table = pixel_table(np.dtype(dtype))
    assert table.dtype == dtype
    assert np.array_equal(table, (np.arange(256, dtype=np.float32) / np.float32(255)).astype(dtype))


@given(st.floats(1e-3, 0.1), st.integers(-128, 127))
def test_quantized_pixels_dequantize_to_within_half_a_step(scale: float, zero_point: int) -> None:
    table = pixel_table(np.dtype(np.int8), scale, zero_point).astype(np.float64)
    real = np.arange(256) / 255
    inside = (table > -128) & (table < 127)
    assert (np.abs((table - zero_point) * scale - real)[inside] <= scale / 2 + 1e-6).all()
    assert (np.diff(table) >= 0).all()


def test_the_contracts_int8_ends_are_pixel_minus_128() -> None:
    assert np.array_equal(pixel_table(np.dtype(np.int8), 1 / 255, -128), np.arange(256) - 128)
    assert np.array_equal(pixel_table(np.dtype(np.uint8)), np.arange(256))


def test_percentiles_are_of_the_raw_samples_in_microseconds() -> None:
    stats = LatencyStats(np.arange(1, 1002, dtype=np.int64) * 1000)
    assert (stats.minimum, stats.p50, stats.p90, stats.p99, stats.runs) == (1, 501, 901, 991, 1001)


def test_calls_take_turns() -> None:
    order: list[str] = []
    stats = interleave({name: lambda name=name: order.append(name) for name in "ab"}, runs=BLOCK + 1, warmup=1)  # type: ignore[misc]
    turn = ["a"] * (BLOCK + 2) + ["b"] * (BLOCK + 2)
    assert order == ["a", "b", *turn, "a", "a", "a", "b", "b", "b"]
    assert {name: item.runs for name, item in stats.items()} == {"a": BLOCK + 1, "b": BLOCK + 1}
    assert all((item.samples_ns > 0).all() for item in stats.values())
