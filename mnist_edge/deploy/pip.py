"""Wheels for another system by this machine's pip, and what pip's failures mean."""

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from mnist_edge.core.errors import DeviceError
from mnist_edge.core.optional import installed
from mnist_edge.deploy.boards import TFLITE_32BIT, System

NETWORK = (
    "NewConnectionError",
    "NameResolutionError",
    "Temporary failure",
    "Max retries",
    "ConnectTimeout",
    "unreachable",
)
QUIET = ("--quiet", "--disable-pip-version-check", "--no-input", "--no-cache-dir")


def download(requirements: Iterable[str], system: System, folder: Path) -> None:
    """Put the wheels of `requirements` and of all they need, as `system` takes them, into a folder.

    Raises:
        DeviceError: there is no such wheel, no network, or no pip.
    """
    _foreign(["download", "--dest", str(folder)], requirements, system)


def install(requirements: Iterable[str], system: System, folder: Path) -> None:
    """Unpack the same wheels into a folder, to be put on PYTHONPATH there. Raises DeviceError."""
    _foreign(["install", "--target", str(folder)], requirements, system)


def _foreign(verb: list[str], requirements: Iterable[str], system: System) -> None:
    if not installed("pip"):
        raise DeviceError(f"pip is not in this environment. Put it there: {sys.executable} -m ensurepip")
    tags = [part for tag in system.tags for part in ("--platform", tag)]
    python = ["--only-binary=:all:", "--implementation", "cp", "--python-version", system.python]
    wanted = list(requirements)
    alone = [item for item in wanted if item in TFLITE_32BIT]  # it asks for NumPy, which Debian provides there
    for items, more in ((alone, ["--no-deps"]), ([item for item in wanted if item not in alone], [])):
        if items:
            command = [sys.executable, "-m", "pip", *verb, *QUIET, *python, *tags, *more, *items]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise DeviceError(f"for {system}, {reason(done.stderr)}")


def reason(stderr: str) -> str:
    """Say in a few words why pip failed, and what to do."""
    if "No space left" in stderr:
        return "pip ran out of disk. Free some space."
    if any(word in stderr for word in NETWORK):
        return "pip could not reach the package index. Is there a network?"
    if found := re.search(r"No matching distribution found for (\S+)", stderr):
        return f"there is no wheel of {found.group(1)}."
    lines = [line for line in stderr.splitlines() if line.startswith("ERROR")] or stderr.splitlines()
    return f"pip failed: {lines[-1][:300] if lines else 'no word'}"
