"""The weights of a file's layers as real numbers, in one layout for all formats, with the steps they are rounded to."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.text import flat

Array = NDArray[np.float32]
KERAS_AXES = "DHWIO"
MOST_LAYERS = 1000
KERNEL, BIAS = "weight", "bias"


@dataclass(frozen=True)
class Weights:
    """Some constants of a layer, as real numbers.

    `values` of a kernel are in Keras's layout, HWIO or IO, its last axis the output channels, and the rows behind a
    flattened picture in the order height, width, channel. `dtype` is what the file holds. `step`, which broadcasts to
    `values`, is the distance of two neighbouring numbers that it can hold there: 0 where it holds float32.
    """

    role: str
    values: Array
    dtype: str
    step: Array

    @property
    def quantized(self) -> bool:
        """Return whether the file holds integers."""
        return "int" in self.dtype


@dataclass(frozen=True)
class Layer:
    """An operator that has constants of its own, in the order of execution.

    `output` is the name of the tensor that it makes, as a trace has it; the bias may come from a later operator.
    `weights` are empty where the kernel is computed in the file, so that it cannot be compared.
    """

    name: str
    kind: str
    output: str
    weights: tuple[Weights, ...]

    @property
    def kernel(self) -> Weights | None:
        """Return the kernel of a convolution or Dense layer; None for other operators."""
        return next((item for item in self.weights if item.role == KERNEL), None)


def printable(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Return layers with names that print in one line. Raises ValueError where there are too many."""
    found = [replace(item, name=flat(item.name), kind=flat(item.kind)) for item in layers]
    if len(found) > MOST_LAYERS:
        raise ValueError(f"it has {len(found):,} layers with weights, and the limit is {MOST_LAYERS:,}")
    return tuple(found)


def in_keras_layout(weights: Weights, layout: str) -> Weights:
    """Return a kernel whose axes are named in `layout`, OHWI say, in Keras's layout; ValueError for other ranks."""
    order = [layout.index(axis) for axis in KERAS_AXES if axis in layout]
    step = weights.step
    return replace(
        weights,
        values=weights.values.transpose(order),
        step=step.transpose(order) if step.ndim == len(order) else step,
    )


def rows_channels_last(weights: Weights, channels: int, height: int, width: int) -> Weights:
    """Return a kernel IO whose rows are a picture's numbers, CHW, with its rows as HWC."""

    def ordered(array: Array) -> Array:
        if array.ndim != 2 or len(array) != len(weights.values):
            return array
        rows = array.reshape(channels, height, width, -1).transpose(1, 2, 0, 3)
        return rows.reshape(array.shape)

    return replace(weights, values=ordered(weights.values), step=ordered(weights.step))


def float_step(values: NDArray[np.generic]) -> Array:
    """Return the distance of neighbouring numbers of a float array: 0 for float32 and finer."""
    if values.dtype != np.float16:
        return np.zeros((), np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(np.spacing(np.abs(values)), np.float32)


def along(values: object, rank: int, axis: int) -> Array:
    """Return one number, or one for each place on an axis, so that it broadcasts to an array of that rank."""
    shape = [1] * rank
    if np.size(values) > 1:  # type: ignore[arg-type]
        shape[axis] = -1
    return np.asarray(values, np.float32).reshape(shape)
