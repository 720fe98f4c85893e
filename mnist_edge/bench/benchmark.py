"""The stage `bench`: how fast each exported file runs on this machine, measured side by side."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np

from mnist_edge.bench.machine import State, pinned, stability_warnings
from mnist_edge.bench.timing import LatencyStats, interleave, warm
from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import ArtifactError, FolderError, HostError, MissingRuntime
from mnist_edge.core.folder import REFERENCE
from mnist_edge.core.host import EMULATED, Host
from mnist_edge.core.manifest import Artifact, Manifest
from mnist_edge.core.publish import reading_folder
from mnist_edge.core.reading import reading
from mnist_edge.core.reference import Reference
from mnist_edge.formats import FORMATS, runtime_versions
from mnist_edge.formats.first_look import first_look
from mnist_edge.formats.runner import Runner


@dataclass(frozen=True)
class BenchOptions:
    """How to measure.

    `runs` are the timed calls of each kind and file, after `warmup` untimed ones; `threads` are those of each runtime.
    `cpu` keeps all of it on one CPU. With `duration` each kind is timed for at least so many seconds too, as in
    MLPerf's single-stream form.
    """

    runs: int = 1000
    warmup: int = 50
    threads: int = 1
    cpu: int | None = None
    duration: float | None = None


@dataclass(frozen=True)
class Latency:
    """One file's bare inference call, and its whole call from uint8 pixels to float32 probabilities.

    A call takes `batch` images.
    """

    artifact: Artifact
    batch: int
    invoke: LatencyStats
    call: LatencyStats

    @property
    def per_image(self) -> float:
        """Return the median time of the whole call divided by its images, in µs."""
        return self.call.p50 / self.batch


@dataclass(frozen=True)
class BenchReport:
    """The latencies of a folder's files on this host, measured side by side; times are in microseconds.

    `skipped` maps a file's name to the reason. `before` and `after` are the states of the machine around the timed
    calls.
    """

    manifest: Manifest
    latencies: tuple[Latency, ...]
    skipped: dict[str, str]
    options: BenchOptions
    host: Host
    versions: dict[str, str]
    before: State
    after: State

    @property
    def warnings(self) -> list[str]:
        """Return a line for each change of the machine that makes the figures doubtful."""
        return stability_warnings(self.before, self.after)

    def slower_than_float(self) -> list[str]:
        """Return a line for each file whose median is over that of its float32 counterpart of the same batch."""
        lines = []
        for latency in self.latencies:
            artifact, other = latency.artifact, self._float32_of(latency)
            if other is not None and latency.call.p50 > 1.05 * other.call.p50:
                gain = "smaller, not" if artifact.bytes < other.artifact.bytes else "neither smaller nor"
                lines.append(
                    f"{artifact.path.name} takes {latency.call.p50 / other.call.p50:.1f}× as long as "
                    f"{other.artifact.path.name} on this host: it is {gain} faster."
                )
        return lines

    def _float32_of(self, latency: Latency) -> Latency | None:
        """Return the float32 file of the same format and batch; None for a float32 file, and where there is none."""
        if latency.artifact.precision is Precision.FLOAT32:
            return None
        for other in self.latencies:
            same = other.artifact.format == latency.artifact.format and other.batch == latency.batch
            if same and other.artifact.precision is Precision.FLOAT32:
                return other
        return None


def bench(folder: str | Path, options: BenchOptions = BenchOptions()) -> BenchReport:
    """Time every file of an export folder on this machine, interleaved, with raw samples kept.

    Raises:
        FolderError, ArtifactError: the folder has no manifest, or a file is not the one that it lists.
        HostError: this is an emulation, or the process cannot be kept on `options.cpu`.
        MissingRuntime: no file's runtime is installed, or all files are for other machines.
    """
    if emulated := os.environ.get(EMULATED):
        raise HostError(
            f"this machine is emulated ({emulated}): its time says nothing of the device's. Run bench on the device."
        )
    with pinned(options.cpu):
        return _bench(Path(folder), options)


def _bench(folder: Path, options: BenchOptions) -> BenchReport:
    skipped: dict[str, str] = {}
    timed: list[tuple[Artifact, Runner]] = []
    with reading_folder(folder) as place:
        manifest = Manifest.read(place)
        golden = Reference.read(manifest.check(REFERENCE))
        if not manifest.artifacts:
            raise FolderError(f"{folder} has no artifact to time. Export one: mnist-edge export")
        for artifact in manifest.artifacts:
            artifact.check()
            if reason := _not_timed(artifact):
                skipped[artifact.path.name] = reason
            else:
                first_look(artifact.path, FORMATS[artifact.format], artifact.sha256)
                timed.append((artifact, _opened(artifact, options.threads, golden)))
    if not timed:
        raise MissingRuntime("nothing could be timed: " + "; ".join(dict.fromkeys(skipped.values())))
    calls: dict[str, Callable[[], object]] = {}
    for artifact, runner in timed:
        calls[f"{artifact.path.name} invoke"] = runner.invoke
        calls[f"{artifact.path.name} call"] = _whole_call(runner, golden)
    warm(calls, options.warmup)
    before = State.read(options.cpu)  # now, not earlier: an idle machine has another clock
    stats = interleave(calls, options.runs, warmup=0, seconds=options.duration)
    after = State.read(options.cpu)
    return BenchReport(
        manifest=manifest,
        latencies=tuple(
            Latency(item, runner.batch, stats[f"{item.path.name} invoke"], stats[f"{item.path.name} call"])
            for item, runner in timed
        ),
        skipped=skipped,
        options=options,
        host=Host.read(),
        versions=runtime_versions(),
        before=before,
        after=after,
    )


def _opened(artifact: Artifact, threads: int, golden: Reference) -> Runner:
    """Open a file, and call it once in both ways. Raises ArtifactError where it does not run."""
    runner = FORMATS[artifact.format].open(artifact.path, threads=threads)
    runner.run(golden.images[:1])
    with reading(ArtifactError, f"{artifact.path} does not run"):
        runner.invoke()
    return runner


def _not_timed(artifact: Artifact) -> str | None:
    """Return why a file cannot be timed here; None where it can."""
    file_format = FORMATS.get(artifact.format)
    if file_format is None:
        return f"this version knows no format {artifact.format}"
    if platform := file_format.platform:
        return f"it is for {platform.machine}, of whose speed this host's time says nothing"
    return file_format.missing()


def _whole_call(runner: Runner, golden: Reference) -> Callable[[], object]:
    """Return a call that runs one batch of golden images, others each time."""
    count = max(1, 100 // runner.batch)
    places = np.arange(count * runner.batch).reshape(count, runner.batch) % len(golden.images)
    batches = cycle([golden.images[some] for some in places])
    return lambda: runner.run(next(batches))
