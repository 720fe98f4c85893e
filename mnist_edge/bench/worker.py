"""A process that measures: one of several, since where things lie in memory alone moves a median.

It opens files that its parent has looked at, and writes raw samples to a folder. Python's garbage collector is off
while it times.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge.bench.caches import sweeper
from mnist_edge.bench.machine import State
from mnist_edge.bench.timing import LatencyStats, interleave, warm_until_stable
from mnist_edge.formats import FORMATS
from mnist_edge.formats.runner import Images, Runner

INVOKE, CALL, COLD, IDLE = "invoke", "call", "cold", "idle"
CONTROL, CLOCK = "control", "clock"  # a fixed product of matrices, and nothing at all
CLOCK_RUNS = 1000


@dataclass(frozen=True)
class TimedFile:
    """A file to time: its format by name, its path, the images a call, and the runtime's variant.

    `any_batch`: whether it takes any number of images.
    """

    format: str
    path: str
    batch: int = 1
    variant: str | None = None
    any_batch: bool = False

    def open(self, threads: int) -> Runner:
        """Return it opened. Raises as `Format.open` does."""
        return FORMATS[self.format].open(Path(self.path), threads=threads, batch=self.batch, variant=self.variant)


@dataclass(frozen=True)
class Plan:
    """What a process measures.

    `runs` are the warm timed calls of each kind, for `seconds` at least; `cold` and `idle` are calls after a sweep of
    the caches and after `idle_seconds` of sleep; `warmup` is the block of untimed calls. `images` is the path of golden
    images uint8 `[N, 28, 28]` in `.npy`.
    """

    files: tuple[TimedFile, ...]
    images: str
    threads: int
    runs: int
    seconds: float | None
    warmup: int
    cold: int
    idle: int
    idle_seconds: float
    cpu: int | None
    seed: int


def measure() -> None:
    """Measure as the plan in `sys.argv[2]` says; write `samples.npz` and `about.json` to the folder `sys.argv[3]`."""
    content = json.loads(sys.argv[2])
    plan = Plan(**{**content, "files": tuple(TimedFile(**item) for item in content["files"])})
    images = np.load(plan.images)
    runners = [file.open(plan.threads) for file in plan.files]
    calls = {f"{at} {CALL}": whole_call(runner, images) for at, runner in enumerate(runners)}
    warm = {CONTROL: control(), **calls}
    warm |= {f"{at} {INVOKE}": runner.invoke for at, runner in enumerate(runners)}
    warm_until_stable(warm, plan.warmup)
    gc.disable()
    before = State.read(plan.cpu)  # now, not earlier: an idle machine has another clock
    stats = interleave(warm, plan.runs, 0, plan.seconds, seed=plan.seed)
    stats |= interleave({CLOCK: lambda: None}, CLOCK_RUNS, 0)
    for kind, times, prepare in (
        (COLD, plan.cold, sweeper()),
        (IDLE, plan.idle, lambda: time.sleep(plan.idle_seconds)),
    ):
        others = interleave(calls, times, 0, before=prepare, seed=plan.seed)
        stats |= {name.replace(CALL, kind): item for name, item in others.items()}
    after = State.read(plan.cpu)
    write(Path(sys.argv[3]), stats, {"before": asdict(before), "after": asdict(after)})


def write(folder: Path, stats: dict[str, LatencyStats], about: dict[str, Any]) -> None:
    """Write the samples in nanoseconds by name, and what else is to be told: `about.json` last, when all is there."""
    np.savez(folder / "samples.npz", **{name: item.samples_ns for name, item in stats.items()})  # type: ignore[arg-type]
    about = {**about, "total_ns": {name: item.total_ns for name, item in stats.items()}}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def whole_call(runner: Runner, images: Images) -> Callable[[], object]:
    """Return a call that runs one batch of images, others each time."""
    count = max(1, 100 // runner.batch)
    places = np.arange(count * runner.batch).reshape(count, runner.batch) % len(images)
    batches = cycle([images[some] for some in places])
    return lambda: runner.run(next(batches))


def control() -> Callable[[], object]:
    """Return a call that has nothing to do with any file: a product of two matrices float32 `[48, 48]`."""
    one, other = np.random.default_rng(0).random((2, 48, 48), np.float32)
    out = np.empty_like(one)
    return lambda: np.dot(one, other, out=out)


def start() -> None:
    """Give one prediction; print the monotonic clock in ns after it, and this process's peak memory in bytes."""
    file = TimedFile(**json.loads(sys.argv[2]))
    images = np.load(sys.argv[3])
    with file.open(1) as runner:
        runner.run(images[: runner.batch])
        print(json.dumps({"clock": time.monotonic_ns(), "peak": peak_memory()}))


def peak_memory() -> int:
    """Return this process's largest resident memory so far in bytes."""
    try:  # on Linux getrusage counts what the parent had when it forked
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
