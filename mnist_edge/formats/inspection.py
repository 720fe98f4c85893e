"""What a format tells of a file: what `inspect` shows, and what the file computes between its input and its output."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Operator:
    """An operator in a file: its kind, version, and how often it stands there."""

    kind: str
    version: int
    count: int


@dataclass(frozen=True)
class RuntimeOperators:
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
class Footprint:
    """Bytes that a file takes on its target: `flash` for the model, `arena` of RAM; the runtime's own come on top."""

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
    executed: RuntimeOperators | None = None
    footprint: Footprint | None = None
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kernel:
    """A layer's weights as real numbers, as the file holds them; `layout` names its axes: HWIO, OIHW, IO, OHWI, OI."""

    name: str
    values: NDArray[np.float32]
    layout: str


@dataclass(frozen=True)
class Trace:
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
    """Return an input or output in one line: `image uint8 [1, 28, 28, 1]`."""
    return f"{name} {dtype} [{', '.join(map(str, dims))}]"
