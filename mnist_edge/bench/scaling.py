"""How the cost of a file grows with work: images a second by images a call and threads."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mnist_edge.bench.processes import Progress, measured
from mnist_edge.bench.worker import CALL, Plan

BATCHES = (1, 4, 16, 64)
SECONDS = 0.2


@dataclass(frozen=True)
class Throughput:
    """The median time of a whole call in µs, with so many images and threads."""

    file: int
    batch: int
    threads: int
    microseconds: float

    @property
    def images_per_second(self) -> float:
        """Return how many images a second that is."""
        return 1e6 * self.batch / self.microseconds


def throughput(plan: Plan, cores: int, on_progress: Progress) -> Iterator[Throughput]:
    """Yield the throughput of each file of a plan, by its place: with 1, 2, 4 … threads, and 1 to 64 images a call.

    A file of a fixed batch is timed with that alone. Raises HostError as `measured` does.
    """
    keys = [
        (at, batch) for at, file in enumerate(plan.files) for batch in (BATCHES if file.any_batch else [file.batch])
    ]
    files = tuple(replace(plan.files[at], batch=batch) for at, batch in keys)
    threads = 1
    while threads <= cores:
        on_progress(f"{threads} thread(s)")
        wanted = replace(plan, files=files, threads=threads, runs=1, seconds=SECONDS, cold=0, idle=0)
        stats = measured(wanted, 1, lambda line: None).stats
        for number, (at, batch) in enumerate(keys):
            yield Throughput(at, batch, threads, stats[f"{number} {CALL}"].p50)
        threads *= 2
