"""The state of this machine around a measurement, and the CPU that a process keeps to."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mnist_edge.core.errors import HostError
from mnist_edge.core.host import ROOT, governor, read_line, read_number, temperature

STEADY = 0.03  # a clock that moves by more is another clock; a Raspberry Pi's smallest step is 4 %


FLAGS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")  # bits 0–3; 16–19 since boot


@dataclass(frozen=True)
class State:
    """What changes on a machine while it works; None where the system does not say.

    `clock` is in MHz, `temperature` in °C; `throttled` is the Raspberry Pi firmware's bit field.
    """

    governor: str | None
    clock: float | None
    temperature: float | None
    throttled: int | None

    @classmethod
    def read(cls, cpu: int | None = None, root: Path = ROOT) -> Self:
        """Return the state that Linux's /sys under `root` shows, with the clock of `cpu`, or of the fastest CPU."""
        cpus = root / "sys/devices/system/cpu"
        folders = [cpus / f"cpu{cpu}"] if cpu is not None else sorted(cpus.glob("cpu[0-9]*"))
        clocks = [read_number(folder / "cpufreq/scaling_cur_freq") for folder in folders]
        return cls(
            clock=max((clock / 1000 for clock in clocks if clock), default=None),
            governor=governor(root, cpu or 0),
            temperature=temperature(root),
            throttled=_throttled(root),
        )

    @property
    def throttled_now(self) -> tuple[str, ...]:
        """Return the flags that are set, in words."""
        return tuple(name for bit, name in enumerate(FLAGS) if (self.throttled or 0) >> bit & 1)

    @property
    def throttled_since_boot(self) -> tuple[str, ...]:
        """Return the flags that were set at any time since the machine started, in words."""
        return tuple(name for bit, name in enumerate(FLAGS, 16) if (self.throttled or 0) >> bit & 1)


def stability_warnings(before: State, after: State) -> list[str]:
    """Return a line for each change between two states that makes figures measured in between doubtful."""
    lines = []
    if before.clock and after.clock and abs(after.clock / before.clock - 1) > STEADY:
        lines.append(
            f"the CPU clock changed from {before.clock:.0f} to {after.clock:.0f} MHz while it was measured. "
            "Set a fixed one (governor performance), warm up longer, or cool the board."
        )
    if before.governor and after.governor and before.governor != after.governor:
        lines.append(f"the governor changed from {before.governor} to {after.governor} while it was measured.")
    new = set(after.throttled_since_boot) - set(before.throttled_since_boot)
    flags = {*before.throttled_now, *after.throttled_now, *new}
    if flags and None not in (before.throttled, after.throttled):
        names = ", ".join(name for name in FLAGS if name in flags)
        lines.append(f"the CPU was slowed down while it was measured: {names}. Mend the power supply or the cooling.")
    return lines


def describe_change(before: State, after: State) -> str:
    """Return two states in one line: `governor ondemand; temperature 48 °C → 61 °C`, and what is not known."""
    known, unknown = [], []
    for name, was, now in (
        ("governor", before.governor, after.governor),
        ("clock", _rounded(before.clock, "MHz"), _rounded(after.clock, "MHz")),
        ("temperature", _rounded(before.temperature, "°C"), _rounded(after.temperature, "°C")),
        ("throttling", _throttling(before), _throttling(after)),
    ):
        if was is None or now is None:
            unknown.append(name)
        else:
            known.append(f"{name} {was}" if was == now else f"{name} {was} → {now}")
    if before.throttled_since_boot:
        known.append(f"earlier since boot: {', '.join(before.throttled_since_boot)}")
    if unknown:
        known.append(f"not known here: {', '.join(unknown)}")
    return "; ".join(known)


def _rounded(value: float | None, unit: str) -> str | None:
    return None if value is None else f"{value:.0f} {unit}"


def _throttling(state: State) -> str | None:
    return None if state.throttled is None else ", ".join(state.throttled_now) or "none"


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def pinned(cpu: int | None) -> Iterator[None]:
    """Keep this process on one CPU while the block runs; None leaves it free.

    The threads that there are move now, those that are started inside inherit it: open runtimes inside. At the end all
    may run where the main thread could before.

    Raises:
        HostError: there is no such CPU for this process, or the system cannot pin.
    """
    if cpu is None:
        yield
        return
    if not hasattr(os, "sched_setaffinity"):
        raise HostError(f"{platform.system()} does not let a process choose its CPU. Leave --cpu out.")
    usual = os.sched_getaffinity(0)
    if cpu not in usual:
        raise HostError(f"this process cannot run on CPU {cpu}. Choose one of {', '.join(map(str, sorted(usual)))}.")
    for thread in _threads():
        _move(thread, {cpu})
    try:
        yield
    finally:
        for thread in _threads():
            _move(thread, usual)


def _threads() -> list[int]:
    return [int(entry.name) for entry in Path("/proc/self/task").iterdir()]


def _move(thread: int, cpus: set[int]) -> None:
    with suppress(ProcessLookupError):  # it has ended
        os.sched_setaffinity(thread, cpus)


def _throttled(root: Path) -> int | None:
    """Return the firmware's bits: from its file in /sys (a Pi 5 has an address in that path), else from vcgencmd."""
    paths = sorted(root.glob("sys/devices/platform/soc*/soc*:firmware/get_throttled"))
    text = read_line(paths[0]) if paths else _vcgencmd()
    try:
        return int(text.rpartition("=")[2], 16) if text else None
    except ValueError:
        return None


def _vcgencmd() -> str | None:
    """Return what the Pi's own tool says, `throttled=0x50005`; None where it is missing or may not ask."""
    import shutil
    import subprocess

    if (command := shutil.which("vcgencmd")) is None:
        return None
    try:
        done = subprocess.run([command, "get_throttled"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
