"""Keep native libraries' chatter away from the user: TensorFlow logs to the file descriptors, past `logging`."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_verbose = False


def set_verbose(on: bool) -> None:
    """Let everything through from now on (the `-v` flag)."""
    global _verbose
    _verbose = on


@contextmanager
def quiet() -> Iterator[None]:
    """Send descriptors 1 and 2 to a temporary file while the block runs; nothing of ours may print inside it."""
    if _verbose:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    try:
        with tempfile.TemporaryFile() as sink:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
            try:
                yield
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os.dup2(saved[0], 1)
                os.dup2(saved[1], 2)
    finally:
        os.close(saved[0])
        os.close(saved[1])
