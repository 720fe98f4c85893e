"""Runs a file that may not be what was exported in a process of its own first: a runtime can crash on it."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

SECONDS = 120
RUN = """
import sys, numpy, pathlib
from mnist_edge.core.errors import MnistEdgeError
from mnist_edge.formats import format_of
path = pathlib.Path(sys.argv[1])
file_format = format_of(path)
image = numpy.eye(28, dtype=numpy.uint8)[None] * numpy.uint8(255)
ways = [lambda name=name: file_format.open(path, variant=name).run(image) for name in (None, *file_format.variants)]
for way in (*ways, lambda: file_format.trace(path, image)):
    try:
        way()
    except MnistEdgeError:
        pass  # the caller meets it too, and reports it
"""


def crash(path: Path) -> str | None:
    """Say how a process dies that opens and runs this file; None where it does not."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(path)], capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        return None  # under user-mode emulation no child can start; the emulator is a process of its own already
    except subprocess.TimeoutExpired:
        return f"the runtime did not finish one image in {SECONDS} s"
    if done.returncode < 0:
        return f"the runtime crashes on it ({signal.Signals(-done.returncode).name})"
    if done.returncode:
        return f"the runtime fails on it ({(done.stderr.strip() or 'no word').splitlines()[-1][:200]})"
    return None
