"""Sweeps the CPU's caches, so that the next call is as cold as one that an app makes now and then."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mnist_edge.core.host import ROOT, read_line

UNKNOWN, MOST = 64 * 2**20, 256 * 2**20  # bytes
UNITS = {"K": 2**10, "M": 2**20}


def largest_cache(root: Path = ROOT) -> int | None:
    """Return the bytes of the largest cache that Linux's /sys under `root` shows; None where it shows none."""
    lines = [read_line(path) for path in root.glob("sys/devices/system/cpu/cpu0/cache/index*/size")]
    sizes = [int(line[:-1]) * UNITS[line[-1]] for line in lines if line and line[-1] in UNITS and line[:-1].isdigit()]
    return max(sizes, default=None)


def sweeper(root: Path = ROOT) -> Callable[[], None]:
    """Return a function that writes to every cache line of twice the largest cache, of 64 MiB where that is unknown."""
    largest = largest_cache(root)
    numbers = np.zeros(min(MOST, 2 * largest if largest else UNKNOWN) // 8, np.int64)

    def sweep() -> None:
        np.add(numbers, 1, out=numbers)

    return sweep
