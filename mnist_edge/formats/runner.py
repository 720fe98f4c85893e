"""Runs an opened file: uint8 images in, float32 probabilities out, whatever its own input and output are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.contract import TensorSpec
from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.text import flat, one_line

CHUNK = 500  # images that are converted at once
MOST_BATCH = 10_000  # images a call
ANY = 3  # images a call, to try a file that takes any number
Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


class Runner(Protocol):
    """An opened file. It takes images as MNIST has them and returns probabilities."""

    batch: int
    """How many images one call takes."""

    @property
    def io_specs(self) -> tuple[TensorSpec, TensorSpec] | None:
        """Return the input and the output as the file itself has them; None where the runtime does not say."""

    def run(self, images: Images) -> Probabilities:
        """Return float32 probabilities `[N, 10]` for uint8 `[N, 28, 28]`, also of quantized files and of logits."""

    def invoke(self) -> None:
        """Make the bare inference call on whatever the input tensor holds; `bench` times it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class BatchRunner(ABC):
    """Converts images to the numbers of the input tensor, in batches, and the output's numbers to probabilities."""

    batch: int
    io_specs: tuple[TensorSpec, TensorSpec]
    _path: Path

    def _prepare(self, source: TensorSpec, sink: TensorSpec, batch: int) -> None:
        """Remember the file's input and output; `batch` is the images a call where the file takes any number."""
        self.io_specs = source, sink
        shape = source.shape[0] or batch, *(size or 1 for size in source.shape[1:])
        self.batch = shape[0]
        self._shape = shape
        dtype = np.dtype(source.dtype)
        self._table = pixel_table(dtype, source.scale or 0.0, source.zero_point or 0)
        self._raw = dtype == np.uint8 and np.array_equal(self._table, np.arange(256))
        self._scale, self._zero_point = np.float32(sink.scale or 0), np.float32(sink.zero_point or 0)
        self._logits = sink.name == "logits"
        self._numbers = 10 * self.batch
        self._plain = sink.dtype == "float32" and not self._scale and not self._logits
        # of 256 numbers looking them up takes a fraction of computing with ten
        every = np.arange(256, dtype=np.uint8).view(sink.dtype) if np.dtype(sink.dtype).itemsize == 1 else None
        self._real = None if every is None or not self._scale else self._dequantized(every)

    @abstractmethod
    def _call(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return the output tensor for the input tensor of one batch; it holds batch × 10 numbers."""

    def parts(self, images: Images) -> Iterator[NDArray[Any]]:
        """Yield the numbers for the input tensor, call by call; many images are converted at once, for speed."""
        rest = -len(images) % self.batch
        if rest:  # the last call of a file with a fixed batch is filled up with black images
            images = np.concatenate([images, np.zeros((rest, 28, 28), np.uint8)])
        many = CHUNK * self.batch
        for start in range(0, len(images), many):
            part = images[start : start + many]
            yield from (part if self._raw else self._table.take(part)).reshape(-1, *self._shape)

    def run(self, images: Images) -> Probabilities:
        """Return float32 probabilities `[N, 10]` for uint8 `[N, 28, 28]`."""
        if len(images) == self.batch:  # one call, as an app makes it
            pixels = images if self._raw else self._table.take(images)
            outputs = self._rows(self._call(pixels.reshape(self._shape)))
            return outputs if self._plain else self._finished(outputs)
        stored = np.empty((-(-len(images) // self.batch), self.batch, 10), self.io_specs[1].dtype)
        for index, pixels in enumerate(self.parts(images)):
            stored[index] = self._rows(self._call(pixels))
        return self._finished(stored.reshape(-1, 10)[: len(images)])

    def _rows(self, output: NDArray[Any]) -> NDArray[Any]:
        """Return the output tensor of a call as `[batch, 10]`. Raises ArtifactError where it is of another size."""
        if output.size != self._numbers:
            raise ArtifactError(f"{self._path} does not run: it gives {list(output.shape)} for {self.batch} images.")
        return output.reshape(-1, 10)

    def _finished(self, outputs: NDArray[Any]) -> Probabilities:
        """Return the probabilities `[N, 10]` that a file's own numbers stand for."""
        if self._real is not None:
            outputs = self._real.take(outputs.view(np.uint8))
        elif self._scale:
            outputs = self._dequantized(outputs)
        outputs = outputs.astype(np.float32, copy=False)
        return softmax(outputs) if self._logits else outputs

    def _dequantized(self, stored: NDArray[Any]) -> Probabilities:
        """Return the real numbers of quantized ones, as float32."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray((stored.astype(np.float32) - self._zero_point) * self._scale, np.float32)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__dict__.clear()  # the runtime's objects go, and with them their memory


def takes_batches(open_file: Callable[[], Runner]) -> bool:
    """Return whether a file gives each image of a batch its own answer, whatever its neighbours are."""
    try:
        with open_file() as runner:
            images = np.random.default_rng(0).integers(0, 256, (runner.batch, 28, 28), np.uint8)
            outputs, moved = runner.run(images), runner.run(np.roll(images, 1, axis=0))
    except ArtifactError:
        return False
    return np.allclose(np.roll(outputs, 1, axis=0), moved, atol=1e-3)


def softmax(logits: Probabilities) -> Probabilities:
    """Return Softmax over the last axis of float32 `[N, 10]`; NaN where a logit is not finite."""
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - np.maximum.reduce(logits, axis=1, keepdims=True))
        return np.asarray(powers / np.add.reduce(powers, axis=1, keepdims=True), np.float32)


def pixel_table(dtype: np.dtype[Any], scale: float = 0.0, zero_point: int = 0) -> NDArray[Any]:
    """Return the 256 numbers that the pixels 0 to 255 become at an input of `dtype`.

    A float input takes pixel / 255. An integer one with a `scale` takes round(pixel / 255 / scale) + zero_point,
    clipped to its range (the affine quantization of the TFLite specification); without one it takes raw pixels.
    """
    unit = np.arange(256, dtype=np.float32) / np.float32(255)
    if dtype.kind == "f":
        return unit.astype(dtype)
    if not scale:
        return np.arange(256).astype(dtype)
    limits = np.iinfo(dtype)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # of a scale that is next to nothing
        steps = np.nan_to_num(np.round(unit / np.float32(scale))) + zero_point
    return np.asarray(np.clip(steps, limits.min, limits.max), dtype)


def check_io(path: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> tuple[TensorSpec, TensorSpec]:
    """Return a file's input and its first output.

    Raises:
        ArtifactError: it takes anything but 28×28 images, or gives anything but ten numbers for each.
    """
    if len(inputs) == 1 and outputs and _is_image(inputs[0]) and _is_ten(outputs[0], inputs[0].shape[0]):
        for spec in (inputs[0], outputs[0]):
            if spec.scale is not None and not 0 < spec.scale < float("inf"):
                raise ArtifactError(f"{path} is damaged: the scale of {flat(spec.name)} is {spec.scale}.")
        if (inputs[0].shape[0] or 1) > MOST_BATCH:
            raise ArtifactError(f"{path} takes {inputs[0].shape[0]:,} images a call, and the limit is {MOST_BATCH:,}.")
        return inputs[0], outputs[0]
    from mnist_edge.formats.inspection import tensor_text

    takes, gives = (one_line(", ".join(map(tensor_text, specs))) or "nothing" for specs in (inputs, outputs))
    raise ArtifactError(f"{path} takes {takes} and gives {gives}: not one 28×28 image in, ten probabilities out.")


def _is_image(tensor: TensorSpec) -> bool:
    """Return whether the sizes after the batch are an image's; sizes that are free or 1 do not count."""
    return _is_number(tensor) and [size for size in tensor.shape[1:] if size not in (1, None)] in ([28, 28], [784])


def _is_ten(tensor: TensorSpec, batch: int | None) -> bool:
    if not _is_number(tensor) or tensor.shape[-1:] != (10,) or {*tensor.shape[1:-1]} - {1, None}:
        return False
    rows = 1 if len(tensor.shape) == 1 else tensor.shape[0]
    return batch is None or rows in (batch, None)


def _is_number(tensor: TensorSpec) -> bool:
    try:
        return np.dtype(tensor.dtype).kind in "fiu"
    except TypeError:
        return False  # text, or a kind of number that NumPy does not have
