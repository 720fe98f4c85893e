"""What a file format has to offer: the base class `Format`."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import ArtifactError, MissingRuntime, UnsupportedPrecision
from mnist_edge.core.reading import MEGABYTE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnist_edge.core.contract import Contract, IOOptions
    from mnist_edge.core.system import RuntimePackages
    from mnist_edge.formats.inspection import Description, Footprint, OperatorTime, Trace
    from mnist_edge.formats.request import Request
    from mnist_edge.formats.runner import Images, Runner
    from mnist_edge.formats.weights import Layer


MOST_BYTES = 200 * MEGABYTE
"""The limit of a model file, and of what is packed in it."""
INTEGER = (Precision.INT8, Precision.INT16X8)
"""The precisions in which activations are integers too."""


class Platform(Protocol):
    """Another kind of machine that a format's files are for; its runtime can be tried out here.

    Such files are exported only on request, and are never timed here.
    """

    name: str
    """The name that `--target` takes."""
    machine: str
    """The kind of machine, in a word."""
    counterpart_format: str
    """The format whose full-integer int8 file is exported with one of these and has to give the same classes."""
    promise: str
    """That they do, in words."""

    def footprint(self, path: Path) -> Footprint:
        """Measure the memory that a file needs. Raises ArtifactError and MissingRuntime as the format's `open` does."""


class Format(ABC):
    """One file format: a package in this folder with an instance called `FORMAT`.

    Its folder may hold `snippets/LANGUAGE.txt`, templates for code that runs a file, and `browser.js`, its runner for
    the demo page.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    precisions: ClassVar[tuple[Precision, ...]] = ()
    """What `export` can write; a format with none is only read."""
    unsupported: ClassVar[Mapping[Precision, str]] = {}
    """Why the other precisions cannot work, or are of no use."""
    methods: ClassVar[tuple[str, ...]] = ()
    """The calibration methods of int8, the default first."""
    packages: ClassVar[tuple[str, ...]] = ()
    """The packages whose versions decide what `export` writes and `open` computes."""
    runtime: ClassVar[RuntimePackages | None] = None
    """What a board installs to run these files; None where no board can."""
    variants: ClassVar[Mapping[str, str]] = {}
    """Other ways in which the runtime can compute the same file, which `open` takes by these names.

    The text says what is known to be wrong where only so Keras's answers come; it may be empty.
    """
    other_runtimes: ClassVar[tuple[str, ...]] = ()
    """Those of `variants` that are another runtime: each has a first look of its own, which `open` takes."""
    platform: ClassVar[Platform | None] = None
    """The other kind of machine that its files are for; None where they are for any."""

    @property
    def folder(self) -> Path:
        """Return the folder of the format's own package."""
        return Path(str(sys.modules[type(self).__module__].__file__)).parent

    @abstractmethod
    def missing(self) -> str | None:
        """Return what has to be installed before `open` works; None where it works."""

    def missing_variant(self, name: str) -> str | None:
        """Return what has to be installed before `open` takes this variant; None where it does."""
        return self.missing()

    def slow_here(self, precision: Precision) -> str | None:
        """Return why the runtime is slow with files of a precision on this CPU; None where nothing is known of it."""
        return None

    @abstractmethod
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

    def contract(self, precision: Precision, io: IOOptions) -> Contract:
        """Return the input and output that a file of this precision has.

        Raises:
            UnsupportedPrecision: a file of this format cannot have them.
        """
        raise UnsupportedPrecision(f"{self.suffix} files are not exported.")

    def export(self, model: Any, path: Path, request: Request) -> Contract:
        """Convert a Keras model, write it to `path`, and return the contract that the file really has.

        Args:
            model: Keras model, float32 `[N, 28, 28, 1]` in [0, 1] → probabilities `[N, 10]`, Softmax last.
            path: the file to write; other files that are written next to it belong to it.
            request: precision, input and output, calibration.

        Raises:
            UnsupportedPrecision: the format has no such precision, input or output.
            ConversionError: the converter failed, or broke the contract.
            MissingRuntime: the converter is not installed.
        """
        raise UnsupportedPrecision(f"{self.suffix} files are not exported.")

    def stored_contract(self, path: Path) -> Any:
        """Return the contract that `export` put into a file, as JSON gives it; None of others. Raises ArtifactError."""
        return None

    def layer_count(self, model: Any, request: Request) -> int:
        """Return how many layers of an int8 file `Quantization.float_layers` can name. Raises as `export` does."""
        raise UnsupportedPrecision(f"{self.suffix} files are not exported.")

    def describe(self, path: Path) -> Description:
        """Read any file of this format.

        Raises:
            ArtifactError: it cannot be read, or this format has nothing to show.
            MissingRuntime: the package that reads it is not installed.
        """
        raise ArtifactError(f"{path}: there is nothing to show of a {self.suffix} file.")

    def layers(self, path: Path) -> tuple[Layer, ...]:
        """Return the operators of any file of this format that have weights, in the order of execution.

        Raises:
            ArtifactError: it cannot be read, or its weights cannot be shown.
            MissingRuntime: the package that reads it is not installed.
        """
        raise ArtifactError(f"{path}: the weights of a {self.suffix} file cannot be compared.")

    def scan(self, path: Path) -> None:  # noqa: B027  # most formats have nothing to do here
        """Read what native code other than the runtime reads in a file; nothing for a format that has no such code."""

    def input_range(self, path: Path) -> tuple[float, float] | None:
        """Return the lowest and highest number that a quantized file tells apart in its float input.

        None where the input is quantized before, or not at all, and where that cannot be seen here.
        """
        return None

    def trace(self, path: Path, images: Images) -> Trace:
        """Run a file operator by operator over uint8 `[N, 28, 28]`, which need not give its usual outputs bit by bit.

        Raises:
            ArtifactError: it cannot be run so.
            MissingRuntime: a package that this needs is not installed.
        """
        raise ArtifactError(f"{path}: a {self.suffix} file cannot be run operator by operator.")

    def operator_times(self, path: Path, images: Images, threads: int) -> tuple[OperatorTime, ...]:
        """Return the time of each operator over uint8 `[N, 28, 28]`, the slowest first.

        Raises:
            ArtifactError: it does not run.
            MissingRuntime: the runtime has no profiler that Python can ask.
        """
        raise MissingRuntime(f"the runtime of {self.suffix} files has no profiler that Python can ask")
