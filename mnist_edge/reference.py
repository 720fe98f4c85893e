"""`reference.npz`: enough to check a model and its runtime on a device, without TensorFlow or the dataset."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mnist_edge.errors import FolderError
from mnist_edge.files import staged

NAME = "reference.npz"
OUTPUT = "output/"


@dataclass(frozen=True)
class Reference:
    """Golden images with what Keras and the exporting host made of them.

    `images` uint8 `[K, 28, 28]` and `labels` `[K]` are class-balanced test images, `indices` int64 `[K]` their
    places in the test set, whose SHA-256 is `test_sha256`. `keras` float32 `[N, 10]` are Keras's probabilities for
    the whole test set; `outputs` maps a file's name to its probabilities `[K, 10]` for the golden images on the
    exporting host.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    indices: NDArray[np.int64]
    test_sha256: str
    keras: NDArray[np.float32]
    outputs: dict[str, NDArray[np.float32]]

    def write(self, path: Path) -> None:
        """Write it, atomically; the same content gives the same bytes."""
        arrays: dict[str, Any] = {OUTPUT + name: values for name, values in sorted(self.outputs.items())}
        with staged(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                images=self.images,
                labels=self.labels,
                indices=self.indices,
                test_sha256=np.array(self.test_sha256),
                keras=self.keras,
                **arrays,
            )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read it back. Raises FolderError where it is damaged."""
        try:
            if not zipfile.is_zipfile(path):  # np.load would leave the file open
                raise ValueError("not a zip archive")
            with np.load(path, allow_pickle=False) as content:
                arrays = dict(content.items())
            outputs = {name.removeprefix(OUTPUT): arrays.pop(name) for name in list(arrays) if name.startswith(OUTPUT)}
            return cls(**{**arrays, "test_sha256": str(arrays["test_sha256"])}, outputs=outputs)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise FolderError(f"{path} cannot be read ({error}). Export again.") from error
