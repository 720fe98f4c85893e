"""Simulates int8 in Keras: weights and activations are rounded to 256 values, and all else is computed in float32.

Ranges are the smallest and largest value of each activation over the given images, as converters calibrate; weights
have a scale for each output channel in convolutions and one in all in Dense layers (the TFLite quantization
specification).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.metrics import compare
from mnist_edge.formats.keras.folding import folded
from mnist_edge.formats.keras.ranges import Range, check_ranges, kernel_steps
from mnist_edge.formats.keras.structure import has_loop, run

PART = 1000  # images at once
MOVES = {"Reshape", "Flatten", "Permute", "MaxPooling1D", "MaxPooling2D", "GlobalMaxPooling2D", "ZeroPadding2D"}
"""Layers whose outputs are values of their inputs, so that nothing is rounded once more."""
SIMPLE = {"Conv1D", "Conv2D", "DepthwiseConv2D", "Conv2DTranspose", "Dense", "ReLU", "AveragePooling2D", "Add"}
"""Layers of one operator, with its bias and activation."""
MOVING = {
    "Reshape", "Transpose", "MaxPool", "ConcatV2", "Pack", "Unpack", "StridedSlice", "Slice", "Split", "SplitV",
    "Squeeze", "ExpandDims", "Identity", "Pad", "PadV2", "MirrorPad", "GatherV2", "Cast", "Tile", "Fill",
    "ZerosLike", "BroadcastTo", "Placeholder", "Const", "Conv2D", "DepthwiseConv2dNative",
}  # fmt: skip
"""TensorFlow's operators that move numbers, or whose output is rounded after its bias."""
FIXED = {"Sigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0)}
"""Operators whose range the TFLite quantization specification fixes."""
FUSED = {"linear", "relu", "relu6", "softmax"}
"""Activations that a runtime computes with the layer before it, or in float."""


def int8_cost(
    model: Any, pixels: NDArray[np.float32], others: NDArray[np.float32], ranges: Sequence[Range] = ()
) -> dict[str, float]:
    """Return what int8 must cost a network: the root mean square and the largest error of a logit.

    Args:
        model: Keras model in the form of the contract.
        pixels: the representative dataset, float32 `[N, 28, 28, 1]` in [0, 1].
        others: training images on which the cost is measured, of the same form.
        ranges: those of the model, where it has its own.
    """
    whole = folded(model)
    observer = _Observer(len(pixels))
    run(whole, pixels, observer.call)
    if ranges:
        check_ranges(whole, ranges)
        observer.ranges = dict(enumerate(ranges, 1))
    parts = [others[start : start + PART] for start in range(0, len(others), PART)]
    exact = np.concatenate([np.asarray(run(whole, part)).reshape(-1, 10) for part in parts])
    with _rounded_weights(whole):
        rounded = np.concatenate(
            [np.asarray(run(whole, part, _Rounder(len(part), observer.ranges).call)).reshape(-1, 10) for part in parts]
        )
    compared = compare(exact, rounded, exact.argmax(axis=1).astype(np.uint8))
    return {"int8_noise": float(compared.logit_noise), "int8_error": float(compared.logit_error)}


class _Activations(ABC):
    """Calls layers, and hands each activation that an int8 file rounds to `_seen`, in the order of computation."""

    def __init__(self, count: int) -> None:
        self._count, self._position = count, 0

    def call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what a layer gives."""
        activation: Any = getattr(layer, "activation", None)
        name = str(getattr(activation, "__name__", "linear"))
        kind = type(layer).__name__
        if kind in MOVES or kind == "Softmax":
            return layer(*args, **kwargs)
        if kind not in SIMPLE:
            return self._inside(layer, args, kwargs)
        if name.startswith("softmax"):
            return activation(self._note(_linear(layer, args, kwargs)))
        if name in FUSED:
            return self._note(layer(*args, **kwargs))
        return self._note(activation(self._note(_linear(layer, args, kwargs))))

    def _inside(self, layer: Any, args: Any, kwargs: Any) -> Any:
        """Return what a layer of several operators gives, each of which rounds; a loop is never int8."""
        import tensorflow as tf
        from tensorflow.python.framework import op_callbacks

        if has_loop(layer):
            return self._note(layer(*args, **kwargs))
        noted: list[Any] = []

        def callback(
            kind: str | bytes, inputs: Any, attrs: Any, outputs: Any, op_name: Any = None, graph: Any = None
        ) -> Any:
            name = kind.decode() if isinstance(kind, bytes) else kind
            if graph is None or name in MOVING or name.startswith("FakeQuant"):
                return None
            return [self._note(output, FIXED.get(name), noted) for output in outputs]

        @tf.function(autograph=False)  # type: ignore[untyped-decorator,unused-ignore]
        def whole() -> Any:
            return layer(*args, **kwargs), list(noted)

        op_callbacks.add_op_callback(callback)  # TensorFlow takes what it returns while a graph is made
        try:
            output, values = whole()
        finally:
            op_callbacks.remove_op_callback(callback)
        self._computed(values)
        return output

    def _note(self, output: Any, fixed: Range | None = None, noted: list[Any] | None = None) -> Any:
        """Return an activation as it goes on; where `noted` is given, it is one of a graph, and computed later."""
        if getattr(output, "dtype", None) != "float32" or tuple(output.shape[:1]) != (self._count,):
            return output
        self._position += 1
        return self._seen(self._position, output, fixed, noted)

    @abstractmethod
    def _computed(self, values: list[Any]) -> None:
        """Take the values of what was noted in a graph."""

    @abstractmethod
    def _seen(self, position: int, output: Any, fixed: Range | None, noted: list[Any] | None) -> Any:
        """Return an activation as it goes on."""


class _Observer(_Activations):
    """Keeps the range of each activation."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.ranges: dict[int, Range] = {}
        self._waiting: list[tuple[int, Range | None]] = []

    def _seen(self, position: int, output: Any, fixed: Range | None, noted: list[Any] | None) -> Any:
        if noted is None:
            self._keep(position, output, fixed)
        else:
            noted.append(output)
            self._waiting.append((position, fixed))
        return output

    def _computed(self, values: list[Any]) -> None:
        for (position, fixed), value in zip(self._waiting, values, strict=True):
            self._keep(position, value, fixed)
        self._waiting.clear()

    def _keep(self, position: int, output: Any, fixed: Range | None) -> None:
        values = np.asarray(output)
        self.ranges[position] = fixed or (float(min(values.min(), 0)), float(max(values.max(), 1e-6)))


class _Rounder(_Activations):
    """Rounds each activation to 256 values of its range."""

    def __init__(self, count: int, ranges: dict[int, Range]) -> None:
        super().__init__(count)
        self._ranges = ranges

    def _seen(self, position: int, output: Any, fixed: Range | None, noted: list[Any] | None) -> Any:
        import tensorflow as tf

        low, high = self._ranges[position]
        return tf.quantization.fake_quant_with_min_max_vars(output, low, high)

    def _computed(self, values: list[Any]) -> None:
        """Take nothing: no values are kept."""


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
    scale = kernel_steps(kernel, kind)
    return np.asarray(np.round(kernel / scale) * scale, np.float32)
