"""Debian's packages of any release and CPU, unpacked into a folder as any user may: no root, nothing installed."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from mnist_edge.core.errors import DeviceError
from mnist_edge.core.files import publish_folder, temporary_folder
from mnist_edge.core.text import one_line

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR_VARIABLE = "MNIST_EDGE_DEBIAN_MIRROR"
SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d")
MERGED = ("bin", "lib", "sbin")  # a package's own /lib lands in /usr/lib, as on a merged-/usr system


def unpack(suite: str, architecture: str, packages: Iterable[str], folder: Path) -> None:
    """Download packages with all that they depend on, and unpack them into `folder`, which is made whole or not at all.

    Args:
        suite: the release's name, `bookworm` or `trixie`.
        architecture: Debian's word for it: `amd64`, `arm64`, `armhf`.
        packages: their names.
        folder: where to; must not be there yet.

    Raises:
        DeviceError: apt is not here, no mirror is known, or the download failed.
    """
    for tool in ("apt-get", "dpkg-deb", "tar"):
        if shutil.which(tool) is None:
            raise DeviceError(f"{tool} is not here; this step needs a Debian or Ubuntu machine, or a container of one.")
    if not KEYRING.is_file():
        raise DeviceError(f"{KEYRING} is not here. Install it: apt-get install debian-archive-keyring")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(folder.parent) as work:
        source = f"deb [arch={architecture} signed-by={KEYRING}] {mirror()} {suite} main\n"
        (work / "sources.list").write_text(source, encoding="utf-8")
        for part in ("lists/partial", "cache/archives/partial", "preferences", "tree"):
            (work / part).mkdir(parents=True)
        (work / "status").touch()
        _apt(work, architecture, "update")
        _apt(work, architecture, "install", "--download-only", "--no-install-recommends", "--yes", *packages)
        tree = work / "tree"
        for part in MERGED:
            (tree / "usr" / part).mkdir(parents=True)
            (tree / part).symlink_to(f"usr/{part}")
        for archive in sorted((work / "cache" / "archives").glob("*.deb")):
            _unpack(archive, tree)
        publish_folder(tree, folder)


def native() -> str:
    """Return Debian's word for this machine's CPU. Raises DeviceError where this is no Debian."""
    try:
        done = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise DeviceError(f"dpkg is not here ({error}); this step needs a Debian or Ubuntu machine.") from error
    return done.stdout.strip()


def mirror() -> str:
    """Return the mirror that MNIST_EDGE_DEBIAN_MIRROR names, else the machine's own. Raises DeviceError."""
    if named := os.environ.get(MIRROR_VARIABLE):
        return named
    addresses = []
    for place in map(Path, SOURCES):
        for path in sorted(place.iterdir()) if place.is_dir() else [place]:
            text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
            for name in re.findall(
                r"^[^#\n]*?mirror\+file:(/\S+)", text, flags=re.M
            ):  # as Debian's cloud images have it
                text += Path(name).read_text(encoding="utf-8") if Path(name).is_file() else ""
            addresses += re.findall(r"^[^#\n]*?(\w+://\S+/debian)/?(?=\s|$)", text, flags=re.M)
    for address in sorted(addresses, key=lambda address: "debian.org" not in address):  # before other vendors' /debian
        return str(address)
    raise DeviceError(
        f"apt's sources name no Debian mirror (is this Ubuntu?). Set {MIRROR_VARIABLE} to the address of one."
    )


def _apt(work: Path, architecture: str, *command: str) -> None:
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "",
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": work / "preferences",
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "Debug::NoLocking": "true",
    }
    options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
    done = subprocess.run(["apt-get", "-qq", *options, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()
        raise DeviceError(f"apt-get {command[0]} failed: {one_line(' '.join(lines)) or 'no word'}. Is there a network?")


def _unpack(archive: Path, tree: Path) -> None:
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as files:
        command = ["tar", "-x", "-C", str(tree), "--keep-directory-symlink", "--no-same-owner"]
        done = subprocess.run(command, stdin=files.stdout, capture_output=True, text=True, check=False)
    if done.returncode or files.returncode:
        raise DeviceError(f"{archive.name} could not be unpacked: {one_line(done.stderr)}. Is the disk full?")
