"""The stage `predict`: pictures in, digits with probabilities out, with one runtime and nothing heavier."""

from pathlib import Path

from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import FolderError, MissingRuntime, PictureError
from mnist_edge.core.manifest import Manifest, find_artifact
from mnist_edge.formats import FORMATS, format_of
from mnist_edge.formats.runner import Probabilities
from mnist_edge.predict.picture import read as read_picture


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


def predict(pictures: list[Path], artifact: Path) -> list[Probabilities | PictureError]:
    """Classify picture files: for each, float32 `[10]`, or why it cannot be read or shows no digit.

    Raises:
        ArtifactError, MissingRuntime: as the format's `open` says.
    """
    find_artifact(artifact)
    outcomes: list[Probabilities | PictureError] = []
    with format_of(artifact).open(artifact) as runner:
        for picture in pictures:
            try:
                outcomes.append(runner.run(read_picture(picture)[None])[0])
            except PictureError as error:
                outcomes.append(error)
    return outcomes
