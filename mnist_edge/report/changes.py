"""Says of each file whether it became faster or slower since another run of `bench`, and on what evidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mnist_edge.core.errors import HostError
from mnist_edge.core.host import Host
from mnist_edge.report.stored import BenchResults, StoredLatency, StoredStats

LEAST = 0.025  # a smaller share is told as no difference
OPEN = 0.05  # where a figure is open by more than this share, nothing is said
CONTROL = 0.01  # the least share that must be left once the change of the host itself is taken out


class Verdict(StrEnum):
    """What became of a file's whole call."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "no difference"
    OPEN = "not clear"


@dataclass(frozen=True)
class Change:
    """One file then and now.

    `ratio` is that of the fast levels of the whole call, `margin` the share by which it is open: 2.5 %, or
    more where a run was disturbed.
    `medians` are the medians then and now in µs. `same_file`: whether the bytes are the same.
    """

    name: str
    verdict: Verdict
    ratio: float
    margin: float
    medians: tuple[float, float]
    same_file: bool

    def slower_by(self, share: float) -> bool:
        """Return whether it is slower, and the evidence leaves room for a slowdown by this share or more."""
        return self.verdict is Verdict.SLOWER and self.ratio + self.margin >= 1 + share


@dataclass(frozen=True)
class Changes:
    """The changes of all files that both runs timed; `alone` are the names that only one has, and which.

    `control` is the ratio of the fast levels of a fixed product of matrices: how the host itself changed.
    """

    files: tuple[Change, ...]
    alone: Mapping[str, str]
    control: float
    notes: tuple[str, ...]


def compare(old: BenchResults, new: BenchResults, force: bool = False) -> Changes:
    """Return what changed from one run of `bench` to another.

    A file is slower or faster where the fast level of its whole call changed by more than 2.5 %, and still by 1 % once
    the change of the control is taken out. Nothing is said of one whose level is open by more than 5 % in either run,
    unless the change is twice that.

    Raises:
        HostError: as `check_alike` says.
    """
    notes = check_alike(old, new.host, new.threads, force)
    control = new.control.fast_us / old.control.fast_us
    before = {item.name: item for item in old.results}
    after = {item.name: item for item in new.results}
    alone = {name: "only the old run has it" for name in before if name not in after}
    alone |= {name: "only the new run has it" for name in after if name not in before}
    files = [_change(name, before[name], item, control) for name, item in after.items() if name in before]
    versions = [
        f"{name} {old.versions.get(name, '–')} → {new.versions.get(name, '–')}"
        for name in sorted({*old.versions, *new.versions})
        if old.versions.get(name) != new.versions.get(name)
    ]
    if versions:
        notes.append(f"other versions: {', '.join(versions)}")
    return Changes(tuple(files), alone, control, tuple(notes))


def check_alike(old: BenchResults, host: Host, threads: int, force: bool) -> list[str]:
    """Return in what respects an old run and one of this host and number of threads are not alike.

    Raises:
        HostError: there are any, and not `force`.
    """
    lines = []
    if (old.host.cpu, old.host.machine, old.host.cores) != (host.cpu, host.machine, host.cores):
        lines.append(f"the old one is from another host, {old.host}")
    if old.threads != threads:
        lines.append(f"the old one had {old.threads} thread(s), this one {threads}")
    if lines and not force:
        raise HostError(f"the two runs cannot be compared: {'; '.join(lines)}. --force compares them all the same.")
    return lines


def _change(name: str, old: StoredLatency, new: StoredLatency, control: float) -> Change:
    ratio = _per_image(new.call, new.batch) / _per_image(old.call, old.batch)
    disturbed = max(old.call.fast_open, new.call.fast_open)
    own = ratio / control
    if disturbed > OPEN and abs(ratio - 1) < 2 * disturbed:
        verdict = Verdict.OPEN
    elif ratio > 1 + LEAST and own > 1 + CONTROL:
        verdict = Verdict.SLOWER
    elif ratio < 1 - LEAST and own < 1 - CONTROL:
        verdict = Verdict.FASTER
    else:
        verdict = Verdict.SAME
    medians = old.call.p50_us, new.call.p50_us
    return Change(name, verdict, ratio, max(LEAST, disturbed), medians, old.sha256 == new.sha256)


def _per_image(stats: StoredStats, batch: int) -> float:
    return stats.fast_us / batch
