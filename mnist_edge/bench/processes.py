"""Starts the processes that measure, one after the other, and puts their samples together."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from os import environ
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mnist_edge.bench.machine import State
from mnist_edge.bench.statistics import fast_level
from mnist_edge.bench.timing import LatencyStats
from mnist_edge.bench.worker import CALL, CONTROL, Plan, TimedFile
from mnist_edge.core.children import for_child, python_command
from mnist_edge.core.errors import HostError
from mnist_edge.core.text import one_line

WORKER = "mnist_edge.bench.worker"
SETTLED = 0.025  # open by no more than this, as a share, and no more processes are needed
MOST = 2  # times as many processes as asked for
KEPT = 2**14  # samples of each call, of all processes together: 100 kilobytes of JSON, 16 of them over p99.9
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Samples:
    """The samples of all processes by name, and the machine's state before the first and after the last of them."""

    stats: dict[str, LatencyStats]
    before: State
    after: State


@dataclass(frozen=True)
class Start:
    """Processes of one file: seconds from their start to their first prediction, and their peak memory in bytes."""

    seconds: tuple[float, ...]
    peak: int


def measured(plan: Plan, processes: int, on_progress: Progress) -> Samples:
    """Return what several processes measured, each with another seed.

    Where other work on the machine leaves a figure open, more are started, up to twice as many; not so where the
    plan has a number of calls alone.

    Raises:
        HostError: a process failed.
    """
    parts: list[dict[str, LatencyStats]] = []
    states: list[State] = []
    with TemporaryDirectory() as name:
        most = processes if plan.seconds is None or processes == 1 else MOST * processes
        while len(parts) < processes or (len(parts) < most and not _settled(parts)):
            number = len(parts)
            on_progress(f"process {number + 1} of {processes}" if number < processes else f"process {number + 1}")
            folder = Path(name) / str(number)
            folder.mkdir()
            _run("measure", json.dumps(asdict(replace(plan, seed=number))), str(folder))
            about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
            states += [State(**about["before"]), State(**about["after"])]
            with np.load(folder / "samples.npz") as arrays:
                parts.append({key: LatencyStats(arrays[key], total_ns=about["total_ns"][key]) for key in arrays})
    return Samples(_joined(parts), states[0], states[-1])


def first_prediction(file: TimedFile, images: Path, times: int) -> Start | None:
    """Return the times from process start to first prediction, and the peak memory. Raises HostError."""
    seconds, peaks = [], []
    for _ in range(times):
        begin = time.monotonic_ns()
        answer = json.loads(_run("start", json.dumps(asdict(file)), str(images)))
        seconds.append((answer["clock"] - begin) / 1e9)
        peaks.append(answer["peak"])
    return Start(tuple(seconds), max(peaks)) if times else None


def _run(function: str, *arguments: str) -> str:
    """Run a function of the worker in a process of its own; return the last line that it printed."""
    command = python_command(WORKER, function, *arguments)
    done = subprocess.run(
        command,
        env={**environ, **for_child()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        why = one_line(done.stderr.strip().rpartition("\n")[2]) or f"exit code {done.returncode}"
        raise HostError(f"a process that measures failed: {why}")
    return done.stdout.strip().rpartition("\n")[2]


def _joined(parts: list[dict[str, LatencyStats]]) -> dict[str, LatencyStats]:
    """Return the samples of all processes by name; of many, each process keeps an even share."""
    most = KEPT // len(parts)
    joined = {}
    for name in parts[0]:
        arrays = [part[name].samples_ns for part in parts]
        total = sum(int(part[name].seconds * 1e9) for part in parts)
        joined[name] = LatencyStats.joined([array[:: max(1, -(-len(array) // most))] for array in arrays], total)
    return joined


def _settled(parts: list[dict[str, LatencyStats]]) -> bool:
    """Return whether each whole call's fast level is known well enough."""
    names = [name for name in parts[0] if name.endswith(CALL) or name == CONTROL]
    stats = (LatencyStats.joined([part[name].samples_ns for part in parts]) for name in names)
    return all(fast_level(item)[1] <= SETTLED for item in stats)
