"""Time callables side by side. Raw samples are kept and every figure is derived from them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 25


@dataclass(frozen=True)
class LatencyStats:
    """Raw samples in nanoseconds, int64 `[N]`; all properties are in microseconds."""

    samples_ns: NDArray[np.int64]

    def percentile(self, q: float) -> float:
        """Give a percentile in microseconds."""
        return float(np.percentile(self.samples_ns, q)) / 1000

    @property
    def p50(self) -> float:
        """Median."""
        return self.percentile(50)

    @property
    def p90(self) -> float:
        """90th percentile."""
        return self.percentile(90)

    @property
    def p99(self) -> float:
        """99th percentile."""
        return self.percentile(99)

    @property
    def minimum(self) -> float:
        """Fastest sample."""
        return float(self.samples_ns.min()) / 1000

    @property
    def runs(self) -> int:
        """Number of samples."""
        return len(self.samples_ns)


def interleave(calls: Mapping[str, Callable[[], object]], runs: int, warmup: int) -> dict[str, LatencyStats]:
    """Time every call `runs` times, in turns, so that a slow moment of the machine hits all of them.

    A turn is 25 timed calls after two untimed ones: the caches are then those of a program that does nothing else, and
    the turns are short enough to share the machine's moods.

    Args:
        calls: what to time, by name.
        runs: timed calls of each.
        warmup: untimed calls of each before the first turn.
    """
    for call in calls.values():
        for _ in range(warmup):
            call()
    turns = -(-runs // BLOCK)
    samples = {name: np.empty(runs, np.int64) for name in calls}
    clock = time.perf_counter_ns
    for turn in range(turns):
        for name, call in calls.items():
            call()
            call()
            out = samples[name]
            for index in range(turn * BLOCK, min((turn + 1) * BLOCK, runs)):
                start = clock()
                call()
                out[index] = clock() - start
    return {name: LatencyStats(values) for name, values in samples.items()}
