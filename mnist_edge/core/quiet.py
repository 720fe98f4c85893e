"""Keep native libraries' chatter away from the user: TensorFlow logs to the file descriptors, past `logging`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_verbose = False


def set_verbose(on: bool) -> None:
    """Let everything through from now on (the `-v` flag)."""
    global _verbose
    _verbose = on


@contextmanager
def quiet() -> Iterator[None]:
    """Send descriptors 1 and 2 nowhere while the block runs; nothing of ours may print inside it."""
    if _verbose:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (sink, *saved):
            os.close(descriptor)
