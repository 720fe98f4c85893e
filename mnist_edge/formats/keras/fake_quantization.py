"""Simulates int8 in Keras: weights and activations are rounded to 256 values, and all else is computed in float32.

Ranges are the smallest and largest value of each activation over the given images, as converters calibrate; weights
have a scale for each output channel in convolutions and one in all in Dense layers (the TFLite quantization
specification).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.metrics import compare
from mnist_edge.formats.keras.folding import CHANNEL_AXIS, folded
from mnist_edge.formats.keras.structure import run

MOVES = {"Reshape", "Flatten", "Permute", "MaxPooling1D", "MaxPooling2D", "GlobalMaxPooling2D", "ZeroPadding2D"}
"""Layers whose outputs are values of their inputs, so that nothing is rounded once more."""
FUSED = {"linear", "relu", "relu6", "softmax"}
"""Activations that a runtime computes with the layer before it, or in float."""


def int8_cost(model: Any, pixels: NDArray[np.float32], others: NDArray[np.float32]) -> dict[str, float]:
    """Return what int8 must cost a network: the root mean square and the largest error of a logit.

    Args:
        model: Keras model in the form of the contract.
        pixels: the representative dataset, float32 `[N, 28, 28, 1]` in [0, 1].
        others: training images on which the cost is measured, of the same form.
    """
    whole = folded(model)
    observer = _Observer()
    run(whole, pixels, observer.call)
    exact = np.asarray(run(whole, others)).reshape(-1, 10)
    with _rounded_weights(whole):
        rounded = np.asarray(run(whole, others, _Rounder(observer.ranges).call)).reshape(-1, 10)
    compared = compare(exact, rounded, exact.argmax(axis=1).astype(np.uint8))
    return {"int8_noise": float(compared.logit_noise), "int8_error": float(compared.logit_error)}


class _Activations:
    """Calls layers, and hands each activation that an int8 file rounds to `_seen`, in the order of computation."""

    def __init__(self) -> None:
        self._position = 0

    def call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what a layer gives, and its output before an activation that is an operator of its own."""
        activation = getattr(layer, "activation", None)
        name = str(getattr(activation, "__name__", "linear"))
        if type(layer).__name__ in MOVES:
            return layer(*args, **kwargs)
        if type(layer).__name__ == "Softmax" or name.startswith("softmax"):
            return self._before_softmax(layer, activation, args, kwargs)
        if activation is None or name in FUSED or not hasattr(layer, "kernel") or type(layer).__name__ == "Activation":
            return self._note(layer(*args, **kwargs))
        return self._note(activation(self._note(_linear(layer, args, kwargs))))

    def _before_softmax(self, layer: Any, activation: Any, args: Any, kwargs: Any) -> Any:
        if hasattr(layer, "kernel"):
            return activation(self._note(_linear(layer, args, kwargs)))
        return layer(*args, **kwargs)

    def _note(self, output: Any) -> Any:
        if not hasattr(output, "dtype"):
            return output
        self._position += 1
        return self._seen(self._position, output)

    def _seen(self, position: int, output: Any) -> Any:
        raise NotImplementedError


class _Observer(_Activations):
    """Keeps the range of each activation."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges: dict[int, tuple[float, float]] = {}

    def _seen(self, position: int, output: Any) -> Any:
        values = np.asarray(output)
        self.ranges[position] = float(min(values.min(), 0)), float(max(values.max(), 1e-6))
        return output


class _Rounder(_Activations):
    """Rounds each activation to 256 values of its range."""

    def __init__(self, ranges: dict[int, tuple[float, float]]) -> None:
        super().__init__()
        self._ranges = ranges

    def _seen(self, position: int, output: Any) -> Any:
        import tensorflow as tf

        low, high = self._ranges[position]
        return tf.quantization.fake_quant_with_min_max_vars(output, low, high)


def _linear(layer: Any, args: Any, kwargs: Any) -> Any:
    """Return what a layer gives before its activation."""
    import keras

    activation, layer.activation = layer.activation, keras.activations.linear
    try:
        return layer(*args, **kwargs)
    finally:
        layer.activation = activation


@contextmanager
def _rounded_weights(model: Any) -> Iterator[None]:
    """Round all kernels of a model to 8 bits while the block runs."""
    kinds = {id(layer.kernel): type(layer).__name__ for layer in model.layers if hasattr(layer, "kernel")}
    kernels = [weight for weight in model.weights if "kernel" in weight.name]
    before = [np.asarray(kernel) for kernel in kernels]
    for kernel, values in zip(kernels, before, strict=True):
        kernel.assign(_rounded(values, kinds.get(id(kernel), "")))
    try:
        yield
    finally:
        for kernel, values in zip(kernels, before, strict=True):
            kernel.assign(values)


def _rounded(kernel: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Return a kernel with at most 255 values a scale."""
    channels = CHANNEL_AXIS.get(kind, (kernel.ndim - 1,)) if kernel.ndim > 2 else ()
    axes = tuple(axis for axis in range(kernel.ndim) if axis not in channels)
    scale = np.maximum(np.abs(kernel).max(axis=axes, keepdims=True) / 127, 1e-12)
    return np.asarray(np.round(kernel / scale) * scale, np.float32)
