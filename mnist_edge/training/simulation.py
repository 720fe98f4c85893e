"""A Keras network as int8 computes it, differentiable: weights and activations are rounded, gradients pass through."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats.keras.ranges import (
    LARGEST,
    WITH_RANGE,
    Range,
    chain,
    kernel_steps,
    on_grid,
    shared_axes,
    step_and_zero,
)

BATCH = 1000
MOST = 2**22  # the whole numbers of a bias: sums of products over it stay exact in float32
PIXEL = np.float32(1 / 255)
UNLIKELY = float(np.log(1e-4))  # logits so far under the smallest winner need not be told apart
METHODS = {"minmax": 100.0, "percentile 99.99": 99.99, "percentile 99.9": 99.9, "squared error": None}
"""Ways to choose the ends of a range: a percentile, or where the squared error of rounding is least."""
SHARES = np.linspace(0.5, 1, 26)  # of the largest value, tried for the least squared error


class Simulation:
    """The simulation of a folded Keras model that gives logits, with its own weights: to train it trains the model.

    `keras_model` is float32 `[N, 28, 28, 1]` → logits `[N, 10]`.
    """

    def __init__(self, logits_model: Any) -> None:
        import keras

        self._layers = chain(logits_model)
        self._ranged = [layer for layer in self._layers if type(layer).__name__ in WITH_RANGE]
        rounded = _rounded_layer()
        self._rounded = {id(layer): rounded(layer, name=f"{layer.name}_int8") for layer in self._ranged}
        image = keras.Input((28, 28, 1), name="image")
        values = image
        for layer in self._layers:
            values = self._rounded.get(id(layer), layer)(values)
        self.keras_model = keras.Model(image, values)

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The range of each layer that has one, in the order of computation; it can be set."""
        return tuple(self._rounded[id(layer)].range for layer in self._ranged)

    @ranges.setter
    def ranges(self, ranges: Sequence[Range]) -> None:
        for layer, bounds in zip(self._ranged, ranges, strict=True):
            self._rounded[id(layer)].bounds.assign(np.asarray(bounds, np.float32))

    def logits(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits `[N, 10]` as int8 gives them."""
        return np.asarray(self.keras_model.predict(pixels, batch_size=BATCH, verbose=0))

    def measured(self, pixels: NDArray[np.float32], method: str) -> tuple[Range, ...]:
        """Return the ranges over the representative dataset, by one of `METHODS`."""
        ranges: list[Range] = []
        values: Any = pixels
        for layer in self._layers:
            values = layer(values)
            if layer is self._ranged[-1]:
                numbers = np.asarray(values)
                floor = float(numbers.max(axis=1).min()) + UNLIKELY
                ranges.append(_as_float32(max(float(numbers.min()), floor), float(numbers.max())))
            elif layer in self._ranged:
                ranges.append(_range(np.asarray(values), METHODS[method]))
        return tuple(ranges)

    def round_weights(self) -> None:
        """Round the kernels and biases to the numbers that an int8 file stores."""
        scale = PIXEL
        for layer in self._ranged:
            if hasattr(layer, "kernel"):
                kind = type(layer).__name__
                kernel = on_grid(np.asarray(layer.kernel), kind)
                layer.kernel.assign(kernel)
                if layer.use_bias:
                    unit = (scale * kernel_steps(kernel, kind)).astype(np.float32).ravel()
                    whole = np.clip(np.round(np.asarray(layer.bias, np.float64) / unit), -MOST, MOST)
                    layer.bias.assign((whole * unit).astype(np.float32))
            scale, _ = step_and_zero(self._rounded[id(layer)].range)


def _range(values: NDArray[np.float32], percentile: float | None) -> Range:
    """Return a range of values by a percentile, or with the least squared error of rounding where that is None."""
    if percentile is not None:
        return _as_float32(*np.percentile(values, [100 - percentile, percentile]))
    low, high = float(values.min()), float(values.max())
    tried = [_as_float32(low * share, high * share) for share in SHARES]
    return min(tried, key=lambda bounds: float(np.square(_rounded_values(values, bounds) - values).mean()))


def _rounded_values(values: NDArray[np.float32], bounds: Range) -> NDArray[np.float32]:
    scale, zero_point = step_and_zero(bounds)
    return np.asarray((np.clip(np.round(values / scale) + zero_point, 0, 255) - zero_point) * scale)


def _as_float32(low: float, high: float) -> Range:
    """Return a range with 0 in it, of numbers that float32 holds."""
    return float(np.float32(min(low, 0))), float(np.float32(max(high, 1e-6)))


def _rounded_layer() -> Any:
    """Return a class of layers that compute what another one does, with weights and outputs rounded."""
    import keras
    import tensorflow as tf

    class Rounded(keras.layers.Layer):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self, layer: Any, **options: Any) -> None:
            super().__init__(**options)
            self.layer = layer
            self.bounds = self.add_weight(shape=(2,), initializer="ones", trainable=False, name="bounds")

        @property
        def range(self) -> Range:
            low, high = np.asarray(self.bounds)
            return float(low), float(high)

        def call(self, values: Any) -> Any:
            kernel = getattr(self.layer, "kernel", None)
            weights = [_straight_through(item, self.layer) if item is kernel else item for item in self.layer.weights]
            outputs, _ = self.layer.stateless_call(weights, [], values)
            low, high = tf.unstack(tf.convert_to_tensor(self.bounds))
            return tf.quantization.fake_quant_with_min_max_vars(outputs, low, high)

    return Rounded


def _straight_through(kernel: Any, layer: Any) -> Any:
    """Return a kernel rounded to its scales, whose gradient is that of the kernel itself."""
    from keras import ops

    axes = shared_axes(type(layer).__name__, len(kernel.shape))
    steps = ops.stop_gradient(ops.maximum(ops.max(ops.abs(kernel), axis=axes, keepdims=True) / LARGEST, 1e-12))
    return kernel + ops.stop_gradient(ops.round(kernel / steps) * steps - kernel)
