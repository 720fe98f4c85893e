"""The system that a Python runs on: which wheels fit it, and how a runtime is installed there."""

import platform
import sys
from dataclasses import dataclass
from functools import cached_property

from mnist_edge.core.optional import pip_install

OLDEST_GLIBC = 17


TFLITE_32BIT = ("tflite-runtime==2.14.0", "numpy<2")
"""The last TFLite runtime with wheels for 32-bit ARM (Python 3.9 and 3.11); it wants NumPy 1."""


PYTHON_32BIT = "3.11"


RUNTIMES = {"tflite": "ai-edge-litert", "onnx": "onnxruntime"}


RUNTIMES_32BIT = {"tflite": TFLITE_32BIT}


INSTEAD = "The 64-bit Raspberry Pi OS has them all"


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
        """The packages that have to be Debian's own, as there are no wheels of them."""
        return ("numpy", "Pillow") if self.arm32 else ()

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """The platforms whose wheels it takes, the newest first, as pip's --platform wants them."""
        machine = "armv7l" if self.arm32 else self.machine
        newest = (f"manylinux_2_{minor}_{machine}" for minor in range(self.glibc, OLDEST_GLIBC - 1, -1))
        return (*newest, f"manylinux2014_{machine}")

    def runtime(self, extra: str) -> tuple[str, ...]:
        """Return what pip has to install for an extra of ours, `tflite` or `onnx`; nothing where there is no wheel."""
        if self.arm32:
            return RUNTIMES_32BIT.get(extra, ()) if self.python == PYTHON_32BIT else ()
        if self.machine not in ("x86_64", "aarch64", "arm64", "AMD64") or self.bits == 32:
            return ()
        return (RUNTIMES[extra],)

    def __str__(self) -> str:
        return f"Python {self.python} on {self.bits}-bit {self.machine}"


def how_to_install(extra: str) -> str:
    """Say how to get the runtime of an extra, `tflite` or `onnx`, for this Python and CPU, or why there is none."""
    here = System.here()
    packages = here.runtime(extra)
    if packages:
        command = pip_install(*(repr(package) if "<" in package else package for package in packages))
        hint = " (with Debian's own NumPy: apt install python3-numpy)" if here.arm32 else ""
        return f"Install one: {command}{hint}"
    if here.arm32 and extra in RUNTIMES_32BIT:
        wanted = f"32-bit ARM has one for Python {PYTHON_32BIT} alone (Raspberry Pi OS 12)"
        return f"There is no wheel of it for {here}: {wanted}. {INSTEAD}."
    instead = f"the .tflite files run there. {INSTEAD}" if here.arm32 else "x86-64 and 64-bit ARM have one"
    return f"There is no wheel of {RUNTIMES[extra]} for {here}; {instead}."
