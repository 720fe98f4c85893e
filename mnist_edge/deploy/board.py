"""The steps on a board over ssh: ask what it is, copy a bundle, install, verify, bench, and fetch the results."""

import json
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

from mnist_edge.core.errors import DeviceError, FolderError
from mnist_edge.core.files import atomic_write
from mnist_edge.core.folder import BENCH, VERIFY
from mnist_edge.core.manifest import Manifest
from mnist_edge.core.reading import reading
from mnist_edge.core.system import System
from mnist_edge.core.text import one_line, printable
from mnist_edge.core.typed_json import structure
from mnist_edge.deploy.boards import board_system
from mnist_edge.deploy.bundle import SUFFIX, WHEELS, bundle, pinned
from mnist_edge.deploy.ssh import Connection
from mnist_edge.deploy.wheels import NAME as OWN_WHEEL
from mnist_edge.deploy.wheels import QUIET, reason

PYTHONS = ("3.11", "3.12", "3.13")


STALE_MINUTES = 180


PACKAGE = "package"


SPACE = 300e6  # an environment with both runtimes takes 220 MB on arm64, the bundle and pip's temporary files the rest


PROBE = """
import json, os, platform, shutil, sys
cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "mnist-edge")
os.makedirs(cache, exist_ok=True)
try:
    import ensurepip, venv
except ImportError:
    venv = None
import importlib.util
has = [name for name in ("numpy", "PIL") if importlib.util.find_spec(name)]
print(json.dumps({
    "has": has, "python": "%d.%d" % sys.version_info[:2], "machine": platform.machine(),
    "bits": 64 if sys.maxsize > 2**32 else 32,
    "glibc": platform.libc_ver()[1], "venv": venv is not None, "free": shutil.disk_usage(cache).free, "cache": cache,
}))
"""


Progress = Callable[[str], None]
Check = Callable[[Manifest, str, Path], bool]
"""Says whether nothing failed, by a board's results of a bundle: its manifest, the results' name, and their file."""


@dataclass(frozen=True)
class Results:
    """The folder that gets a board's results, and what says whether they are of the right form and passed."""

    folder: Path
    check: Check


@dataclass(frozen=True)
class BoardOptions:
    """Whether to bring wheels along, the options of `mnist-edge bench` there, and the width of the terminal."""

    wheels: bool = False
    bench: tuple[str, ...] = ()
    width: int = 80


@dataclass(frozen=True)
class Outcome:
    """Whether all files passed on the board, and both tables as it printed them, fit for a terminal."""

    passed: bool
    text: str


