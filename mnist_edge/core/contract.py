"""What goes into an exported file and what comes out: `Precision`, `TensorSpec`, `Contract`."""

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from mnist_edge.core.typed_json import structure

LABELS = tuple("0123456789")


class Precision(StrEnum):
    """How an exported file stores and computes numbers."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC = "dynamic"
    INT8 = "int8"
    INT16X8 = "int16x8"


@dataclass(frozen=True)
class IOOptions:
    """What a user may choose for a file besides its precision.

    `batch` is the number of images a call takes, None for any; `head` is `probabilities` or `logits`; `full_integer`
    asks for int8 input and output, as microcontrollers and accelerators need them.
    """

    batch: int | None = 1
    head: str = "probabilities"
    full_integer: bool = False

    @property
    def tag(self) -> str:
        """Return the part of a file's name for other options than the default: `-logits`, `-io8`, `-batch4` …"""
        head = "" if self.head == "probabilities" else f"-{self.head}"
        batch = "" if self.batch == 1 else "-anybatch" if self.batch is None else f"-batch{self.batch}"
        return f"{head}{'-io8' if self.full_integer else ''}{batch}"


DEFAULT_IO = IOOptions()


@dataclass(frozen=True)
class TensorSpec:
    """The input or output of a file: name, dtype, shape (None is any size), and what its numbers mean.

    Where `scale` is given, the real number is (stored - zero_point) × scale.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    meaning: str
    scale: float | None = None
    zero_point: int | None = None

    def check(self) -> None:
        """Raise ValueError where no tensor can be like this."""
        sizes_fit = len(self.shape) > 0 and all(size is None or size > 0 for size in self.shape)
        if not sizes_fit or not (self.scale is None or self.scale > 0):
            raise ValueError(f"no input or output can be {self}")


@dataclass(frozen=True)
class Contract:
    """What goes into an exported file and what comes out: all that an embedder has to know.

    Where the largest probability is under `threshold`, an image shows no digit; None where the network cannot tell.
    """

    input: TensorSpec
    output: TensorSpec
    layout: str
    labels: tuple[str, ...] = LABELS
    threshold: float | None = None

    @classmethod
    def of(cls, precision: Precision, layout: str, io: IOOptions = DEFAULT_IO) -> Self:
        """Return the contract of a precision; `layout` is the format's own, NHWC or NCHW.

        The scale and zero point of full-integer logits depend on the network: they are None here.
        """
        shape = (io.batch, 28, 28, 1) if layout == "NHWC" else (io.batch, 1, 28, 28)
        meaning = "one probability a digit" if io.head == "probabilities" else "one logit a digit, before Softmax"
        output = TensorSpec(io.head, "float32", (io.batch, 10), meaning)
        if io.full_integer:
            image = TensorSpec("image", "int8", shape, "pixel - 128, -128 black to 127 white", 1 / 255, -128)
            known = (1 / 256, -128) if io.head == "probabilities" else (None, None)
            output = TensorSpec(io.head, "int8", (io.batch, 10), meaning, *known)
        elif precision is Precision.INT8:
            image = TensorSpec("image", "uint8", shape, "raw pixels, 0 black to 255 white")
        else:
            image = TensorSpec("image", "float32", shape, "pixels / 255, 0 black to 1 white")
        return cls(image, output, layout)

    def mismatches(self, specs: tuple[TensorSpec, TensorSpec]) -> list[str]:
        """Return a line for each difference between this contract and a file's own input and output."""
        lines = []
        if self.labels != LABELS:
            lines.append(f"the labels are {' '.join(self.labels)}, not {' '.join(LABELS)}")
        for promised, actual in zip((self.input, self.output), specs, strict=True):
            for what in ("name", "dtype", "shape"):
                was, now = getattr(promised, what), getattr(actual, what)
                if was != now:
                    lines.append(f"the {what} of {promised.name} is {now} in the file, {was} in the contract")
            if actual.scale is None:
                continue
            scale, zero_point = promised.scale, promised.zero_point
            if promised.dtype == "uint8" and scale is None:  # raw pixels are steps of 1/255
                scale, zero_point = 1 / 255, 0
            if scale is not None and not math.isclose(scale, actual.scale, rel_tol=1e-6):
                lines.append(
                    f"the scale of {promised.name} is {actual.scale:.6g} in the file, {scale:.6g} in the contract"
                )
            if zero_point not in (None, actual.zero_point):
                difference = f"{actual.zero_point} in the file, {zero_point} in the contract"
                lines.append(f"the zero point of {promised.name} is {difference}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return what files store of this contract: all that is known."""
        return asdict(self, dict_factory=lambda items: {key: value for key, value in items if value is not None})

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """Return the contract that `to_json` stored. Raises ValueError where it is something else."""
        contract = structure(content, cls)
        contract.check()
        return contract

    def check(self) -> None:
        """Raise ValueError where no file can be like this."""
        self.input.check()
        self.output.check()
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ValueError(f"no largest probability is under {self.threshold}, or all are")
