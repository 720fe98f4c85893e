"""Time all calls of a network interleaved in this one process.

python -m peers.measure NETWORK.json ROWS.json TARGET.json
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge.bench.caches import sweeper
from mnist_edge.bench.timing import interleave
from peers import also
from peers.network import Call, Network


def opened(row: dict[str, Any]) -> Call:
    """Return the call of what `step` found to run."""
    path = Path(row["path"])
    if row["peer"] == "also":
        return also.open_call(path, row["range"])
    call: Call = import_module(f"peers.{row['peer']}").open_call(path)
    return call


def main() -> None:
    """Write the samples of each row, in ns: warm ones round by round, and cold ones after a sweep of the caches."""
    network = Network.read(Path(sys.argv[1]))
    request = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    pixels = cycle([np.ascontiguousarray(image) for image in network.arrays["test"][:100]])
    calls: dict[str, Callable[[], object]] = {
        row["key"]: partial(lambda call: call(next(pixels)), opened(row)) for row in request["rows"]
    }
    runs, rounds = request["runs"], range(request["rounds"])
    warm = [interleave(calls, runs, warmup=100, seed=seed) for seed in rounds]
    cold = [interleave(calls, max(runs // 10, 20), warmup=0, before=sweeper(), seed=seed) for seed in rounds]
    samples = {
        name: {
            "warm_ns": [stats[name].samples_ns.tolist() for stats in warm],
            "cold_ns": [stats[name].samples_ns.tolist() for stats in cold],
        }
        for name in calls
    }
    Path(sys.argv[3]).write_text(json.dumps(samples), encoding="utf-8")


if __name__ == "__main__":
    main()
