"""What samples of several processes say together, and how sure that is."""

import numpy as np
from numpy.typing import NDArray

from mnist_edge.bench.timing import LatencyStats

DRAWS = 1000
QUANTILES = np.linspace(0, 1, 101)  # what a process's samples are reduced to, so that a draw costs little
Samples = list[NDArray[np.int64]]


def _medians(processes: Samples, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return DRAWS medians in ns: of processes that are drawn again, or of one process's samples."""
    if len(processes) == 1:
        samples = processes[0]
        few = np.quantile(samples, np.linspace(0, 1, min(len(samples), 1000)))
        return np.asarray(np.median(rng.choice(few, (DRAWS, len(few))), axis=1))
    reduced = np.array([np.quantile(samples, QUANTILES) for samples in processes])
    drawn = reduced[rng.integers(len(reduced), size=(DRAWS, len(reduced)))]
    return np.asarray(np.median(drawn.reshape(DRAWS, -1), axis=1))


def interval(stats: LatencyStats) -> tuple[float, float]:
    """Return a 95 % bootstrap interval of the median in µs (Efron, 1979), over processes where there are several."""
    medians = _medians(stats.processes, np.random.default_rng(0)) / 1000
    low, high = np.percentile(medians, (2.5, 97.5))
    return float(low), float(high)


def ratio(stats: LatencyStats, baseline: LatencyStats) -> tuple[float, float, float]:
    """Return the ratio of two medians, and its 95 % bootstrap interval.

    Where both were measured in the same processes, the same processes are drawn for both: what slowed one slowed both.
    """
    paired = len(stats.processes) == len(baseline.processes)
    one = _medians(stats.processes, np.random.default_rng(0))
    other = _medians(baseline.processes, np.random.default_rng(0 if paired else 1))
    low, high = np.percentile(one / other, (2.5, 97.5))
    return stats.p50 / baseline.p50, float(low), float(high)


def fast_level(stats: LatencyStats) -> tuple[float, float]:
    """Return what a call takes where nothing disturbs it, in µs, and how far that is open, as a share of it.

    Other work on a machine only adds time, and its share changes from run to run: medians of one file were seen 15 %
    apart on a busy machine, while this figure kept within 1 %. Of each process it is the 2nd percentile; of the
    processes the 5th, so that their number hardly matters. How far it is open is the span from the fastest process to
    the 20th percentile. Chosen by benchmarks/compare.py.
    """
    levels = [float(np.percentile(samples, 2)) / 1000 for samples in stats.processes]
    low, level, high = np.percentile(levels, (0, 5, 20))
    return float(level), float((high - low) / level)
