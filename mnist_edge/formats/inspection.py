"""What a format reads from a file: the description that `inspect` shows, and the trace of what the file computes."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.contract import TensorSpec
from mnist_edge.core.text import flat

ABSURD = 2**63


@dataclass(frozen=True)
class Operator:
    """An operator in a file: its kind, its version, and how often it occurs."""

    kind: str
    version: int
    count: int


@dataclass(frozen=True)
class OperatorTime:
    """What an operator takes a call in microseconds, as the runtime's own profiler tells."""

    name: str
    kind: str
    microseconds: float


@dataclass(frozen=True)
class RuntimeOperators:
    """The kinds of operators that a runtime runs: in integers, in float, and those that only move data."""

    int8: tuple[str, ...]
    other: tuple[str, ...]
    data_movement: tuple[str, ...]
    note: str

    def __str__(self) -> str:
        total = len(self.int8) + len(self.other) + len(self.data_movement)
        note = f"; {self.note}" if self.note else ""
        return (
            f"{len(self.int8)} of {total} operators compute in integers ({_counted(self.int8)}), {len(self.other)} in "
            f"float ({_counted(self.other)}), {len(self.data_movement)} move or convert{note}"
        )


@dataclass(frozen=True)
class Footprint:
    """Bytes that a file needs on its platform: `flash` for the model and `arena` in RAM, without the runtime itself."""

    flash: int
    arena: int
    measured_with: str

    def __str__(self) -> str:
        return (
            f"{self.flash:,} bytes of flash for the array, {self.arena:,} bytes of arena in RAM "
            f"({self.measured_with}); the runtime's own code and data come on top"
        )


@dataclass(frozen=True)
class Description:
    """What `inspect` shows of any file.

    `macs` are multiply-accumulates for one image, `sizes` are bytes by part, `oldest` is the oldest runtime that loads
    the file. `runtime_operators` is None where no runtime is installed; `external_files` hold weights outside the file;
    `refused` says why the installed runtime does not load it.
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
    runtime_operators: RuntimeOperators | None = None
    footprint: Footprint | None = None
    external_files: tuple[str, ...] = ()
    refused: str | None = None

    def printable(self) -> "Description":
        """Return it with all text of the file in single lines that print. Raises ValueError for absurd numbers."""
        if max(self.parameters, self.macs) >= ABSURD:
            raise ValueError("its tensors have absurd shapes")
        return replace(
            self,
            inputs=tuple(map(flat, self.inputs)),
            outputs=tuple(map(flat, self.outputs)),
            operators=tuple(replace(item, kind=flat(item.kind)) for item in self.operators),
            versions={flat(key): flat(value) for key, value in self.versions.items()},
            oldest=flat(self.oldest),
            metadata={flat(key): flat(value) for key, value in self.metadata.items()},
            external_files=tuple(map(flat, self.external_files)),
        )


@dataclass(frozen=True)
class Kernel:
    """A layer's weights as real numbers, as the file holds them; `layout` names its axes: HWIO, OIHW, IO, OHWI, OI."""

    name: str
    values: NDArray[np.float32]
    layout: str


@dataclass(frozen=True)
class Trace:
    """What a file computes between its input and its output, as real numbers.

    `kernels` are in the order of execution. `tensors` are the outputs of operators for some images, `[N, …]`, with
    their names, pictures as NHWC. `channels_first` says whether a flattened picture has its channels first.
    """

    kernels: tuple[Kernel, ...]
    tensors: tuple[tuple[str, NDArray[np.float32]], ...]
    channels_first: bool = False


def kinds_in(text: str) -> frozenset[str]:
    """Return the kinds of operators that a text lists."""
    return frozenset(text.split())


def _counted(kinds: tuple[str, ...]) -> str:
    return ", ".join(f"{kind} ×{count}" if count > 1 else kind for kind, count in Counter(kinds).items()) or "none"


def tensor_text(tensor: TensorSpec, *, compact: bool = False, free: Iterable[str] = repeat("N")) -> str:
    """Return an input or output in one line; `free` are the names of its free sizes.

    `image uint8 [1, 28, 28, 1], raw pixels`, with scale and zero point where it has them; compact: `uint8 1×28×28×1`.
    """
    names = iter(free)
    sizes = [next(names) if size is None else str(size) for size in tensor.shape]
    if compact:
        return f"{tensor.dtype} {'×'.join(sizes)}"
    meaning = f", {tensor.meaning}" if tensor.meaning else ""
    quantized = f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}" if tensor.scale is not None else ""
    return " ".join(f"{tensor.name} {tensor.dtype} [{', '.join(sizes)}]{meaning}{quantized}".split())
