"""The boards that are known: their systems, and the CPU models that qemu emulates them with."""

from dataclasses import dataclass

from mnist_edge.core.system import System


@dataclass(frozen=True)
class Release:
    """A Debian release with the CPU that a Raspberry Pi OS is built on; `debs` are what a bare Python there needs."""

    number: int
    suite: str
    architecture: str
    system: System
    debs: tuple[str, ...]

    def __str__(self) -> str:
        return f"Debian {self.number} {self.architecture}, Python {self.system.python}"


@dataclass(frozen=True)
class Board:
    """A board: `cpu` is what qemu calls its CPU, `emulator` is the qemu that runs it."""

    name: str
    title: str
    cpu: str
    emulator: str
    releases: tuple[Release, ...]


_PYTHON = ("python3", "libgomp1", "libstdc++6")
BOOKWORM = Release(12, "bookworm", "arm64", System("3.11", "aarch64", 36), _PYTHON)
TRIXIE = Release(13, "trixie", "arm64", System("3.13", "aarch64", 41), _PYTHON)
BOOKWORM_32 = Release(
    number=12,
    suite="bookworm",
    architecture="armhf",
    system=System("3.11", "armv7l", 36, bits=32),
    debs=("python3", "libstdc++6", "python3-numpy", "python3-pil"),
)
BOARDS = {
    board.name: board
    for board in (
        Board("rpi3", "Raspberry Pi 3", "cortex-a53", "qemu-aarch64", (BOOKWORM, TRIXIE)),
        Board("rpi4", "Raspberry Pi 4", "cortex-a72", "qemu-aarch64", (BOOKWORM, TRIXIE)),
        Board("rpi5", "Raspberry Pi 5", "cortex-a76", "qemu-aarch64", (BOOKWORM, TRIXIE)),
        Board("rpi-32bit", "Raspberry Pi, 32-bit system", "cortex-a7", "qemu-arm", (BOOKWORM_32,)),
    )
}
"""Every board that can be emulated, by name; 64-bit ones with both bases of today's Raspberry Pi OS."""


@dataclass(frozen=True)
class BoardSystem:
    """A kind of system that a bundle is made for, with the systems of its releases."""

    name: str
    title: str
    systems: tuple[System, ...]


def _systems(board: str) -> tuple[System, ...]:
    return tuple(release.system for release in BOARDS[board].releases)


SYSTEMS = {
    item.name: item
    for item in (
        BoardSystem("rpi", "a Raspberry Pi with a 64-bit system", _systems("rpi5")),
        BoardSystem("rpi-32bit", "a Raspberry Pi with a 32-bit system", _systems("rpi-32bit")),
    )
}


def board_system(system: System) -> BoardSystem:
    """Return the kind of system that a board's own system is."""
    return SYSTEMS["rpi-32bit" if system.arm32 else "rpi"]
