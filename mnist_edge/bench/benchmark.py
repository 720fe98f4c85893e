"""The stage `bench`: how fast each exported file runs on this machine, measured side by side."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mnist_edge.bench.machine import State, pinned, stability_warnings, usable_cpus
from mnist_edge.bench.processes import Progress, Samples, Start, first_prediction, measured
from mnist_edge.bench.scaling import Throughput, throughput
from mnist_edge.bench.timing import LatencyStats
from mnist_edge.bench.worker import CALL, CLOCK, COLD, CONTROL, IDLE, INVOKE, Plan, TimedFile
from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import ArtifactError, BrokenRuntime, FolderError, HostError, MissingRuntime
from mnist_edge.core.folder import REFERENCE
from mnist_edge.core.host import EMULATED, Host
from mnist_edge.core.manifest import Artifact, Manifest
from mnist_edge.core.publish import reading_folder
from mnist_edge.core.reading import reading
from mnist_edge.core.reference import Reference
from mnist_edge.formats import FORMATS, runtime_versions
from mnist_edge.formats.first_look import first_look
from mnist_edge.formats.inspection import OperatorTime

RUNS = 1000
DEFAULT = "default"
"""The runtime's usual way; a format's variants are the others."""


@dataclass(frozen=True)
class BenchOptions:
    """How to measure.

    `runs` are the warm timed calls of each kind and file, in all `processes` together; with `duration` each kind is
    timed for at least so many seconds too, as in MLPerf's single-stream form. `warmup` calls are made, untimed, until
    the medians of two such blocks agree. `threads` are those of each runtime; `cpu` keeps all of it on one CPU.
    `cold` calls follow a sweep of the caches, `idle` calls a sleep of `idle_ms`. `runtimes` are the ways in which the
    runtime computes: `default` or a format's variant. `starts` processes of each file are timed from their
    start. `operators` asks the runtimes' profilers too, `scaling` measures throughput over images a call and threads.
    """

    runs: int = RUNS
    warmup: int = 50
    threads: int = 1
    cpu: int | None = None
    duration: float | None = None
    processes: int = 20
    cold: int = 100
    idle: int = 50
    idle_ms: float = 20
    runtimes: tuple[str, ...] = (DEFAULT,)
    starts: int = 3
    operators: bool = False
    scaling: bool = False

    def plan(self, files: tuple[TimedFile, ...], images: Path) -> Plan:
        """Return what each process measures."""
        share = self.processes
        return Plan(
            files=files,
            images=str(images),
            threads=self.threads,
            runs=-(-self.runs // share),
            seconds=None if self.duration is None else self.duration / share,
            warmup=self.warmup,
            cold=-(-self.cold // share),
            idle=-(-self.idle // share),
            idle_seconds=self.idle_ms / 1000,
            cpu=self.cpu,
            seed=0,
        )


@dataclass(frozen=True)
class Latency:
    """One file's bare inference call, and its whole call from uint8 pixels to float32 probabilities.

    A call takes `batch` images. `cold` is the whole call after a sweep of the caches, `idle` after a sleep; both are
    None where none was asked for. `start` is a process of its own, from its start to its first prediction.
    `operators` and `throughput` are empty where nobody asked, or no profiler is there.
    """

    artifact: Artifact
    batch: int
    invoke: LatencyStats
    call: LatencyStats
    cold: LatencyStats | None = None
    idle: LatencyStats | None = None
    start: Start | None = None
    runtime: str = DEFAULT
    operators: tuple[OperatorTime, ...] = ()
    throughput: tuple[Throughput, ...] = ()

    @property
    def name(self) -> str:
        """Return the file's name, with the runtime's variant where it is not the default."""
        return self.artifact.path.name + ("" if self.runtime == DEFAULT else f" ({self.runtime})")

    @property
    def per_image(self) -> float:
        """Return the median time of the whole call divided by its images, in µs."""
        return self.call.p50 / self.batch


@dataclass(frozen=True)
class BenchReport:
    """The latencies of a folder's files on this host, measured side by side; times are in microseconds.

    `skipped` maps a file's name to the reason. `before` and `after` are the states of the machine around the timed
    calls. `control` is a fixed product of matrices, timed with the files; `clock` is what timing nothing takes.
    """

    manifest: Manifest
    latencies: tuple[Latency, ...]
    skipped: dict[str, str]
    options: BenchOptions
    host: Host
    versions: dict[str, str]
    before: State
    after: State
    control: LatencyStats
    clock: LatencyStats

    @property
    def warnings(self) -> list[str]:
        """Return a line for each change of the machine that makes the figures doubtful."""
        return stability_warnings(self.before, self.after)

    def slower_than_float(self) -> list[str]:
        """Return a line for each file whose median is over that of its float32 counterpart of the same batch."""
        lines = []
        for latency in self.latencies:
            artifact, other = latency.artifact, self.baseline(latency)
            if other is not None and latency.call.p50 > 1.05 * other.call.p50:
                gain = "smaller, not" if artifact.bytes < other.artifact.bytes else "neither smaller nor"
                cause = FORMATS[artifact.format].slow_here(artifact.precision)
                lines.append(
                    f"{latency.name} takes {latency.call.p50 / other.call.p50:.1f}× as long as {other.name} on this "
                    f"host: it is {gain} faster.{f' {cause}' if cause else ''}"
                )
        return lines

    def baseline(self, latency: Latency) -> Latency | None:
        """Return the float32 file of the same format, runtime and batch; None if there is none."""
        if latency.artifact.precision is Precision.FLOAT32:
            return None
        for other in self.latencies:
            same = (other.artifact.format, other.runtime, other.batch)
            if other.artifact.precision is Precision.FLOAT32 and same == (
                latency.artifact.format,
                latency.runtime,
                latency.batch,
            ):
                return other
        return None


def bench(
    folder: str | Path, options: BenchOptions = BenchOptions(), on_progress: Progress = lambda line: None
) -> BenchReport:
    """Time every file of an export folder on this machine, interleaved, in several processes, with raw samples kept.

    Raises:
        FolderError, ArtifactError: the folder has no manifest, or a file is not the one that it lists.
        HostError: this is an emulation, the process cannot be kept on `options.cpu`, or a process that measures failed.
        MissingRuntime: no file's runtime is installed, or all files are for other machines.
    """
    if emulated := os.environ.get(EMULATED):
        raise HostError(
            f"this machine is emulated ({emulated}): its time says nothing of the device's. Run bench on the device."
        )
    for name in ("runs", "processes", "threads"):
        if getattr(options, name) < 1:
            raise HostError(f"{name} is {getattr(options, name)}; give 1 or more.")
    with pinned(options.cpu):
        return _bench(Path(folder), options, on_progress)


def _bench(folder: Path, options: BenchOptions, on_progress: Progress) -> BenchReport:
    skipped: dict[str, str] = {}
    timed: list[tuple[Artifact, TimedFile]] = []
    with reading_folder(folder) as place, TemporaryDirectory() as temporary:
        manifest = Manifest.read(place)
        golden = Reference.read(manifest.check(REFERENCE))
        if not manifest.artifacts:
            raise FolderError(f"{folder} has no artifact to time. Export one: mnist-edge export")
        for artifact in manifest.artifacts:
            artifact.check()
            for runtime in options.runtimes:
                try:
                    timed.append((artifact, _checked(artifact, runtime, options.threads, golden)))
                except (BrokenRuntime, MissingRuntime) as error:
                    name = artifact.path.name + ("" if runtime == DEFAULT else f" ({runtime})")
                    skipped[name] = str(error)
        if not timed:
            raise MissingRuntime("nothing could be timed: " + "; ".join(dict.fromkeys(skipped.values())))
        images = Path(temporary) / "images.npy"
        np.save(images, golden.images)
        files = tuple(file for _, file in timed)
        plan = options.plan(files, images)
        samples = measured(plan, options.processes, on_progress)
        on_progress("processes from their start")
        starts = [first_prediction(file, images, options.starts) for file in files]
        scaled = [*throughput(plan, usable_cpus(), on_progress)] if options.scaling else []
        operators = [_operators(file, golden, options, skipped) for file in files]
    return BenchReport(
        manifest=manifest,
        latencies=tuple(
            replace(
                _latency(samples, number, artifact, file),
                start=starts[number],
                operators=operators[number],
                throughput=tuple(item for item in scaled if item.file == number),
            )
            for number, (artifact, file) in enumerate(timed)
        ),
        skipped=skipped,
        options=options,
        host=Host.read(),
        versions=runtime_versions(),
        before=samples.before,
        after=samples.after,
        control=samples.stats[CONTROL],
        clock=samples.stats[CLOCK],
    )


def _latency(samples: Samples, number: int, artifact: Artifact, file: TimedFile) -> Latency:
    stats = {kind: samples.stats.get(f"{number} {kind}") for kind in (INVOKE, CALL, COLD, IDLE)}
    invoke, call, cold, idle = (item if item and item.runs else None for item in stats.values())
    assert invoke is not None
    assert call is not None
    return Latency(artifact, file.batch, invoke, call, cold, idle, runtime=file.variant or DEFAULT)


def _operators(
    file: TimedFile, golden: Reference, options: BenchOptions, skipped: dict[str, str]
) -> tuple[OperatorTime, ...]:
    """Return the time of each operator of a file; nothing, and the reason in `skipped`, where no profiler is there."""
    if not options.operators:
        return ()
    path = Path(file.path)
    if file.variant:
        skipped[f"{path.name} ({file.variant}), by operator"] = "operators are timed in the default runtime alone"
        return ()
    try:
        return FORMATS[file.format].operator_times(path, golden.images, options.threads)
    except MissingRuntime as error:
        skipped[f"{path.name}, by operator"] = str(error)
        return ()


def _checked(artifact: Artifact, runtime: str, threads: int, golden: Reference) -> TimedFile:
    """Open a file and call it once in both ways; return what a process that measures is told of it.

    Raises:
        ArtifactError: it does not run.
        MissingRuntime, BrokenRuntime: its runtime, or this variant of it, is not here.
    """
    if reason := _not_timed(artifact, runtime):
        raise MissingRuntime(reason)
    file_format, variant = FORMATS[artifact.format], None if runtime == DEFAULT else runtime
    first_look(artifact.path, file_format, artifact.sha256)
    with file_format.open(artifact.path, threads=threads, variant=variant) as runner:
        runner.run(golden.images[:1])
        with reading(ArtifactError, f"{artifact.path} does not run"):
            runner.invoke()
        specs = runner.io_specs
        free = specs is not None and specs[0].shape[0] is None
        return TimedFile(artifact.format, str(artifact.path.absolute()), runner.batch, variant, free)


def _not_timed(artifact: Artifact, runtime: str) -> str | None:
    """Return why a file cannot be timed here; None where it can."""
    file_format = FORMATS.get(artifact.format)
    if file_format is None:
        return f"this version knows no format {artifact.format}"
    if platform := file_format.platform:
        return f"it is for {platform.machine}, of whose speed this host's time says nothing"
    if runtime != DEFAULT and runtime not in file_format.variants:
        return f"{file_format.suffix} files have no runtime {runtime}"
    return file_format.missing()
