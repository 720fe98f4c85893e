"""Write files whole or not at all, and know them by their SHA-256."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

WRITING = ".writing-"


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

    Raises OSError, which names `path` where the temporary one could not be made, written or renamed.
    """
    import tempfile  # here and below: `predict` reads only, and starts faster without

    try:
        with new_folder(path.parent):
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=WRITING, suffix=path.suffix)
            os.close(handle)
            temporary = Path(name)
            try:
                yield temporary
                temporary.chmod(0o644)  # mkstemp gives 0600, which another user on the board could not read
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        if Path(str(error.filename)).name.startswith(WRITING):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def publish_folder(tree: Path, target: Path) -> None:
    """Rename a finished folder to its place in a cache; where another process was faster, its one stays."""
    try:
        tree.replace(target)
    except OSError:
        if not target.is_dir():
            raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
