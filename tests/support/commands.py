"""The command line as tests run it, the recipes' names, and turns between the tests' processes."""

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.loaded import run_loaded

ROOT = Path(__file__).parents[2]
MODELS = ("cnn", "cnn-wide", "mlp", "mlp-wide")
Run = Callable[..., subprocess.CompletedProcess[str]]


NEED_TENSORFLOW = ("export", "train", "verify")


def mnist_edge(*arguments: object, check: int | None = 0, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does; `check` is the exit code that is expected, None for any.

    A command that needs TensorFlow finds it loaded, unless `options` of a process of its own are given.
    """
    words = [*map(str, arguments)]
    if words and words[0] in NEED_TENSORFLOW and not options:
        done = run_loaded(words)
    else:
        command = [sys.executable, "-m", "mnist_edge", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    assert check is None or done.returncode == check, f"{done.args}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one of the tests' processes at a time go through."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a pip that builds this checkout, which setuptools does in the checkout itself: one at a time."""
    with locked(Path(tempfile.gettempdir()) / f"mnist-edge-build-{os.getuid()}.lock"):
        return subprocess.run(command, capture_output=True, text=True, check=False)
