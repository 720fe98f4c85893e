"""One set of quantization ranges: which layers have one, and the 8-bit numbers that follow from a range or a kernel.

Every exporter computes its scales and zero points here, so that files of different formats are the same network.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import ConversionError, ModelError
from mnist_edge.formats.keras.folding import CHANNEL_AXIS, folded
from mnist_edge.formats.keras.structure import layer_calls

Range = tuple[float, float]
"""The smallest and the largest value of a layer's output after its activation; 0 is within it."""
WITH_RANGE = ("Conv2D", "DepthwiseConv2D", "Dense", "GlobalAveragePooling2D")
"""Layers whose outputs are rounded to a range of their own."""
AS_BEFORE = ("Flatten", "Reshape", "MaxPooling2D", "ZeroPadding2D", "Dropout")
"""Layers whose outputs are values of their inputs."""
ACTIVATIONS = ("linear", "relu", "relu6")
STEPS, LARGEST = 255, 127


def chain(model: Any) -> list[Any]:
    """Return the layers of a folded model in the order of computation, the last Softmax apart.

    Raises:
        ModelError: a layer is of another kind than those with a range, or not in one line with the others.
    """
    calls = [call for call in layer_calls(model) if type(call.layer).__name__ != "Dropout"]
    layers = [call.layer for call in calls]
    if layers and _is_softmax(layers[-1]):
        layers.pop()
    for index, layer in enumerate(layers):
        kind, sources = type(layer).__name__, calls[index].sources
        activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
        last = index == len(layers) - 1
        if sources != (index - 1,) or layers.count(layer) > 1:
            raise _unknown(layer, "is not in one line with the others")
        if kind not in (*WITH_RANGE, *AS_BEFORE):
            raise _unknown(layer, "is of a kind whose int8 form is not simulated")
        if activation not in (*ACTIVATIONS, *(["softmax"] if last and kind == "Dense" else [])):
            raise _unknown(layer, f"has the activation {activation}")
        if kind == "Dense" and len(calls[index].shape) != 2:
            raise _unknown(layer, "gives more than one row an image")
    if not layers or type(layers[-1]).__name__ != "Dense":
        raise ModelError("quantization-aware fine-tuning needs a network that ends in a Dense layer of ten.")
    return layers


def _is_softmax(layer: Any) -> bool:
    kind = type(layer).__name__
    return kind == "Softmax" or (kind == "Activation" and layer.activation.__name__ == "softmax")


def _unknown(layer: Any, why: str) -> ModelError:
    return ModelError(
        f"the layer {layer.name!r} ({type(layer).__name__}) {why}: quantization-aware fine-tuning knows chains of "
        f"{', '.join((*WITH_RANGE, *AS_BEFORE))} with {', '.join(ACTIVATIONS)}, and BatchNormalization behind one of "
        "them. Change that layer, or export without --qat."
    )


def check_ranges(model: Any, ranges: Sequence[Range]) -> None:
    """Raise ConversionError where a model has another number of layers with a range than ranges."""
    try:
        layers = [layer for layer in chain(folded(model)) if type(layer).__name__ in WITH_RANGE]
    except ModelError as error:
        raise ConversionError(f"the model's quantization ranges are of another network: {error}") from error
    if len(layers) != len(ranges):
        raise ConversionError(
            f"there are {len(ranges)} quantization ranges for {len(layers)} layers: training.json is of another one."
        )


def step_and_zero(bounds: Range) -> tuple[np.float32, int]:
    """Return the scale of a range and its zero point in uint8, as TensorFlow Lite's converter computes them."""
    low, high = bounds
    scale = (high - low) / STEPS
    return np.float32(scale), min(max(round(-low / scale), 0), STEPS)


def kernel_steps(kernel: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Return the scale of each output channel of a convolution, or the one of a Dense kernel; it broadcasts."""
    return np.asarray(np.maximum(_largest(kernel, kind) / LARGEST, 1e-12), np.float32)


def on_grid(kernel: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Return a kernel rounded to its scales. Its largest values stay bit by bit, so that the scales stay the same."""
    steps = kernel_steps(kernel, kind)
    whole = np.round(kernel / steps)
    return np.where(np.abs(whole) == LARGEST, np.sign(whole) * _largest(kernel, kind), whole * steps).astype(np.float32)


def shared_axes(kind: str, rank: int) -> tuple[int, ...]:
    """Return the axes of a kernel whose numbers share a scale."""
    channels = CHANNEL_AXIS.get(kind, (rank - 1,)) if rank > 2 else ()
    return tuple(axis for axis in range(rank) if axis not in channels)


def _largest(kernel: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Return the largest absolute value that shares a scale."""
    return np.asarray(np.abs(kernel).max(axis=shared_axes(kind, kernel.ndim), keepdims=True), np.float32)
