"""What a format has to offer: the `Format` and `Runner` protocols, and how pixels become a tensor's numbers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mnist_edge.core.contract import Contract, IOOptions, Precision
from mnist_edge.formats.inspection import Description, Footprint, Trace
from mnist_edge.formats.runner import Images, Runner


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
class TuningResult:
    """A choice of quantization, and what was tried before it: each with its accuracy drop, and its time if measured."""

    quantization: Quantization
    tried: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Request:
    """What `export` is asked for. `calibration` is the representative dataset, uint8 `[N, 28, 28]`."""

    precision: Precision
    calibration: Images
    metadata: dict[str, str]
    io: IOOptions = field(default_factory=IOOptions)
    quantization: Quantization = field(default_factory=Quantization)


class Platform(Protocol):
    """A machine whose runtime can be tried out here: its files are made only when asked for, and never timed here."""

    name: str
    """What `--target` calls it."""
    machine: str
    """What it is, in a word."""
    counterpart_format: str
    """The format whose full-integer int8 file goes with one of these, and whose classes these must give."""
    promise: str
    """That they do, in words."""

    def footprint(self, path: Path) -> Footprint:
        """Measure what a file takes. Raises ArtifactError and MissingRuntime as the format's `open` does."""


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
    def platform(self) -> Platform | None:
        """The other kind of machine that its files are for; None where they are for any."""

    def missing(self) -> str | None:
        """Say what has to be installed before `open` works; None where it works."""

    def contract(self, precision: Precision, io: IOOptions) -> Contract:
        """Return the ends that a file of this precision has. Raises UnsupportedPrecision where it cannot have them."""

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

    def trace(self, path: Path, images: Images) -> Trace:
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
