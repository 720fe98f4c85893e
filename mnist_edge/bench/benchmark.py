"""The stage `bench`: how fast each exported file runs on this machine, measured side by side."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from mnist_edge.bench.machine import State, faults, pinned
from mnist_edge.bench.timing import LatencyStats, interleave, warm
from mnist_edge.core import reference
from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import FolderError, HostError, MissingRuntime
from mnist_edge.core.files import DAMAGED
from mnist_edge.core.folder import BENCH, REFERENCE
from mnist_edge.core.host import EMULATED, Host
from mnist_edge.core.manifest import Artifact, Manifest
from mnist_edge.formats import FORMATS, runtime_versions
from mnist_edge.formats.runner import Runner


@dataclass(frozen=True)
class Latency:
    """One artifact's bare inference call, and its whole call from uint8 pixels to float32 probabilities."""

    artifact: Artifact
    invoke: LatencyStats
    call: LatencyStats


@dataclass(frozen=True)
class BenchReport:
    """All latencies of a folder on one host; `skipped` maps a file's name to the reason.

    `before` and `after` are the machine's states around the timed calls; `cpu` is the one that the process was kept on,
    `duration` the seconds that were asked for.
    """

    manifest: Manifest
    latencies: tuple[Latency, ...]
    skipped: dict[str, str]
    threads: int
    host: Host
    versions: dict[str, str]
    before: State
    after: State
    cpu: int | None
    duration: float | None

    @property
    def warnings(self) -> list[str]:
        """What happened to the machine meanwhile that makes the figures doubtful."""
        return faults(self.before, self.after)

    def slower_than_float(self) -> list[str]:
        """Say which files take longer than their float32 twins here, by the median of the whole call."""
        by_name = {latency.artifact.path.name: latency for latency in self.latencies}
        lines = []
        for latency in self.latencies:
            twin = self.manifest.float32_counterpart(latency.artifact)
            other = by_name.get(twin.path.name) if twin else None
            quantized = latency.artifact.precision is not Precision.FLOAT32
            if quantized and other and latency.call.p50 > 1.05 * other.call.p50:
                gain = "smaller, not" if latency.artifact.bytes < other.artifact.bytes else "neither smaller nor"
                lines.append(
                    f"{latency.artifact.path.name} takes {latency.call.p50 / other.call.p50:.1f}× as long as "
                    f"{other.artifact.path.name} on this host: it is {gain} faster."
                )
        return lines


def bench(
    folder: Path,
    runs: int,
    warmup: int = 50,
    threads: int = 1,
    cpu: int | None = None,
    duration: float | None = None,
) -> BenchReport:
    """Time every artifact of a folder at batch 1.

    Args:
        folder: an export folder.
        runs: timed calls of each kind and artifact.
        warmup: untimed calls of each first.
        threads: of each runtime.
        cpu: keep all of it on this CPU.
        duration: time each kind for at least so many seconds, and at least `runs` calls (MLPerf's single-stream form).

    Raises:
        FolderError, ArtifactError: as `Manifest.read` and `Artifact.check` say.
        HostError: this is an emulation, or it cannot be pinned to `cpu`.
        MissingRuntime: no artifact's runtime is installed, or all are for other machines.
    """
    if emulated := os.environ.get(EMULATED):
        raise HostError(
            f"this machine is emulated ({emulated}): its time says nothing of the device's. Run bench on the device."
        )
    with pinned(cpu):
        return _bench(folder, runs, warmup, threads, cpu, duration)


def _bench(folder: Path, runs: int, warmup: int, threads: int, cpu: int | None, duration: float | None) -> BenchReport:
    manifest = Manifest.read(folder)
    golden = reference.Reference.read(manifest.check(REFERENCE))
    if not manifest.artifacts:
        raise FolderError(f"{folder} has no artifact to time. Export one: mnist-edge export")
    skipped, runners, timed = {}, [], []
    for artifact in manifest.artifacts:
        artifact.check()
        if artifact.format not in FORMATS:
            skipped[artifact.path.name] = f"this version knows no format {artifact.format}"
        elif target := FORMATS[artifact.format].platform:
            skipped[artifact.path.name] = f"it is for {target.machine}, of whose speed this host's time says nothing"
        elif missing := FORMATS[artifact.format].missing():
            skipped[artifact.path.name] = missing
        else:
            timed.append(artifact)
            runners.append(FORMATS[artifact.format].open(artifact.path, threads=threads))
    if not timed:
        raise MissingRuntime("nothing could be timed: " + "; ".join(dict.fromkeys(skipped.values())))
    calls: dict[str, Callable[[], object]] = {}
    for artifact, runner in zip(timed, runners, strict=True):
        calls[f"{artifact.path.name} invoke"] = runner.invoke
        calls[f"{artifact.path.name} call"] = _whole_call(runner, golden)
    warm(calls, warmup)
    before = State.read(cpu)  # now, not earlier: the clock of an idle machine is another one
    stats = interleave(calls, runs, warmup=0, seconds=duration)
    after = State.read(cpu)
    return BenchReport(
        manifest=manifest,
        latencies=tuple(
            Latency(item, stats[f"{item.path.name} invoke"], stats[f"{item.path.name} call"]) for item in timed
        ),
        skipped=skipped,
        threads=threads,
        host=Host.read(),
        versions=runtime_versions(),
        before=before,
        after=after,
        cpu=cpu,
        duration=duration,
    )


def read(folder: Path) -> dict[str, Any] | None:
    """Read the results that `mnist-edge bench` left in a folder; None where it has not run there.

    Raises:
        FolderError: they are damaged.
    """
    path = folder / BENCH
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for item in content["results"]:
            for kind in ("invoke", "call"):
                _ = [float(item[kind][f"{name}_us"]) for name in ("p50", "p90", "p99")]
        _ = int(content["host"]["cores"]), [*content["notes"], *content.get("warnings", [])]
        check_origin(content)
    except DAMAGED as error:
        raise FolderError(
            f"{path} is damaged ({type(error).__name__}: {error}). Run mnist-edge bench again."
        ) from error
    return content


def check_origin(content: dict[str, Any]) -> None:
    """Raise TypeError where results do not say, as text, of which files and which machine they are."""
    named = [item[name] for item in content["results"] for name in ("file", "sha256")]
    named += [content["host"][name] for name in ("cpu", "machine", "system", "python")]
    if not all(isinstance(value, str) for value in named):
        raise TypeError("names that are no text")


def _whole_call(runner: Runner, golden: reference.Reference) -> Callable[[], object]:
    images = cycle([image[None] for image in golden.images[:100]])
    return lambda: runner.run(next(images))
