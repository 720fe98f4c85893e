"""Time callables side by side. Raw samples are kept and every figure is derived from them."""

import math
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Self

import numpy as np
from numpy.typing import NDArray

BLOCK = 25
TURN_NS = 20_000_000
STABLE, MOST_WARMUP = 0.02, 1.0  # a share of the median, seconds
MOST_SAMPLES = 2**16  # of a call that is timed for minutes: half a megabyte, 655 of them over the 99th percentile


@dataclass(frozen=True)
class LatencyStats:
    """Raw samples in nanoseconds, int64 `[N]`, of one process or several; properties are in microseconds.

    Of a long run an even share is kept; `total_ns` is then the sum over all calls. Each process's samples begin at one
    of `starts`.
    """

    samples_ns: NDArray[np.int64]
    total_ns: int | None = None
    starts: tuple[int, ...] = (0,)

    @classmethod
    def joined(cls, parts: Sequence[NDArray[np.int64]], total_ns: int | None = None) -> Self:
        """Return the samples of several processes together."""
        starts = np.cumsum([0, *map(len, parts[:-1])]).tolist()
        return cls(np.concatenate(parts), total_ns=total_ns, starts=tuple(starts))

    @property
    def processes(self) -> list[NDArray[np.int64]]:
        """Return the samples of each process in nanoseconds."""
        return np.split(self.samples_ns, self.starts[1:])

    def percentile(self, q: float) -> float:
        """Return a percentile in microseconds."""
        return float(np.percentile(self.samples_ns, q)) / 1000

    @property
    def percentiles(self) -> list[float]:
        """Return the 0th to the 100th percentile in µs."""
        return [float(value) / 1000 for value in np.percentile(self.samples_ns, range(101))]

    @property
    def p50(self) -> float:
        """Return the median in µs."""
        return self.percentile(50)

    @property
    def p90(self) -> float:
        """Return the 90th percentile in µs."""
        return self.percentile(90)

    @property
    def p99(self) -> float:
        """Return the 99th percentile in µs."""
        return self.percentile(99)

    @property
    def p999(self) -> float:
        """Return the 99.9th percentile in µs."""
        return self.percentile(99.9)

    @property
    def minimum(self) -> float:
        """Return the fastest sample in µs."""
        return float(self.samples_ns.min()) / 1000

    @property
    def mad(self) -> float:
        """Return the median absolute deviation from the median in µs."""
        return float(np.median(np.abs(self.samples_ns - np.median(self.samples_ns)))) / 1000

    @property
    def seconds(self) -> float:
        """Return the time of all timed calls together, in seconds."""
        return (int(self.samples_ns.sum()) if self.total_ns is None else self.total_ns) / 1e9

    @property
    def runs(self) -> int:
        """Return the number of kept samples."""
        return len(self.samples_ns)


def warm(calls: Mapping[str, Callable[[], object]], times: int) -> None:
    """Make each call `times` times, untimed."""
    for call in calls.values():
        for _ in range(times):
            call()


def warm_until_stable(calls: Mapping[str, Callable[[], object]], times: int) -> None:
    """Make each call, untimed, until the medians of two blocks of `times` calls differ by 2 % at most, or for 1 s."""
    for call in calls.values():
        last, end = math.inf, time.perf_counter() + MOST_WARMUP
        while times and time.perf_counter() < end:
            now = float(np.median(_timed(call, times, 0)))
            if abs(now - last) <= STABLE * last:
                break
            last = now


def interleave(
    calls: Mapping[str, Callable[[], object]],
    runs: int,
    warmup: int,
    seconds: float | None = None,
    before: Callable[[], object] | None = None,
    seed: int = 0,
) -> dict[str, LatencyStats]:
    """Time calls in turns, in another order each round, so that a slow moment of the machine hits all of them.

    Each turn begins with two untimed calls: the caches are then those of a program that does nothing else. A turn is 25
    timed calls, short enough to share the machine's moods. With `seconds` it lasts 20 ms instead: fast and
    slow calls then need equally many turns, and all go on until the last one has enough. With `before` a turn is one
    timed call, right after an untimed one of `before`.

    Args:
        calls: what to time, by name.
        runs: timed calls of each; with `seconds` at least as many.
        warmup: untimed calls of each before the first turn.
        seconds: keep on until the timed calls of each add up to this.
        before: what puts the machine into another state before each timed call: sweeps its caches, or sleeps.
        seed: of the order.
    """
    warm(calls, warmup)
    samples = {name: _Samples() for name in calls}
    names, shuffle = list(calls), Random(seed).shuffle
    while any(item.count < runs or item.total_ns < (seconds or 0) * 1e9 for item in samples.values()):
        shuffle(names)
        for name in names:
            out = samples[name]
            if before is not None:
                before()
                out.add(_timed(calls[name], 1, 0))
            else:
                calls[name]()
                calls[name]()
                out.add(_timed(calls[name], *((min(BLOCK, runs - out.count), 0) if seconds is None else (1, TURN_NS))))
            out.thin()
    return {name: LatencyStats(np.array(item.samples, np.int64), item.total_ns) for name, item in samples.items()}


def _timed(call: Callable[[], object], least: int, least_ns: int) -> list[int]:
    """Return the nanoseconds of each call, made at least `least` times and for at least `least_ns`."""
    clock = time.perf_counter_ns
    times: list[int] = []
    end = clock() + least_ns
    while True:
        start = clock()
        call()
        stop = clock()
        times.append(stop - start)
        if len(times) >= least and stop >= end:
            return times


class _Samples:
    """The samples of one call, every one of them until `thin` has to halve them."""

    def __init__(self) -> None:
        self.samples = array("q")
        self.every, self.count, self.total_ns = 1, 0, 0

    def add(self, times: list[int]) -> None:
        self.samples.extend(times[-self.count % self.every :: self.every])
        self.count += len(times)
        self.total_ns += sum(times)

    def thin(self) -> None:
        while len(self.samples) > MOST_SAMPLES:
            self.samples, self.every = self.samples[::2], 2 * self.every
