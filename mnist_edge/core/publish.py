"""Change several files of an export folder at once: a reader finds all of the old ones, or all of the new ones.

The new files are gathered in a temporary folder, together with links to those that stay, so that it is complete. One
rename makes it `.publishing`: from then on that folder is the export. Its files are then linked to their place in the
export folder, and it goes. Where that is cut short, the next command finishes it, or, where it may not write, reads
there.
"""

import errno
import math
import os
import signal
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mnist_edge.core.errors import LockError, PublishError
from mnist_edge.core.files import flush, lock, record_written, sweep, temporary_name
from mnist_edge.core.folder import MANIFEST
from mnist_edge.core.lock import WAIT, Say, held_by_another, holds_lock, locked, say_of

PUBLISHING = ".publishing"
REMOVED = ".removed"  # in it: the names of files that go, one a line
PLACING = ".placing"  # in it: the file that is being linked
OLD_STAGING = ".exporting-*"  # what version 0.1 left when it was killed
READER_WAITS = 10.0  # seconds, for a process that moves files
WRITER_WAITS = 120.0  # seconds, for the processes that read a folder, before there is anything to lose
SILENT = 1.0  # seconds, before the user is told
POLL = 0.002


@contextmanager
def changing(folder: Path, say: Say = lambda line: None, wait: float = WAIT) -> Iterator[None]:
    """Hold the lock of a folder, as `locked` says, and first finish or remove what a process that died has left."""
    nested = holds_lock(folder)
    with locked(folder, say, wait):
        if not nested:
            finish(folder)
            _sweep_all(folder)
        yield


def settled(folder: Path) -> Path:
    """Return where to read an export: the folder, or the one in it whose files could not be moved to their place.

    Finishes what a process that died has begun. Every reader of an export folder calls this first.
    """
    pending = folder / PUBLISHING
    if not _is_folder(pending):
        return folder
    end = time.monotonic() + READER_WAITS
    while _is_folder(pending) and time.monotonic() < end:
        try:
            with locked(folder, wait=0):
                finish(folder, wait=0)
        except LockError:
            time.sleep(POLL)  # another process is at it, or reads
        except (OSError, PublishError):  # this user may not write here, or the disk is full
            if not held_by_another(folder):
                break
            time.sleep(POLL)
    return pending if _is_folder(pending) else folder


@contextmanager
def reading_folder(folder: Path) -> Iterator[Path]:
    """Yield where to read an export, whose files stay as they are while the block runs, where there are locks."""
    if not os.access(folder, os.R_OK) or not folder.is_dir():
        yield folder  # who reads it says what is wrong
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + READER_WAITS
        place = settled(folder)
        while lock(descriptor, shared=True) is False and time.monotonic() < end:
            time.sleep(POLL)
        yield folder if place == folder else settled(folder)
    finally:
        os.close(descriptor)


def publish(folder: Path, new: Path, keep: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
    """Put the files of the folder `new`, made by `temporary_folder` in `folder`, in their place: all of them or none.

    It waits for the processes that read the folder, however long: what is new may be hours of training.

    Args:
        folder: the export folder, whose lock is held.
        new: holds files alone; it is gone afterwards.
        keep: the names of files of `folder` that belong to the new export as they are.
        remove: the names of files of `folder` that go.

    Raises:
        OSError: nothing was changed.
        PublishError: the new files are complete, but not all of them are in their place.
    """
    for name in keep:
        _link((folder / name).resolve(), new / name)
    (new / REMOVED).write_text("".join(f"{name}\n" for name in remove), encoding="utf-8")
    for path in new.iterdir():
        flush(path)
        if (folder / path.name).is_dir():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(folder / path.name))
    flush(new)
    with _no_reader(folder, math.inf, say_of(folder)), uninterrupted():
        new.rename(folder / PUBLISHING)
        record_written(folder)
        _move(folder)


def finish(folder: Path, wait: float = WRITER_WAITS) -> None:
    """Move the files of `.publishing` to their place, where there is one; it can be cut short and done again.

    Raises:
        LockError: processes that read the folder did not end within `wait` seconds.
        PublishError: a file cannot be moved.
    """
    if _is_folder(folder / PUBLISHING):
        with _no_reader(folder, wait), uninterrupted():
            _move(folder)


@contextmanager
def _no_reader(folder: Path, wait: float, say: Say = lambda line: None) -> Iterator[None]:
    """Wait until no process reads the folder, and let none begin while the block runs. Raises LockError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        begin, told = time.monotonic(), False
        while lock(descriptor) is False:
            waited = time.monotonic() - begin
            if waited >= wait:
                raise LockError(f"{folder} is being read by another process. Run this again when that has ended.")
            if waited > SILENT and not told:
                say(f"{folder} is being read by another mnist-edge process: waiting for it to end …")
                told = True
            time.sleep(POLL)
        yield
    finally:
        os.close(descriptor)


def _move(folder: Path) -> None:
    """Move the files of `.publishing` to their place. Raises PublishError where one cannot be moved."""
    pending = folder / PUBLISHING
    try:
        flush(folder)
        new, removed = _content(pending)
        for name in removed:
            (folder / name).unlink(missing_ok=True)
        for name in new:
            _place(pending, folder, name)
        flush(folder)
        done = folder / temporary_name()
        pending.rename(done)
    except OSError as error:
        raise PublishError(
            f"the new files are complete in {pending}, and mnist-edge reads them there, but they could not be moved to "
            f"{folder} ({error.strerror}). The next command does that, once the folder can be written to."
        ) from error
    _remove(done)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a Ctrl-C wait until the block has ended."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python interrupts the main thread alone
        return
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if seen:
            signal.raise_signal(signal.SIGINT)


def _content(pending: Path) -> tuple[list[str], list[str]]:
    """Return the names of the new files, the manifest last, and of those that go, the manifest first."""
    new = [path.name for path in pending.iterdir() if stat.S_ISREG(path.lstat().st_mode) and path.name[0] != "."]
    listing, removed = pending / REMOVED, []
    if listing.is_file():
        listed = listing.read_text(encoding="utf-8", errors="replace").splitlines()
        removed = [name for name in listed if name not in new and _is_file_in(pending.parent, name)]
    return sorted(new, key=lambda name: name == MANIFEST), sorted(removed, key=lambda name: name != MANIFEST)


def _is_file_in(folder: Path, name: str) -> bool:
    """Return whether a name is that of a file of a folder, not of one elsewhere."""
    return Path(name).name == name and not (folder / name).is_dir()


def _place(pending: Path, folder: Path, name: str) -> None:
    """Link one file to its place, where it is not there yet; `pending` stays complete for those who read there."""
    target, temporary = folder / name, pending / PLACING
    if target.exists() and (pending / name).samefile(target):
        return
    temporary.unlink(missing_ok=True)
    _link(pending / name, temporary)
    temporary.replace(target)


def _link(source: Path, target: Path) -> None:
    """Link a file, or copy it where the file system has no links or does not let this user make one."""
    try:
        os.link(source, target)
    except OSError:
        import shutil

        shutil.copy(source, target)
        flush(target)


def _is_folder(path: Path) -> bool:
    """Return whether there is a folder at a path, which is no link to one elsewhere."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _sweep_all(folder: Path) -> None:
    """Remove what processes that died have left in a folder, whose lock is held."""
    sweep(folder)
    for left in folder.glob(OLD_STAGING):
        _remove(left)


def _remove(folder: Path) -> None:
    import shutil

    with suppress(OSError):  # it is swept next time
        shutil.rmtree(folder)
