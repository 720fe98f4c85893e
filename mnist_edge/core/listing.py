"""The files that a manifest lists, with their sizes and SHA-256.

`predict` needs no more of it, and reading a whole manifest costs 20 ms and 2 MiB.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mnist_edge.core.errors import ArtifactError, FolderError, IntegrityError
from mnist_edge.core.files import sha256
from mnist_edge.core.folder import MANIFEST
from mnist_edge.core.publish import settled
from mnist_edge.core.reading import read_bytes, reading
from mnist_edge.core.typed_json import MOST_BYTES, file_path, parse


@dataclass(frozen=True)
class FileEntry:
    """The size in bytes and the SHA-256 of a file."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the entry of a file as it is."""
        return cls(path.stat().st_size, sha256(path))

    def check(self, path: Path) -> None:
        """Raise ArtifactError where a file is missing, IntegrityError where it is another one."""
        if not path.is_file():
            raise ArtifactError(f"{path} is in the manifest but not on disk. Export it again, or copy it here.")
        if (size := path.stat().st_size) != self.bytes:
            raise IntegrityError(
                f"{path} has {size} bytes, the manifest says {self.bytes}: it was truncated or replaced. "
                "Copy it again from where it was exported, or export again."
            )
        if (digest := sha256(path)) != self.sha256:
            raise IntegrityError(
                f"{path} was changed: its SHA-256 is {digest[:12]}…, the manifest says {self.sha256[:12]}…. "
                "Copy it again from where it was exported, or export again."
            )


def manifest_path(folder: Path) -> Path:
    """Return the path of a folder's manifest. Raises FolderError where there is none."""
    advice = "mnist-edge export makes one; its default is exports/cnn."
    if folder.is_file():
        raise FolderError(f"{folder} is a file; give the export folder that it is in.")
    if not folder.is_dir():
        raise FolderError(f"there is no folder {folder}. {advice}")
    if not (folder / MANIFEST).is_file():
        raise FolderError(f"{folder} has no {MANIFEST}, so it is not a finished export. {advice}")
    return folder / MANIFEST


def stored_entries(folder: Path) -> list[dict[str, Any]]:
    """Return the files that a manifest lists, each with `file`, `format`, `precision`, `bytes` and `sha256`.

    Raises:
        FolderError: as `Manifest.read` says.
    """
    path = manifest_path(settled(folder))
    kinds = {"file": str, "format": str, "precision": str, "bytes": int, "sha256": str}
    try:
        with reading(FolderError, f"{path} is damaged", "Export again."):
            entries = parse(read_bytes(path, MOST_BYTES))["artifacts"]
            for entry in entries:
                file_path(entry["file"])
                if not all(type(entry[name]) is kind for name, kind in kinds.items()):
                    raise ValueError("a file has a value of another kind")
            return list(entries)
    except FolderError:
        from mnist_edge.core.manifest import Manifest

        Manifest.read(folder)  # says which field is wrong
        raise


def check_listed(path: Path) -> str | None:
    """Check the size and SHA-256 of a file that the manifest beside it lists, and return the latter; None of others.

    Raises:
        ArtifactError, IntegrityError, FolderError: the file is another one, or the manifest is damaged.
    """
    entry = listed(path)
    if entry is None:
        return None
    FileEntry(entry["bytes"], entry["sha256"]).check(path)
    return str(entry["sha256"])


def listed(path: Path) -> dict[str, Any] | None:
    """Return what the manifest beside a file says of it; None of a file that none lists. Raises FolderError."""
    entries = stored_entries(path.parent) if (settled(path.parent) / MANIFEST).is_file() else []
    return next((entry for entry in entries if entry["file"] == path.name), None)
