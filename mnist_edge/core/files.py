"""Write files whole or not at all, and know them by their SHA-256."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

WRITING = ".writing-"
"""What the name of a temporary file or folder begins with; its writer holds a lock on it for as long as it lives."""
written: list[Path] = []
"""What this process has put in its place so far: an interruption says so."""


@contextmanager
def new_folder(folder: Path, keep: bool = True) -> Iterator[None]:
    """Make a folder and its parents; what is still empty goes again where the block fails, or is not to be kept."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        keep = False
        raise
    finally:
        with suppress(OSError):  # one that holds something stays
            for place in () if keep else made:
                place.rmdir()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder to write to; it becomes `path` only when the block ends well.

    What a process that died has left of such files in that folder is removed.

    Raises OSError, which names `path` where the temporary one could not be made, written or renamed.
    """
    try:
        with new_folder(path.parent):
            sweep(path.parent)
            temporary, descriptor = _temporary(path.parent, path.suffix)
            try:
                yield temporary
                flush(temporary)
                temporary.replace(path)
                record_written(path)
            finally:
                temporary.unlink(missing_ok=True)
                os.close(descriptor)
    except OSError as error:
        if Path(str(error.filename)).name.startswith(WRITING):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yield an empty folder in `parent`, which is removed at the end; what a process that died has left goes first."""
    import shutil  # here and below: `predict` reads only, and starts faster without

    sweep(parent)
    folder, descriptor = _temporary(parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


@contextmanager
def one_place_for_temporary_files() -> Iterator[None]:
    """Let the temporary files of this process, its libraries and its children lie in one folder.

    The next process removes what is there where this one is killed; the libraries' own would stay for ever.
    """
    import atexit
    import tempfile

    before = os.environ.get("TMPDIR")
    with suppress(OSError):  # nothing can be written there: what needs to says so
        stack = ExitStack()
        place = str(stack.enter_context(temporary_folder(Path(tempfile.gettempdir()))))
        atexit.register(stack.close)  # after the libraries, which remove theirs at exit
        os.environ["TMPDIR"] = tempfile.tempdir = place
    try:
        yield
    finally:
        tempfile.tempdir = None
        os.environ.pop("TMPDIR", None)
        if before is not None:
            os.environ["TMPDIR"] = before


def record_written(path: Path) -> None:
    """Remember what was put in its place, unless that is in a temporary folder."""
    if not any(part.startswith(WRITING) for part in path.parts):
        written.append(path)


def temporary_name(suffix: str = "") -> str:
    """Return a new name for a temporary file or folder."""
    return f"{WRITING}{os.urandom(8).hex()}{suffix}"


def _temporary(parent: Path, suffix: str | None = None) -> tuple[Path, int]:
    """Make a file, or a folder where `suffix` is None, as the umask says; return it with a descriptor that locks it."""
    while True:
        path = parent / temporary_name(suffix or "")
        if suffix is None:
            path.mkdir()
            descriptor = os.open(path, os.O_RDONLY)
        else:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if lock(descriptor) is not False and path.exists():
            return path, descriptor
        os.close(descriptor)  # swept before it was locked


def lock(descriptor: int, shared: bool = False) -> bool | None:
    """Lock an open file for this process; return False where another one has it, None where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has none
        return None
    return True


def sweep(folder: Path) -> None:
    """Remove the temporary files and folders whose writer is dead; where there are no locks, nobody knows."""
    import shutil

    for path in folder.glob(f"{WRITING}*"):
        with suppress(OSError):  # it is gone by now, or another user's
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            try:
                if lock(descriptor):
                    is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
                    shutil.rmtree(path) if is_folder else path.unlink()
            finally:
                os.close(descriptor)


def flush(path: Path) -> None:
    """Wait until a file or folder is on the disk: a board may lose its power at any time."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EROFS):  # a file system that does not do this
            raise
    finally:
        os.close(descriptor)


def publish_folder(tree: Path, target: Path) -> None:
    """Rename a finished folder to its place in a cache; where another process was faster, its one stays."""
    try:
        tree.replace(target)
    except OSError:
        if not target.is_dir():
            raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as strict JSON, atomically."""
    from mnist_edge.core.typed_json import strict_json

    with atomic_write(path) as temporary:
        text = json.dumps(strict_json(content), indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
