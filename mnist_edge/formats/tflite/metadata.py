"""The JSON that is zipped onto a `.tflite` file of ours, which TFLite runtimes ignore.

`zipfile` and `json` are imported inside functions, like all of the standard library that running a file can do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.reading import reading

if TYPE_CHECKING:
    from pathlib import Path

NAME = "mnist-edge.json"


def append(path: Path, content: dict[str, Any]) -> None:
    """Zip `content` onto a file; the same content gives the same bytes at every export."""
    import json
    import zipfile

    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo(NAME, date_time=(1980, 1, 1, 0, 0, 0))
        archive.writestr(entry, json.dumps(content, separators=(",", ":")), zipfile.ZIP_DEFLATED, compresslevel=9)


def read(path: Path) -> dict[str, Any]:
    """Return what is zipped onto a file; nothing of a file that is not ours. Raises ArtifactError."""
    import zipfile

    from mnist_edge.core.archives import open_zip
    from mnist_edge.core.typed_json import MOST_BYTES, parse

    if not zipfile.is_zipfile(path):
        return {}
    with (
        reading(ArtifactError, f"{path} was changed: its {NAME} cannot be read", "Export it again."),
        open_zip(path, MOST_BYTES) as archive,
    ):
        if NAME not in archive.namelist():
            return {}
        return dict(parse(archive.read(NAME)))


def without(path: Path) -> bytes:
    """Return the bytes of a file of ours without its JSON: what a runtime reads."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        return path.read_bytes()[: min(entry.header_offset for entry in archive.infolist())]
