"""The system that a Python runs on: which wheels fit it, and how a runtime is installed there."""

import platform
import sys
from dataclasses import dataclass
from functools import cached_property

from mnist_edge.core.optional import pip_install

OLDEST_GLIBC = 17
PYTHON_32BIT = "3.11"  # the only Python of a Raspberry Pi OS for which 32-bit ARM wheels of a runtime exist
INSTEAD = "The 64-bit Raspberry Pi OS has them all"
UNTESTED = "mnist-edge is tested on Linux, x86-64 and 64-bit ARM, alone"


@dataclass(frozen=True)
class System:
    """What decides which wheels fit: Python's version, the CPU as `platform.machine` says it, and glibc 2.`glibc`.

    `bits` are those of Python itself: a 32-bit Raspberry Pi OS may run on a 64-bit kernel, which names another CPU.
    """

    python: str
    machine: str
    glibc: int
    bits: int = 64

    @classmethod
    def here(cls) -> "System":
        """Return the system that this Python runs on."""
        glibc = platform.libc_ver()[1].partition(".")[2]
        bits = 64 if sys.maxsize > 2**32 else 32
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        return cls(python, platform.machine(), int(glibc) if glibc.isdigit() else 0, bits)

    @property
    def arm32(self) -> bool:
        """Return whether this is 32-bit ARM of the seventh version or later (all Pis but the first and the Zero)."""
        return self.bits == 32 and self.machine in ("armv7l", "armv8l", "aarch64")

    @property
    def provided(self) -> tuple[str, ...]:
        """Return the packages that Debian has to provide, as there are no wheels of them."""
        return ("numpy", "Pillow") if self.arm32 else ()

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """Return the platforms whose wheels fit, the newest first, as pip's --platform wants them."""
        machine = "armv7l" if self.arm32 else self.machine
        newest = (f"manylinux_2_{minor}_{machine}" for minor in range(self.glibc, OLDEST_GLIBC - 1, -1))
        return (*newest, f"manylinux2014_{machine}")

    def __str__(self) -> str:
        return f"Python {self.python} on {self.bits}-bit {self.machine}"


@dataclass(frozen=True)
class RuntimePackages:
    """What pip installs to run the files of a format.

    `extra` is the pip extra of ours for it, `package` the runtime that the extra names, and `arm32` what 32-bit ARM
    needs instead; empty where it has no wheel.
    """

    extra: str
    package: str
    arm32: tuple[str, ...] = ()

    def on(self, system: System) -> tuple[str, ...]:
        """Return the requirements to install on a system; none where there is no wheel."""
        if system.arm32:
            return self.arm32 if system.python == PYTHON_32BIT else ()
        has_wheels = system.machine in ("x86_64", "aarch64", "arm64", "AMD64") and system.bits == 64
        return (self.package,) if has_wheels else ()

    def how_to_install(self) -> str:
        """Return the command for this Python and CPU in a sentence, or why there is none."""
        here = System.here()
        if packages := self.on(here):
            command = pip_install(*packages)
            hint = " (with Debian's own NumPy: apt install python3-numpy)" if here.arm32 else ""
            hint += "" if sys.platform == "linux" else f" ({UNTESTED}: on {platform.system()} it may have no wheel)"
            hint += "" if here.glibc or sys.platform != "linux" else " (wheels are for glibc, which this system lacks)"
            return f"Install one: {command}{hint}"
        if here.arm32 and self.arm32:
            only = f"32-bit ARM has one for Python {PYTHON_32BIT} alone (Raspberry Pi OS 12)"
            return f"There is no wheel of it for {here}: {only}. {INSTEAD}."
        instead = f"the .tflite files run there. {INSTEAD}" if here.arm32 else "x86-64 and 64-bit ARM have one"
        return f"There is no wheel of {self.package} for {here}; {instead}."
