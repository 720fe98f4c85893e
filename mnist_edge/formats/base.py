"""What a format has to offer: the `Format` and `Runner` protocols, and how pixels become a tensor's numbers."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.manifest import Contract, Ends, Precision, Tensor
from mnist_edge.formats.target import Footprint, Target

CHUNK = 500
Images = NDArray[np.uint8]
Probabilities = NDArray[np.float32]


class Runner(Protocol):
    """An opened file. Images go in as MNIST has them, probabilities come out, whatever the file's own ends are."""

    batch: int
    """How many images one call takes."""
    ends: tuple[Tensor, Tensor] | None
    """The input and the output as the file itself has them; None where the runtime does not tell."""

    def run(self, images: Images) -> Probabilities:
        """Take uint8 `[N, 28, 28]`, give float32 `[N, 10]`; quantize, dequantize and Softmax of logits are inside."""

    def invoke(self) -> None:
        """Make the bare inference call on whatever the input holds; this is what `bench` times as such."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True)
class Quantization:
    """How weights and activations are quantized.

    `method` is one of the format's calibration `methods`; `float_layers` are the positions, from 0, of layers that stay
    in float, counted among those that have weights.
    """

    method: str = "minmax"
    per_channel: bool = True
    float_layers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tuned:
    """A choice of quantization, and what was tried before it: each with its accuracy drop, and its time if measured."""

    quantization: Quantization
    tried: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Request:
    """What `export` is asked for. `calibration` is the representative dataset, uint8 `[N, 28, 28]`."""

    precision: Precision
    calibration: Images
    metadata: dict[str, str]
    ends: Ends = field(default_factory=Ends)
    quantization: Quantization = field(default_factory=Quantization)


@dataclass(frozen=True)
class Operator:
    """An operator in a file: its kind, version, and how often it stands there."""

    kind: str
    version: int
    count: int


@dataclass(frozen=True)
class Executed:
    """The operators that a runtime really runs: in integers, in float, and those that only move or convert numbers."""

    int8: tuple[str, ...]
    other: tuple[str, ...]
    moves: tuple[str, ...]
    note: str

    def __str__(self) -> str:
        total = len(self.int8) + len(self.other) + len(self.moves)
        note = f"; {self.note}" if self.note else ""
        return (
            f"{len(self.int8)} of {total} operators compute in int8 ({_listed(self.int8)}), {len(self.other)} in float "
            f"({_listed(self.other)}), {len(self.moves)} move or convert{note}"
        )


@dataclass(frozen=True)
class Description:
    """What `inspect` tells of any file.

    `sizes` are bytes by part; `executed` is None where no runtime is installed; `beside` names files that hold weights.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: tuple[Operator, ...]
    versions: dict[str, str]
    parameters: int
    macs: int
    sizes: dict[str, int]
    oldest: str
    metadata: dict[str, str]
    executed: Executed | None = None
    footprint: Footprint | None = None
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kernel:
    """A layer's weights as real numbers, as the file holds them; `layout` names its axes: HWIO, OIHW, IO, OHWI, OI."""

    name: str
    values: NDArray[np.float32]
    layout: str


@dataclass(frozen=True)
class Inside:
    """What a file computes between its ends, as real numbers.

    `kernels` are in the order of execution. `tensors` are what operators give for some images, `[N, …]`, pictures as
    NHWC. `channels_first` tells whether a flattened picture has its channels first.
    """

    kernels: tuple[Kernel, ...]
    tensors: tuple[tuple[str, NDArray[np.float32]], ...]
    channels_first: bool = False


def _listed(kinds: tuple[str, ...]) -> str:
    return ", ".join(f"{kind} ×{count}" if count > 1 else kind for kind, count in Counter(kinds).items()) or "none"


def end(name: str, dtype: str, dims: list[Any]) -> str:
    """Give an input or output in one line: `image uint8 [1, 28, 28, 1]`."""
    return f"{name} {dtype} [{', '.join(map(str, dims))}]"


