"""An export goes to a board over the user's own ssh, is verified and timed there, and the results come home."""

import json
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from mnist_edge.core.errors import DeviceError
from mnist_edge.core.files import atomic_write
from mnist_edge.core.folder import BENCH, VERIFY
from mnist_edge.core.manifest import Manifest
from mnist_edge.core.system import System
from mnist_edge.deploy.bundle import SUFFIX, WHEELS, bundle, pinned
from mnist_edge.deploy.wheels import NAME as OWN_WHEEL
from mnist_edge.deploy.wheels import QUIET, reason

CONNECT_SECONDS = 15
MARK = "mnist-edge-answers"
UNREACHABLE = 255  # ssh's own exit code; all others are the remote command's
PYTHONS = ("3.11", "3.12", "3.13")
FORGOTTEN = 180  # minutes
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


@dataclass(frozen=True)
class Outcome:
    """What the board said: `verify`'s exit code, 0 or 1, and both tables as it printed them."""

    code: int
    text: str


@dataclass(frozen=True)
class Board:
    """A board that was reached: its system, and the folder of our cache there."""

    system: System
    cache: str
    free: int
    venv: bool
    has: list[str]

    @classmethod
    def probe(cls, ssh: "Connection") -> Self:
        """Ask the board what it is.

        Raises:
            DeviceError: it has no Python that we run on, or cannot write.
        """
        if ssh.run("command -v python3").returncode:
            raise DeviceError(f"{ssh.destination} has no python3. Install it there: sudo apt install python3-venv")
        done = ssh.run(f"python3 -c {shlex.quote(PROBE)}")
        if done.returncode:
            raise ssh.failure("its Python could not be asked what it is", done)
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        minor = told["glibc"].partition(".")[2]
        system = System(told["python"], told["machine"], int(minor) if minor.isdigit() else 0, told["bits"])
        if system.python not in PYTHONS:
            raise DeviceError(
                f"{ssh.destination} has Python {system.python}; mnist-edge needs {PYTHONS[0]} to {PYTHONS[-1]}. "
                "Raspberry Pi OS of Debian 12 or 13 has one."
            )
        return cls(system, told["cache"], told["free"], told["venv"], told["has"])


class Connection:
    """One ssh connection that all steps share, so that a password is asked for once."""

    def __init__(self, destination: str, control: Path) -> None:
        self.destination = destination
        options = ["ControlMaster=auto", f'ControlPath="{control}"', "ControlPersist=60"]
        options += [f"ConnectTimeout={CONNECT_SECONDS}", "ServerAliveInterval=15"]
        self._ssh = ["ssh", *(part for option in options for part in ("-o", option)), "--", destination]

    @classmethod
    @contextmanager
    def to(cls, destination: str) -> Iterator[Self]:
        """Connect, and close the connection at the end.

        Raises:
            DeviceError: there is no ssh, or it does not get there.
        """
        if not destination or destination.startswith("-"):
            raise DeviceError(f"{destination!r} is no ssh destination. Say user@host, or a Host of your ~/.ssh/config.")
        if shutil.which("ssh") is None:
            raise DeviceError("ssh is not here. Install it: apt install openssh-client")
        with tempfile.TemporaryDirectory(prefix="me-") as name:  # a socket's path may have 100 characters
            ssh = cls(destination, Path(name) / "ssh")
            try:
                ssh.run("true")
                yield ssh
            finally:
                subprocess.run([*ssh._ssh[:-2], "-O", "exit", "--", destination], capture_output=True, check=False)

    def run(self, script: str, content: bytes | None = None) -> subprocess.CompletedProcess[str]:
        """Run a script in the board's `sh`, with `content` as its standard input.

        Raises:
            DeviceError: ssh could not connect.
        """
        marked = f"echo {MARK}; {script}"  # what the login shell's own start-up files print comes before
        command = [*self._ssh, f"exec sh -c {shlex.quote(marked)}"]
        done = subprocess.run(command, input=content or b"", capture_output=True, check=False)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        if done.returncode == UNREACHABLE:
            lines = [line.strip() for line in err.splitlines() if line.strip() and "Warning:" not in line]
            raise DeviceError(
                f"{self.destination} cannot be reached: {lines[-1].rstrip('.') if lines else 'ssh gave no word'}. "
                f"Does this work: ssh {self.destination} true?"
            )
        return subprocess.CompletedProcess(script, done.returncode, out.partition(f"{MARK}\n")[2], err)

    def failure(self, what: str, done: subprocess.CompletedProcess[str]) -> DeviceError:
        """Return the error for a remote command that failed."""
        lines = done.stderr.strip().splitlines()
        if "No space left" in done.stderr:
            return DeviceError(f"{self.destination}: {what}: its disk is full. Free some space there.")
        why = lines[-1].removeprefix("error: ")[:300] if lines else f"exit {done.returncode}"
        return DeviceError(f"{self.destination}: {what}: {why}")