@dataclass(frozen=True)
class ProbeAnswer:
    """What a board says of itself."""

    has: tuple[str, ...]
    python: str
    machine: str
    bits: int
    glibc: str
    venv: bool
    free: int
    cache: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the answer in the last line of a text. Raises ValueError where it has another form."""
        answer = structure(json.loads((text.splitlines() or [""])[-1]), cls)
        good = {
            "python": re.fullmatch(r"\d\.\d{1,2}", answer.python, re.ASCII),
            "machine": re.fullmatch(r"\w{1,32}", answer.machine, re.ASCII),
            "bits": answer.bits in (32, 64),
            "glibc": re.fullmatch(r"(\d\.\d{1,3}(\.\d+)?)?", answer.glibc, re.ASCII),
            "free": 0 <= answer.free < 2**63,
            "cache": len(answer.cache) < 1000 and answer.cache.startswith("/") and answer.cache.isprintable(),
        }
        if wrong := [name for name, right in good.items() if not right]:
            raise ValueError(f"{wrong[0]} is {getattr(answer, wrong[0])!r:.60}")
        return answer


@dataclass(frozen=True)
class RemoteSystem:
    """The system of a board that was reached, and the folder of our cache there; `free` are bytes."""

    system: System
    cache: str
    free: int
    venv: bool
    has: tuple[str, ...]

    @property
    def environment(self) -> str:
        """Return the path of the private environment there, quoted for a shell."""
        return shlex.quote(f"{self.cache}/venv-{self.system.python}")

    @classmethod
    def probe(cls, ssh: "Connection") -> Self:
        """Return what the board says of itself.

        Raises:
            DeviceError: it has no Python that we run on, or cannot write.
        """
        if ssh.run("command -v python3").returncode:
            raise DeviceError(f"{ssh.destination} has no python3. Install it there: sudo apt install python3-venv")
        done = ssh.run(f"python3 -c {shlex.quote(PROBE)}")
        if done.returncode:
            raise ssh.failure("its Python could not be asked what it is", done)
        with reading(DeviceError, f"{ssh.destination} says of itself what no board does"):
            answer = ProbeAnswer.parse(done.stdout)
        minor = answer.glibc.split(".")[1] if answer.glibc else "0"
        system = System(answer.python, answer.machine, int(minor), answer.bits)
        if system.python not in PYTHONS:
            raise DeviceError(
                f"{ssh.destination} has Python {system.python}; mnist-edge needs {PYTHONS[0]} to {PYTHONS[-1]}. "
                "Raspberry Pi OS of Debian 12 or 13 has one."
            )
        return cls(system, answer.cache, answer.free, answer.venv, answer.has)


def run_on_board(
    destination: str, folder: Path, results: Results, options: BoardOptions, on_progress: Progress
) -> Outcome:
    """Verify and time an export on a board; only our cache is left there.

    Args:
        destination: as ssh takes it.
        folder: the export folder.
        results: the folder here that gets `verify.json` and `bench.json`, and what they are checked with before.
        options: wheels, options of bench, the width of the terminal.
        on_progress: called with one line before each step.

    Raises:
        DeviceError: a step failed; the message says which, and what to do.
    """
    manifest = Manifest.read(folder)
    with Connection.to(destination) as ssh:
        on_progress(f"Connected to {destination}.")
        remote = RemoteSystem.probe(ssh)
        on_progress(f"It has {remote.system}, {remote.free / 1e6:,.0f} MB free.")
        requirements = pinned(manifest, remote.system)
        ready = ssh.run(f"{remote.environment}/bin/python -m pip --version").returncode == 0
        _check_room(ssh, remote, ready)
        with _copied(ssh, remote, folder, options.wheels, on_progress) as (there, bundled):
            on_progress("Making the environment ready …")
            _make_environment(ssh, remote)
            _install(ssh, remote, requirements, there, offline=options.wheels)
            quoted = shlex.quote(there)
            settings = f"COLUMNS={options.width} PYTHONPATH={quoted}/{PACKAGE} XDG_CACHE_HOME={quoted}"
            command = f"cd {quoted} && {settings} {remote.environment}/bin/python -m mnist_edge"
            on_progress("Verifying …")
            verified = ssh.run(f"{command} verify .")
            if verified.returncode not in (0, 1):
                raise ssh.failure("verify failed", verified)
            passed = _fetch(ssh, there, VERIFY, results, bundled)
            (results.folder / BENCH).unlink(missing_ok=True)  # of an earlier run, perhaps of other files
            on_progress("Timing …")
            timed = ssh.run(f"{command} bench . {shlex.join(options.bench)}")
            if timed.returncode:
                raise ssh.failure(f"bench failed; the verdict is in {results.folder}", timed)
            _fetch(ssh, there, BENCH, results, bundled)
    return Outcome(passed and verified.returncode == 0, printable(verified.stdout + timed.stdout))


def _check_room(ssh: Connection, remote: RemoteSystem, ready: bool) -> None:
    if not ready and remote.free < SPACE:
        raise DeviceError(
            f"{ssh.destination}: its disk is full: {remote.free / 1e6:.0f} MB free in {remote.cache}, "
            f"{SPACE / 1e6:.0f} are needed once. Free some space there."
        )
    modules = {"numpy": "numpy", "Pillow": "PIL"}
    if absent := [name for name in remote.system.provided if modules[name] not in remote.has]:
        raise DeviceError(
            f"{ssh.destination} is a 32-bit system without {' and '.join(absent)}, which have no wheels for it. "
            "Install Debian's own there: sudo apt install python3-numpy python3-pil"
        )
    if not ready and not remote.venv:
        raise DeviceError(f"{ssh.destination} has no venv module. Install it there: sudo apt install python3-venv")


@contextmanager
def _copied(
    ssh: Connection, remote: RemoteSystem, folder: Path, wheels: bool, on_progress: Progress
) -> Iterator[tuple[str, Manifest]]:
    """Yield the path and manifest of the bundle, unpacked on the board; it is removed at the end, whatever happens."""
    with tempfile.TemporaryDirectory() as name:
        archive = Path(name) / f"bundle{SUFFIX}"
        bundled = bundle(folder, archive, board_system(remote.system), [remote.system] if wheels else ())
        content = archive.read_bytes()
    on_progress(f"Copying the bundle, {len(content) / 1e6:.1f} MB …")
    cache = shlex.quote(remote.cache)
    stale = (
        f"find {cache} -maxdepth 1 -name 'run-*' -mmin +{STALE_MINUTES} -exec rm -rf {{}} +"  # runs that were killed
    )
    place = f"{remote.cache}/run-{uuid4().hex}"
    created = ssh.run(f"{stale}; mkdir -m 700 {shlex.quote(place)}")
    if created.returncode:
        raise ssh.failure("no folder could be made", created)
    try:
        done = ssh.run(f"tar -xzf - -C {shlex.quote(place)}", content)
        if done.returncode:
            raise ssh.failure("the bundle could not be unpacked", done)
        yield f"{place}/bundle", bundled
    finally:
        ssh.run(f"rm -rf {shlex.quote(place)}")


def _lock(remote: RemoteSystem) -> str:
    """Return the shell code that lets one run at a time change the environment."""
    return f"exec 9>{shlex.quote(remote.cache)}/lock; command -v flock >/dev/null && flock 9"


def _make_environment(ssh: Connection, remote: RemoteSystem) -> None:
    """Make the private environment where there is none, or a broken one."""
    site = "--system-site-packages " if remote.system.provided else ""
    environment = remote.environment
    works = f"{environment}/bin/python -m pip --version >/dev/null 2>&1"
    make = f"{works} || {{ rm -rf {environment}; python3 -m venv {site}{environment}; }}"
    done = ssh.run(f"{_lock(remote)}; {make}")
    if done.returncode:
        raise ssh.failure("the environment could not be made", done)


def _install(ssh: Connection, remote: RemoteSystem, requirements: list[str], there: str, *, offline: bool) -> None:
    """Install the runtimes into the environment, and unpack our own wheel beside the bundle."""
    source = ["--no-index", "--find-links", f"{there}/{WHEELS}"] if offline else []
    install = f"{_lock(remote)}; {remote.environment}/bin/python -m pip install {shlex.join([*QUIET, *source])}"
    own = shlex.join(["--no-deps", "--target", f"{there}/{PACKAGE}", f"{there}/{OWN_WHEEL}"])
    for packages in (shlex.join(requirements), own):
        done = ssh.run(f"{install} {packages}")
        if done.returncode:
            why = reason(done.stderr)
            hint = " Or bring the wheels along: --wheels" if "network" in why else ""
            raise DeviceError(f"{ssh.destination}, {remote.system}: {why}{hint}")


def _fetch(ssh: Connection, there: str, name: str, results: Results, bundled: Manifest) -> bool:
    """Bring results home, which are kept only where they stand the check; return whether nothing failed."""
    done = ssh.run(f"cat {shlex.quote(f'{there}/{name}')}")
    if done.returncode:
        raise ssh.failure("the results could not be fetched", done)
    with atomic_write(results.folder / name) as temporary:
        temporary.write_text(done.stdout, encoding="utf-8")
        try:
            return results.check(bundled, name, temporary)
        except FolderError as error:
            why = one_line(str(error).replace(str(temporary), "it"))
            raise DeviceError(f"{ssh.destination} sent a {name} that cannot be believed: {why}") from error
