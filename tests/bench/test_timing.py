"""The timer of `bench`: calls take turns, for a minimum time, and long runs keep an even share of their samples."""

import time
from itertools import groupby

import pytest

from mnist_edge.bench import timing
from mnist_edge.bench.timing import interleave


def test_a_duration_is_kept_by_every_call_in_turns() -> None:
    order: list[str] = []
    spent = dict.fromkeys(("slow", "fast"), 0)

    def call(name: str, work: int) -> None:
        start = time.perf_counter_ns()
        order.append(name)
        sum(range(work))
        spent[name] += time.perf_counter_ns() - start

    stats = interleave({"slow": lambda: call("slow", 30_000), "fast": lambda: call("fast", 1_000)}, 50, 0, seconds=0.1)
    for name, item in stats.items():
        assert item.runs >= 50
        assert item.seconds >= 0.1
        assert spent[name] > 0.1e9 / 2  # of what a sample takes, some is the clock and the call
    turns = [(name, len(list(made))) for name, made in groupby(order)]
    assert len(turns) >= 4
    assert all(
        max(made for name, made in turns if name == each) > 5 for each in spent
    )  # a turn has its time, not a count


def test_a_duration_times_no_fewer_calls_than_runs() -> None:
    (stats,) = interleave({"a": lambda: None}, runs=30_000, warmup=0, seconds=1e-9).values()
    assert stats.runs >= 30_000


def test_long_runs_keep_an_even_share_of_their_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MOST_SAMPLES", 10)
    samples = timing._Samples()
    for start in range(0, 49, 7):
        samples.add(list(range(start, start + 7)))
        samples.thin()
    assert samples.samples.tolist() == list(range(0, 49, 8))
    assert (samples.every, samples.count, samples.total_ns) == (8, 49, sum(range(49)))
