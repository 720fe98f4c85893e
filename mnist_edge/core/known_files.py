"""Remembers the model files that did no harm to their runtime here: one empty file each, in the user's cache.

`predict` asks for one at every start, so nothing heavier than `os` is imported on the way.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path

FOLDER = "known-files"
MOST = 10_000  # files that are remembered; with more, all are forgotten and looked at again


def is_known(key: str) -> bool:
    """Return whether a key was remembered here; never, where others could have written it."""
    folder = _folder()
    try:
        info = folder.stat()
        (folder / key).lstat()
    except (OSError, ValueError):
        return False
    return not hasattr(os, "geteuid") or (info.st_uid == os.geteuid() and not info.st_mode & 0o022)


def remember(key: str) -> None:
    """Remember a key; where nothing can be written, it is not remembered."""
    folder = _folder()
    with suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if len(keys := list(folder.iterdir())) >= MOST:
            for old in keys:
                old.unlink(missing_ok=True)
        (folder / key).touch(mode=0o600)


def _folder() -> Path:
    """Return the folder, which is in the cache that `platformdirs` names; importing that takes 5 ms."""
    if sys.platform.startswith("linux"):
        named = os.environ.get("XDG_CACHE_HOME", "").strip()
        base = Path(named if named.startswith("/") else os.path.expanduser("~/.cache"))  # noqa: PTH111
        return base / "mnist-edge" / FOLDER
    from platformdirs import user_cache_path

    return user_cache_path("mnist-edge") / FOLDER
