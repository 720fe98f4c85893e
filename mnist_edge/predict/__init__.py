"""The stage `predict`: images or pictures in, probabilities out, with one runtime and nothing heavier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import FolderError, MissingRuntime, PictureError
from mnist_edge.core.folder import NETWORK
from mnist_edge.core.listing import check_listed, listed, stored_entries
from mnist_edge.core.publish import settled
from mnist_edge.formats import format_named, format_of
from mnist_edge.formats.first_look import first_look

UNKNOWN = "no digit found: what stands out looks like none of the ten digits."

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnist_edge.formats.runner import Images, Probabilities


def predict(images: Images | str | Path | Sequence[str | Path], artifact: str | Path = NETWORK) -> Probabilities:
    """Return the probabilities of images or pictures, float32 `[N, 10]`.

    Args:
        images: uint8 `[N, 28, 28]` or `[28, 28]`, 0 black to 255 white, white on black as in MNIST; or the path of a
            picture, or several, each of one digit: any size, dark on light or light on dark.
        artifact: a `.tflite`, `.onnx`, `.c` or `.keras` file, or an export folder, whose int8 file is taken; without
            it, the network `edge` that comes with the package.

    Raises:
        PictureError: an image is not of that form, or a picture cannot be read or shows no digit.
        ArtifactError, FolderError: the file is damaged, or not what its manifest says.
        MissingRuntime: the runtime of the file is not installed.
    """
    path = Path(artifact)
    path = choose(path) if path.is_dir() or not path.suffix else path
    with opened(path) as run:
        probabilities = run(_pixels(images))
    if not isinstance(images, np.ndarray):
        threshold = threshold_of(path)
        for row in probabilities:
            check_known(row, threshold)
    return probabilities


def threshold_of(artifact: Path) -> float | None:
    """Return the threshold of a file: as the manifest beside it says, or else the file itself; None of others.

    Raises:
        ArtifactError, FolderError: the file or the manifest is damaged.
    """
    entry = listed(artifact)
    contract = entry.get("contract") if entry else format_of(artifact).stored_contract(artifact)
    threshold = contract.get("threshold") if isinstance(contract, dict) else None
    return threshold if isinstance(threshold, float) else None


def check_known(row: Probabilities, threshold: float | None) -> None:
    """Raise PictureError where the largest of a picture's ten probabilities is under the file's threshold."""
    if threshold is not None and row.max() < threshold:
        raise PictureError(UNKNOWN)


@contextmanager
def opened(artifact: Path) -> Iterator[Callable[[Images], Probabilities]]:
    """Yield the function of an opened file: uint8 `[N, 28, 28]` → float32 `[N, 10]`. Raises as `predict` does."""
    file_format = format_of(artifact)
    first_look(artifact, file_format, check_listed(artifact))
    with file_format.open(artifact) as runner:
        yield runner.run


def choose(folder: Path) -> Path:
    """Return the artifact of a folder to predict with: int8 before others, of a format whose runtime is installed.

    Raises:
        FolderError: no manifest, or no artifact.
        MissingRuntime: no artifact's runtime is installed.
    """
    entries = stored_entries(folder)
    if not entries:
        raise FolderError(f"{folder} has no artifact. Export one: mnist-edge export")
    missing = []
    for entry in sorted(entries, key=lambda item: item["precision"] != Precision.INT8):
        file_format = format_named(entry["format"])
        reason = file_format.missing() if file_format else "unknown format"
        if reason is None:
            return settled(folder) / Path(entry["file"]).name
        missing.append(reason)
    raise MissingRuntime("; ".join(dict.fromkeys(missing)))


def _pixels(images: Images | str | Path | Sequence[str | Path]) -> Images:
    """Return images or pictures as uint8 `[N, 28, 28]`. Raises PictureError."""
    if not isinstance(images, np.ndarray):
        from mnist_edge.predict.picture import read

        paths = [images] if isinstance(images, str | Path) else images
        if not isinstance(paths, Sequence) or not all(isinstance(path, str | Path) for path in paths):
            raise PictureError(f"images are a {type(images).__name__}; give a uint8 array, or the path of a picture.")
        return np.stack([read(Path(path)) for path in paths]) if paths else np.empty((0, 28, 28), np.uint8)
    if images.dtype != np.uint8 or images.shape[-2:] != (28, 28) or images.ndim not in (2, 3):
        raise PictureError(f"images are {images.dtype} {list(images.shape)}; give uint8 [N, 28, 28] or [28, 28].")
    return images.reshape(-1, 28, 28)
