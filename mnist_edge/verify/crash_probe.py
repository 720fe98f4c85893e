"""Runs a file that may not be what was exported in a process of its own first: a runtime can crash on it.

`python -m mnist_edge.verify.crash_probe FILE` is that process.
"""

import errno
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np

from mnist_edge.core.errors import MnistEdgeError, excerpt
from mnist_edge.formats import format_of

SECONDS = 120


def crash(path: Path) -> str | None:
    """Return how a process ends that opens and runs this file; None where it ends well."""
    command = [sys.executable, "-m", "mnist_edge.verify.crash_probe", str(path.resolve())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        return None  # under user-mode emulation no child can start; the emulator is a process of its own already
    except subprocess.TimeoutExpired:
        return f"the runtime did not finish one image in {SECONDS} s"
    if done.returncode < 0:
        return f"the runtime crashes on it ({signal.Signals(-done.returncode).name})"
    if done.returncode:
        return f"the runtime fails on it ({excerpt((done.stderr.strip() or 'no message').splitlines()[-1])})"
    return None


def _run(path: Path) -> None:
    """Run a file in every variant, and operator by operator; errors that are ours the caller meets too."""
    file_format = format_of(path)
    image = np.eye(28, dtype=np.uint8)[None] * np.uint8(255)
    for variant in (None, *file_format.variants):
        with suppress(MnistEdgeError):
            file_format.open(path, variant=variant).run(image)
    with suppress(MnistEdgeError):
        file_format.trace(path, image)


if __name__ == "__main__":
    _run(Path(sys.argv[1]))
