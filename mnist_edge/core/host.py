"""The machine that a result comes from."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Self

EMULATED = "MNIST_EDGE_EMULATED"
"""Environment variable; an emulation of a board sets it to what it emulates."""
ROOT = Path("/")


@dataclass(frozen=True)
class Host:
    """The machine; `governor` and `temperature` (°C) are None where the system does not say."""

    cpu: str
    machine: str
    cores: int
    governor: str | None
    temperature: float | None
    system: str
    python: str

    @classmethod
    def read(cls, root: Path = ROOT) -> Self:
        """Read it from the running system (Linux's /proc and /sys, else what Python's `platform` knows)."""
        return cls(
            cpu=os.environ.get(EMULATED) or _cpu_model(root),
            machine=platform.machine(),
            cores=os.cpu_count() or 1,
            governor=governor(root),
            temperature=temperature(root),
            system=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
        )

    def __str__(self) -> str:
        return f"{self.cpu} ({self.machine}, {self.cores} cores), {self.system}, Python {self.python}"


def governor(root: Path = ROOT, cpu: int = 0) -> str | None:
    """Return the frequency governor of a CPU; None where the system does not say."""
    return read_line(root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor")


def temperature(root: Path = ROOT) -> float | None:
    """Return the CPU's temperature in °C; None where the system does not say."""
    thousandths = read_number(root / "sys/class/thermal/thermal_zone0/temp")
    return None if thousandths is None else thousandths / 1000


def has_amx(root: Path = ROOT) -> bool:
    """Return whether the CPU has Intel's AMX for int8, as Linux's /proc/cpuinfo says."""
    try:
        return " amx_int8" in (root / "proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False  # not Linux


def _cpu_model(root: Path) -> str:
    """Return the board's name where the device tree has one (a Pi), else the CPU's."""
    if board := read_line(root / "proc/device-tree/model"):
        return board.rstrip("\0")
    try:
        for line in (root / "proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux: platform knows as much as can be known
    return platform.processor() or platform.machine()


def read_number(path: Path) -> int | None:
    """Return the whole number that a file holds; None where it holds none."""
    text = read_line(path)
    return int(text) if text and text.lstrip("-").isdigit() else None


def read_line(path: Path) -> str | None:
    """Return what a file of the system says, stripped; None where there is no such file or it is empty."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
