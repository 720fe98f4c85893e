"""The lock of an export folder: of the commands that change it, one at a time goes on."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mnist_edge.core.errors import LockError
from mnist_edge.core.files import lock, new_folder
from mnist_edge.core.text import one_line

LOCK = ".lock"  # says who holds it, and goes when that one ends
WAIT = 600.0  # seconds
POLL = 0.02
MOST_BYTES = 1000

Say = Callable[[str], None]
_held: dict[tuple[Path, int], Say] = {}
"""The folders that this process has locked, each with the thread that did, and what takes lines to its user."""


def holds_lock(folder: Path) -> bool:
    """Return whether this thread has locked a folder."""
    return (folder.resolve(), threading.get_ident()) in _held


def say_of(folder: Path) -> Say:
    """Return what `locked` was given to say of a folder that this thread has locked."""
    return _held[folder.resolve(), threading.get_ident()]


@contextmanager
def locked(folder: Path, say: Say = lambda line: None, wait: float = WAIT) -> Iterator[None]:
    """Hold the lock of a folder, which is made where there is none; a thread that holds it already goes on.

    Args:
        folder: the export folder.
        say: called with a line where another process holds the lock, or the file system has none.
        wait: seconds to wait for that process.

    Raises:
        LockError: it did not end in time.
        OSError: the folder cannot be made or written to.
    """
    key = folder.resolve(), threading.get_ident()
    if key in _held:
        yield
        return
    with new_folder(folder):
        descriptor = _acquire(folder, say, wait)
        _held[key] = say
        try:
            yield
        finally:
            _held.pop(key)
            with suppress(OSError):  # it is locked no more, and the next one takes it
                (folder / LOCK).unlink()
            os.close(descriptor)


def held_by_another(folder: Path) -> bool:
    """Return whether another process holds the lock of a folder, which need not be writable."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        return lock(descriptor, shared=True) is False
    finally:
        os.close(descriptor)


def _acquire(folder: Path, say: Say, wait: float) -> int:
    """Return the descriptor of the lock file, which is locked for as long as it is open."""
    end = time.monotonic() + wait
    waiting = False
    while True:
        descriptor = _open(folder)
        got = lock(descriptor)
        if got is None:
            say(f"Note: the file system of {folder} has no locks. Let no two commands write there at a time.")
        if got is None or (got and _is_at(descriptor, folder / LOCK)):
            with suppress(OSError):  # a full disk: the lock holds all the same
                os.ftruncate(descriptor, 0)
                os.write(descriptor, _me().encode(errors="replace"))
            return descriptor
        holder = one_line(os.read(descriptor, MOST_BYTES).decode(errors="replace")) or "another process"
        os.close(descriptor)
        if got:  # the file was removed by the one that held it
            continue
        if time.monotonic() >= end:
            raise LockError(
                f"{folder} is in use by {holder}, which did not end within {wait:.0f} s. Run this again when it has."
            )
        if not waiting:
            say(f"{folder} is in use by {holder}: waiting for it to end, up to {wait:.0f} s …")
            waiting = True
        time.sleep(POLL)


def _open(folder: Path) -> int:
    """Open the lock file. Raises OSError, which names the folder."""
    path = folder / LOCK
    while True:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except FileNotFoundError:
            folder.mkdir(parents=True, exist_ok=True)  # the one that held the lock has removed its empty folder
        except PermissionError as error:
            if not path.is_file():
                raise OSError(error.errno, error.strerror, str(folder)) from error
            return os.open(path, os.O_RDONLY)  # another user's
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(folder)) from error


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file still is the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _me() -> str:
    """Return who this process is, for the one that waits."""
    command = " ".join(["mnist-edge", *sys.argv[1:]]) if "mnist" in sys.argv[0] else Path(sys.argv[0]).name or "Python"
    return f"process {os.getpid()} on {os.uname().nodename} ({command})"
