"""Time callables side by side. Raw samples are kept and every figure is derived from them."""

import time
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 25
TURN_NS = 20_000_000
MOST_SAMPLES = 2**16  # of a call that is timed for minutes: half a megabyte, 655 of them over the 99th percentile


@dataclass(frozen=True)
class LatencyStats:
    """Raw samples in nanoseconds, int64 `[N]`; all properties but `seconds` are in microseconds.

    Of a long run one sample in `every` is kept; `total_ns` is then the sum over all calls.
    """

    samples_ns: NDArray[np.int64]
    every: int = 1
    total_ns: int | None = None

    def percentile(self, q: float) -> float:
        """Return a percentile in microseconds."""
        return float(np.percentile(self.samples_ns, q)) / 1000

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
    def minimum(self) -> float:
        """Return the fastest sample in µs."""
        return float(self.samples_ns.min()) / 1000

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


def interleave(
    calls: Mapping[str, Callable[[], object]], runs: int, warmup: int, seconds: float | None = None
) -> dict[str, LatencyStats]:
    """Time calls in turns, so that a slow moment of the machine hits all of them.

    Each turn begins with two untimed calls: the caches are then those of a program that does nothing else. A turn is 25
    timed calls, short enough to share the machine's moods. With `seconds` it lasts 20 ms instead: fast and
    slow calls then need equally many turns, and all go on until the last one has enough.

    Args:
        calls: what to time, by name.
        runs: timed calls of each; with `seconds` at least as many.
        warmup: untimed calls of each before the first turn.
        seconds: keep on until the timed calls of each add up to this.
    """
    warm(calls, warmup)
    samples = {name: _Samples() for name in calls}
    while any(item.count < runs or item.total_ns < (seconds or 0) * 1e9 for item in samples.values()):
        for name, call in calls.items():
            out = samples[name]
            if seconds is None:
                out.add(_turn(call, min(BLOCK, runs - out.count), 0))
            else:
                out.add(_turn(call, 1, TURN_NS))
                out.thin()
    return {
        name: LatencyStats(np.array(item.samples, np.int64), item.every, item.total_ns)
        for name, item in samples.items()
    }


def _turn(call: Callable[[], object], least: int, least_ns: int) -> list[int]:
    """Return the nanoseconds of each call, made at least `least` times and for at least `least_ns`."""
    clock = time.perf_counter_ns
    times: list[int] = []
    call()
    call()
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
