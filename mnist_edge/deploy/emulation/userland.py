"""A board without the board: its Debian userland and its real wheels under qemu, as any user may run them."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mnist_edge.core.errors import DeviceError
from mnist_edge.core.files import atomic_write, publish_folder, temporary_folder
from mnist_edge.core.folder import VERIFY
from mnist_edge.core.host import EMULATED
from mnist_edge.core.manifest import Manifest
from mnist_edge.core.text import one_line, printable
from mnist_edge.deploy.boards import Board, Release, board_system
from mnist_edge.deploy.bundle import SUFFIX, bundle, pinned
from mnist_edge.deploy.emulation import debian
from mnist_edge.deploy.wheels import install

LEAST_QEMU = 10
QEMU_VARIABLE = "MNIST_EDGE_QEMU"
GET_QEMU = "Get it without root: mnist-edge device qemu (or install the package qemu-user of Debian 13 or newer)."
EMULATORS = ("qemu-aarch64", "qemu-arm", "qemu-x86_64")
Progress = Callable[[str], None]


def cache() -> Path:
    """Return the folder that holds userlands, wheels and qemu."""
    from platformdirs import user_cache_path

    return user_cache_path("mnist-edge") / "device"


@dataclass(frozen=True)
class Userland:
    """A board's userland, ready to run Python; `site` holds the packages for it."""

    board: Board
    release: Release
    qemu: str
    root: Path
    site: Path

    @property
    def title(self) -> str:
        """Return what is emulated, in words that leave no doubt that it is not the board."""
        return f"{self.board.title} ({self.board.cpu}) emulated by qemu"

    def python(self, *arguments: str, package: Path, width: int = 80) -> subprocess.CompletedProcess[str]:
        """Run the emulated Python, without this machine's dataset and settings.

        Args:
            arguments: of Python.
            package: the folder that holds our own package.
            width: of the terminal.
        """
        libraries = self.root / "usr" / "lib"
        triplet = next(libraries.glob("*-linux-gnu*"))
        shared = ":".join(map(str, (triplet, triplet / "blas", triplet / "lapack")))
        python = f"{self.root}/usr/bin/python{self.release.system.python}"
        options = ["-cpu", self.board.cpu, "-L", str(self.root), "-E", f"LD_LIBRARY_PATH={shared}"]
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(package),
            "LANG": "C.UTF-8",
            "COLUMNS": str(width),
            "PYTHONHOME": f"{self.root}/usr",
            "PYTHONPATH": ":".join(map(str, (package, self.site, libraries / "python3" / "dist-packages"))),
            EMULATED: self.title,
        }
        command = [self.qemu, *options, python, *arguments]
        return subprocess.run(command, cwd=package, env=env, capture_output=True, text=True, check=False)

    @contextmanager
    def unpacked(self, folder: Path) -> Iterator[tuple[Path, Path]]:
        """Yield an export's bundle, unpacked as on a board, and the folder of the bundle's own package."""
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            archive = work / f"bundle{SUFFIX}"
            bundle(folder, archive, board_system(self.release.system))
            with tarfile.open(archive) as content:
                content.extractall(work, filter="data")
            (wheel,) = (work / "bundle").glob("*.whl")
            with zipfile.ZipFile(wheel) as content:
                content.extractall(work / "package")
            yield work / "bundle", work / "package"


def prepare(board: Board, release: Release, manifest: Manifest, on_progress: Progress) -> Userland:
    """Find qemu, and build the userland and its packages where the cache does not have them.

    Raises:
        DeviceError: qemu is missing or too old, or something could not be downloaded.
    """
    emulator = qemu(board.emulator)
    root = cache() / f"{release.suite}-{release.architecture}"
    if not root.is_dir():
        on_progress(f"Unpacking {release} into {root}, once …")
        debian.unpack(release.suite, release.architecture, release.debs, root)
    needed = pinned(manifest, release.system)
    key = hashlib.sha256("\n".join(needed).encode()).hexdigest()[:12]
    site = cache() / f"{root.name}-site-{key}"
    if not site.is_dir():
        on_progress(f"Downloading its wheels ({', '.join(needed)}), once …")
        with temporary_folder(cache()) as work:
            install(needed, release.system, work / "site")
            publish_folder(work / "site", site)
    return Userland(board, release, emulator, root, site)


def verify(userland: Userland, folder: Path, images: int | None, results: Path, width: int) -> tuple[int, str]:
    """Run `mnist-edge verify` there on the bundle of an export folder.

    Args:
        userland: where.
        folder: the export folder.
        images: how many golden images to use; all where it is None.
        results: the folder that gets `verify.json`.
        width: of the terminal.

    Returns:
        The exit code, 0 or 1, and what was printed.

    Raises:
        DeviceError: it could not run to its end.
    """
    with userland.unpacked(folder) as (bundled, package):
        some = [] if images is None else ["--images", str(images)]
        done = userland.python("-m", "mnist_edge", "verify", str(bundled), *some, package=package, width=width)
        if done.returncode not in (0, 1) or not (bundled / VERIFY).is_file():
            lines = done.stderr.strip().splitlines()
            raise DeviceError(f"under {userland.title}: {one_line(lines[-1]) if lines else f'exit {done.returncode}'}")
        with atomic_write(results / VERIFY) as temporary:
            shutil.copyfile(bundled / VERIFY, temporary)
    return done.returncode, printable(done.stdout)


def qemu(name: str) -> str:
    """Return the path of qemu's user-mode emulator: in MNIST_EDGE_QEMU, in PATH, in our cache.

    Raises:
        DeviceError: there is none, or only one that crashes inside the runtimes.
    """
    places = os.environ.get(QEMU_VARIABLE, ""), os.environ.get("PATH", ""), str(_own_qemu())
    old = ""
    for place in places:
        if path := shutil.which(name, path=place):
            output = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
            version = number.group(1) if (number := re.search(r"version (\d+[\d.]*)", output)) else "0"
            if int(version.partition(".")[0]) >= LEAST_QEMU:
                return path
            old = f"{path} is version {version}, which crashes inside the runtimes; version {LEAST_QEMU} is needed. "
    raise DeviceError(f"{old or f'{name} is not here. '}{GET_QEMU}")


def fetch_qemu() -> Path:
    """Put Debian 13's static emulators into the cache, where they are not there yet, and give their folder."""
    target = _own_qemu()
    if not target.is_dir():
        cache().mkdir(parents=True, exist_ok=True)
        with temporary_folder(cache()) as work:
            tree, selected = work / "tree", work / "selected"
            debian.unpack("trixie", debian.native(), ["qemu-user"], tree)
            selected.mkdir()
            for emulator in EMULATORS:  # the others take 400 MB
                (tree / "usr" / "bin" / emulator).resolve().replace(selected / emulator)
            publish_folder(selected, target)
    return target


def _own_qemu() -> Path:
    return cache() / "qemu"