class Format(Protocol):
    """One file format: a class in a file of this folder, instantiated there as `FORMAT`."""

    name: str
    suffix: str
    precisions: tuple[Precision, ...]
    """What `export` can write; a format with none is only read."""
    unsupported: dict[Precision, str]
    """Why the other precisions cannot work, or do not pay."""
    methods: tuple[str, ...]
    """The calibration methods of int8, the default first."""
    packages: tuple[str, ...]
    """The packages whose versions decide what `export` writes and `open` computes."""
    variants: tuple[str, ...]
    """Other ways in which the runtime can compute the same file, which `open` takes by these names."""

    folder: Path
    """Its own folder, with `snippets/LANGUAGE.txt` and `browser.js` where it has them."""

    @property
    def target(self) -> Target | None:
        """The other kind of machine that its files are for; None where they are for any."""

    def missing(self) -> str | None:
        """Say what has to be installed before `open` works; None where it works."""

    def contract(self, precision: Precision, ends: Ends) -> Contract:
        """Give the ends that a file of this precision has. Raises UnsupportedPrecision where it cannot have them."""

    def export(self, model: Any, path: Path, request: Request) -> Contract:
        """Convert a Keras model, write it to `path`, and give the contract that the file really has.

        Args:
            model: Keras model, float32 `[N, 28, 28, 1]` in [0, 1] → probabilities `[N, 10]`, Softmax last.
            path: the file to write; what else is written beside it belongs to it.
            request: precision, ends, calibration.

        Raises:
            UnsupportedPrecision: the format has no such precision or ends.
            ConversionError: the converter failed, or broke the contract.
            MissingRuntime: the converter is not installed.
        """

    def describe(self, path: Path) -> Description:
        """Read any file of this format.

        Raises:
            ArtifactError: it is none.
            MissingRuntime: the package that reads it is not installed.
        """

    def look_inside(self, path: Path, images: Images) -> Inside:
        """Run a file operator by operator over uint8 `[N, 28, 28]`, which need not give its usual outputs bit by bit.

        Raises:
            ArtifactError: it cannot be run so.
            MissingRuntime: a package that this needs is not installed.
        """

    def open(self, path: Path, *, threads: int = 1, batch: int = 1, variant: str | None = None) -> Runner:
        """Load a file into its runtime.

        Args:
            path: the file.
            threads: of the runtime.
            batch: images a call, for a file that takes any number.
            variant: one of `variants`, instead of what the runtime does by itself.

        Raises:
            ArtifactError: it is missing, damaged, foreign, or does not take 28×28 images and give ten numbers.
            MissingRuntime: the runtime is not installed.
        """


class BatchRunner(ABC):
    """What runners share: images → the input tensor's numbers, in batches, and the output → probabilities."""

    batch: int
    ends: tuple[Tensor, Tensor]

    def _prepare(self, source: Tensor, sink: Tensor, batch: int) -> None:
        """Take the file's ends, and how many images a call takes where it takes any number."""
        self.ends = source, sink
        shape = source.shape[0] or batch, *(size or 1 for size in source.shape[1:])
        self.batch = shape[0]
        self._shape = shape
        dtype = np.dtype(source.dtype)
        self._table = pixel_table(dtype, source.scale or 0.0, source.zero_point or 0)
        self._raw = dtype == np.uint8 and np.array_equal(self._table, np.arange(256))
        self._scale, self._zero_point = np.float32(sink.scale or 0), np.float32(sink.zero_point or 0)
        self._logits = sink.name == "logits"

    @abstractmethod
    def _call(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Run one batch: numbers for the input tensor in, the output tensor's numbers `[batch, 10]` out."""

    def parts(self, images: Images) -> Iterator[NDArray[Any]]:
        """Give the numbers for the input tensor, call by call; many at once are converted, for speed."""
        rest = -len(images) % self.batch
        if rest:  # the last call of a file with a fixed batch is filled up with black images
            images = np.concatenate([images, np.zeros((rest, 28, 28), np.uint8)])
        many = CHUNK * self.batch
        for start in range(0, len(images), many):
            part = images[start : start + many]
            yield from (part if self._raw else self._table[part]).reshape(-1, *self._shape)

    def run(self, images: Images) -> Probabilities:
        """Take uint8 `[N, 28, 28]`, give float32 `[N, 10]`."""
        if len(images) == self.batch:  # one call, as an app makes it
            outputs = self._call((images if self._raw else self._table[images]).reshape(self._shape)).reshape(-1, 10)
        else:
            outputs = np.empty((-(-len(images) // self.batch), self.batch, 10), np.float32)
            for index, pixels in enumerate(self.parts(images)):
                outputs[index] = self._call(pixels)
            outputs = outputs.reshape(-1, 10)[: len(images)]
        if self._scale:
            outputs = (outputs - self._zero_point) * self._scale
        return softmax(outputs) if self._logits else outputs

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__dict__.clear()  # the runtime's objects go, and with them their memory


def softmax(logits: Probabilities) -> Probabilities:
    """Softmax over the last axis of float32 `[N, 10]`."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


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
