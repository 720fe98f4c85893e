"""Wheels: our own package, made from what is installed, and those of other packages for another system."""

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from mnist_edge import __version__
from mnist_edge.core.errors import DeviceError, excerpt
from mnist_edge.core.optional import installed
from mnist_edge.core.system import System
from mnist_edge.formats import FORMATS

DISTRIBUTION = "mnist-edge"
NAME = f"mnist_edge-{__version__}-py3-none-any.whl"
CARRIED = ("METADATA", "entry_points.txt", "top_level.txt", "licenses/LICENSE")


def write_wheel(folder: Path) -> Path:
    """Write the wheel of the running package into a folder, the same bytes each time, and return its path.

    The form is that of the binary distribution format (PEP 427): the files, their metadata, and a RECORD of digests.

    Raises:
        DeviceError: the package runs from a folder that was never installed, so it has no metadata.
    """
    package = Path(__file__).parent.parent
    info = f"mnist_edge-{__version__}.dist-info"
    content = {
        f"{package.name}/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in sorted(package.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    content |= {f"{info}/{name}": text.encode() for name in CARRIED if (text := _distribution().read_text(name))}
    content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: mnist-edge\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    rows = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    path = folder / NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return path


def requirements() -> dict[str, str]:
    """Return what the base install needs: each package's name and its requirement, `click` and `click>=8.2`."""
    from packaging.requirements import Requirement

    parsed = map(Requirement, _distribution().requires or ())
    return {
        item.name: f"{item.name}{item.specifier}" for item in parsed if item.marker is None or item.marker.evaluate()
    }


def _distribution() -> metadata.Distribution:
    for distribution in metadata.distributions(name=DISTRIBUTION):
        if distribution.read_text("METADATA"):  # a checkout's egg-info, which python -m finds first, has none
            return distribution
    raise DeviceError(f"{DISTRIBUTION} runs from a folder and is not installed. Install it: make export")


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


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
    arm32 = {item for file_format in FORMATS.values() if file_format.runtime for item in file_format.runtime.arm32}
    alone = [item for item in wanted if item in arm32]  # it asks for NumPy, which Debian provides there
    for items, more in ((alone, ["--no-deps"]), ([item for item in wanted if item not in alone], [])):
        if items:
            command = [sys.executable, "-m", "pip", *verb, *QUIET, *python, *tags, *more, *items]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise DeviceError(f"for {system}, {reason(done.stderr)}")


def reason(stderr: str) -> str:
    """Return in a few words why pip failed, and what to do."""
    if "No space left" in stderr:
        return "pip ran out of disk. Free some space."
    if any(word in stderr for word in NETWORK):
        return "pip could not reach the package index. Is there a network?"
    if match := re.search(r"No matching distribution found for (\S+)", stderr):
        return f"there is no wheel of {match.group(1)}."
    lines = [line for line in stderr.splitlines() if line.startswith("ERROR")] or stderr.splitlines()
    return f"pip failed: {excerpt(lines[-1]) if lines else 'no message'}"
