"""What machine a result comes from. Two results from different hosts are never compared silently."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Self

EMULATED = "MNIST_EDGE_EMULATED"
"""The variable in which an emulation says what it stands for."""


@dataclass(frozen=True)
class Host:
    """The machine and its state; `governor` and `temperature` (°C) are None where the system does not tell."""

    cpu: str
    machine: str
    cores: int
    governor: str | None
    temperature: float | None
    system: str
    python: str

    @classmethod
    def read(cls) -> Self:
        """Read it from the running system (Linux's /proc and /sys, else what Python's `platform` knows)."""
        celsius = _first_line(Path("/sys/class/thermal/thermal_zone0/temp"))
        return cls(
            cpu=os.environ.get(EMULATED) or _cpu_model(),
            machine=platform.machine(),
            cores=os.cpu_count() or 1,
            governor=_first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
            temperature=int(celsius) / 1000 if celsius and celsius.lstrip("-").isdigit() else None,
            system=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
        )

    def __str__(self) -> str:
        governor = f", governor {self.governor}" if self.governor else ""
        temperature = f", {self.temperature:.0f} °C" if self.temperature is not None else ""
        state = f"{self.machine}, {self.cores} cores{governor}{temperature}"
        return f"{self.cpu} ({state}), {self.system}, Python {self.python}"


def _cpu_model() -> str:
    """Give the board's name where the device tree has one (a Pi), else the CPU's."""
    if board := _first_line(Path("/proc/device-tree/model")):
        return board.rstrip("\0")
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux: platform knows as much as can be known
    return platform.processor() or platform.machine()


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
