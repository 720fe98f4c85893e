"""The stage `predict`: pictures in, digits with probabilities out, with one runtime and nothing heavier."""

from pathlib import Path

import numpy as np

from mnist_edge import preprocess
from mnist_edge.artifact import Manifest, Precision
from mnist_edge.errors import FolderError, MissingRuntime
from mnist_edge.formats import FORMATS, format_of
from mnist_edge.formats.base import Probabilities


def choose(folder: Path) -> Path:
    """Choose the artifact of a folder to predict with: int8 before others, of a format whose runtime is installed.

    Raises:
        FolderError: no manifest, or no artifact.
        MissingRuntime: no artifact's runtime is installed.
    """
    manifest = Manifest.read(folder)
    if not manifest.artifacts:
        raise FolderError(f"{folder} has no artifact. Export one: mnist-edge export")
    missing = []
    for artifact in sorted(manifest.artifacts, key=lambda item: item.precision is not Precision.INT8):
        reason = FORMATS[artifact.format].missing() if artifact.format in FORMATS else "unknown format"
        if reason is None:
            return artifact.path
        missing.append(reason)
    raise MissingRuntime("; ".join(dict.fromkeys(missing)))


def predict(pictures: list[Path], artifact: Path) -> Probabilities:
    """Classify picture files; gives float32 `[N, 10]`.

    Raises:
        PictureError: one of them cannot be read or shows no digit; none is classified then.
        ArtifactError, MissingRuntime: as the format's `open` says.
    """
    images = np.stack([preprocess.read(picture) for picture in pictures])
    check_listed(artifact)
    with format_of(artifact).open(artifact) as runner:
        return runner.run(images)


def check_listed(path: Path) -> None:
    """Where a manifest beside the file lists it, hold the file to its SHA-256."""
    if (path.parent / Manifest.NAME).is_file():
        for artifact in Manifest.read(path.parent).artifacts:
            if artifact.path.name == path.name:
                artifact.check()
