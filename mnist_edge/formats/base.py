"""What a format has to offer: the `Format` and `Runner` protocols, and how pixels become a tensor's numbers."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mnist_edge.artifact import Contract, Precision

Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


class Runner(Protocol):
    """An opened file. Images go in as MNIST has them, probabilities come out, whatever the file's own ends are."""

    def run(self, images: Images) -> Probabilities:
        """Take uint8 `[N, 28, 28]`, give float32 `[N, 10]`; quantize and dequantize arithmetic is inside."""

    def invoke(self) -> None:
        """Make the bare inference call on whatever the input holds; this is what `bench` times as such."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Format(Protocol):
    """One file format: a class in a file of this folder, instantiated there as `FORMAT`."""

    name: str
    suffix: str
    precisions: tuple[Precision, ...]
    """What `export` can write; a format with none is only read."""
    packages: tuple[str, ...]
    """The packages whose versions decide what `export` writes and `open` computes."""

    def missing(self) -> str | None:
        """Say what has to be installed before `open` works; None where it works."""

    def contract(self, precision: Precision) -> Contract:
        """Give the ends that a file of this precision has."""

    def export(
        self, model: Any, path: Path, precision: Precision, calibration: Images, metadata: dict[str, str]
    ) -> None:
        """Convert a Keras model and write it to `path`.

        Args:
            model: Keras model, float32 `[N, 28, 28, 1]` in [0, 1] → probabilities `[N, 10]`.
            path: the file to write.
            precision: one of `precisions`.
            calibration: uint8 `[N, 28, 28]`, the representative dataset.
            metadata: what the file tells of itself, beside the contract.

        Raises:
            UnsupportedPrecision: not one of `precisions`.
            ConversionError: the converter failed, or broke the contract.
            MissingRuntime: the converter is not installed.
        """

    def open(self, path: Path, *, threads: int = 1) -> Runner:
        """Load a file into its runtime.

        Raises:
            ArtifactError: it is missing, damaged, foreign, or does not take 28×28 images and give ten numbers.
            MissingRuntime: the runtime is not installed.
        """


def pixel_table(dtype: np.dtype[Any], scale: float = 0.0, zero_point: int = 0) -> NDArray[Any]:
    """Give the 256 numbers that the pixels 0 to 255 become at an input of `dtype`.

    A float input takes pixel / 255. An integer one with a `scale` takes round(pixel / 255 / scale) + zero_point,
    clipped to its range (the affine quantization of the TFLite specification); without one it takes raw pixels.
    """
    unit = np.arange(256, dtype=np.float32) / np.float32(255)
    if dtype.kind == "f":
        return unit.astype(dtype)
    if not scale:
        return np.arange(256).astype(dtype)
    limits = np.iinfo(dtype)
    steps = np.round(unit / np.float32(scale)) + zero_point
    return np.asarray(np.clip(steps, limits.min, limits.max), dtype)


def one_by_one(images: Images, run: Callable[[Images], Probabilities]) -> Probabilities:
    """Run a batch-1 file over `images`: `run` takes one uint8 `[28, 28]` and gives `[10]` or `[1, 10]`."""
    outputs = np.empty((len(images), 10), np.float32)
    for index, image in enumerate(images):
        outputs[index] = run(image)
    return outputs