def run(
    destination: str,
    folder: Path,
    results: Path,
    progress: Progress,
    wheels: bool,
    bench_options: list[str],
    width: int,
) -> Outcome:
    """Verify and time an export on a board; only our cache is left there.

    Args:
        destination: as ssh takes it.
        folder: the export folder.
        results: the folder here that gets `verify.json` and `bench.json`.
        progress: told each step before it is taken.
        wheels: bring the wheels along, for a board without a network.
        bench_options: for `mnist-edge bench` there.
        width: of the terminal.

    Raises:
        DeviceError: a step failed; the message says which, and what to do.
    """
    manifest = Manifest.read(folder)
    with Connection.to(destination) as ssh:
        progress(f"Connected to {destination}.")
        board = Board.probe(ssh)
        progress(f"It has {board.system}, {board.free / 1e6:,.0f} MB free.")
        requirements = pinned(manifest, board.system)
        environment = shlex.quote(f"{board.cache}/venv-{board.system.python}")
        ready = ssh.run(f"{environment}/bin/python -m pip --version").returncode == 0
        _check_room(ssh, board, ready)
        with _copied(ssh, board, folder, wheels, progress) as there:
            progress("Making the environment ready …")
            _install(ssh, board, environment, there, requirements, wheels)
            settings = f"COLUMNS={width} PYTHONPATH={shlex.quote(there)}/{PACKAGE} XDG_CACHE_HOME={shlex.quote(there)}"
            command = f"cd {shlex.quote(there)} && {settings} {environment}/bin/python -m mnist_edge"
            progress("Verifying …")
            verified = ssh.run(f"{command} verify .")
            if verified.returncode not in (0, 1):
                raise ssh.failure("verify failed", verified)
            _fetch(ssh, f"{there}/{VERIFY}", results / VERIFY)
            (results / BENCH).unlink(missing_ok=True)  # of an earlier run, perhaps of other files
            progress("Timing …")
            timed = ssh.run(f"{command} bench . {shlex.join(bench_options)}")
            if timed.returncode:
                raise ssh.failure(f"bench failed; the verdict is in {results}", timed)
            _fetch(ssh, f"{there}/{BENCH}", results / BENCH)
    return Outcome(verified.returncode, verified.stdout + timed.stdout)


def _check_room(ssh: Connection, board: Board, ready: bool) -> None:
    if not ready and board.free < SPACE:
        raise DeviceError(
            f"{ssh.destination}: its disk is full: {board.free / 1e6:.0f} MB free in {board.cache}, "
            f"{SPACE / 1e6:.0f} are needed once. Free some space there."
        )
    modules = {"numpy": "numpy", "Pillow": "PIL"}
    if absent := [name for name in board.system.provided if modules[name] not in board.has]:
        raise DeviceError(
            f"{ssh.destination} is a 32-bit system without {' and '.join(absent)}, which have no wheels for it. "
            "Install Debian's own there: sudo apt install python3-numpy python3-pil"
        )
    if not ready and not board.venv:
        raise DeviceError(f"{ssh.destination} has no venv module. Install it there: sudo apt install python3-venv")


@contextmanager
def _copied(ssh: Connection, board: Board, folder: Path, wheels: bool, progress: Progress) -> Iterator[str]:
    """Unpack the bundle into a folder of its own there, which goes at the end, whatever happens; give its path."""
    with tempfile.TemporaryDirectory() as name:
        archive = Path(name) / f"bundle{SUFFIX}"
        bundle(folder, archive, wheels_for=[board.system] if wheels else ())
        content = archive.read_bytes()
    progress(f"Copying the bundle, {len(content) / 1e6:.1f} MB …")
    cache = shlex.quote(board.cache)
    forgotten = (
        f"find {cache} -maxdepth 1 -name 'run-*' -mmin +{FORGOTTEN} -exec rm -rf {{}} +"  # runs that were killed
    )
    place = f"{board.cache}/run-{uuid4().hex}"
    made = ssh.run(f"{forgotten}; mkdir -m 700 {shlex.quote(place)}")
    if made.returncode:
        raise ssh.failure("no folder could be made", made)
    try:
        done = ssh.run(f"tar -xzf - -C {shlex.quote(place)}", content)
        if done.returncode:
            raise ssh.failure("the bundle could not be unpacked", done)
        yield f"{place}/bundle"
    finally:
        ssh.run(f"rm -rf {shlex.quote(place)}")


def _install(
    ssh: Connection, board: Board, environment: str, there: str, requirements: list[str], wheels: bool
) -> None:
    """Make the private environment, once, put the runtimes in, and unpack our own wheel beside the bundle."""
    site = "--system-site-packages " if board.system.provided else ""
    python = f"{environment}/bin/python"
    # two runs at once take turns; what a broken one left is made anew
    lock = f"exec 9>{shlex.quote(board.cache)}/lock; command -v flock >/dev/null && flock 9"
    make = (
        f"{python} -m pip --version >/dev/null 2>&1 || {{ rm -rf {environment}; python3 -m venv {site}{environment}; }}"
    )
    done = ssh.run(f"{lock}; {make}")
    if done.returncode:
        raise ssh.failure("the environment could not be made", done)
    source = ["--no-index", "--find-links", f"{there}/{WHEELS}"] if wheels else []
    install = f"{lock}; {python} -m pip install {shlex.join([*QUIET, *source])}"
    own = shlex.join(["--no-deps", "--target", f"{there}/{PACKAGE}", f"{there}/{OWN_WHEEL}"])
    for more in (shlex.join(requirements), own):
        done = ssh.run(f"{install} {more}")
        if done.returncode:
            hint = " Or bring the wheels along: --wheels" if "network" in (why := reason(done.stderr)) else ""
            raise DeviceError(f"{ssh.destination}, {board.system}: {why}{hint}")


def _fetch(ssh: Connection, there: str, here: Path) -> None:
    done = ssh.run(f"cat {shlex.quote(there)}")
    if done.returncode:
        raise ssh.failure("the results could not be fetched", done)
    with atomic_write(here) as temporary:
        temporary.write_text(done.stdout, encoding="utf-8")
