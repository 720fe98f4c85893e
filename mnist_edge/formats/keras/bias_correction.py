"""Corrects the bias of the last layer by what int8 adds to each class on average.

A rounded weight errs by the same amount on every image. Where the inputs of a layer are mostly positive, after a Relu
say, these errors do not cancel out: each class gets an offset, which changes more answers than all other rounding.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats.keras.folding import FOLDABLE, activation_name, folded
from mnist_edge.formats.keras.structure import Copies, LayerCall, layer_calls, rebuilt

PASSING = {"Activation", "Flatten", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "Reshape", "Softmax"}
"""The layers through which a number that is added to a channel passes as it is."""
LEAST = 1e-4
"""The probability under which a logit says nothing: TFLite's int8 logits saturate there."""


def mean_shift(keras: NDArray[np.float32], outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return by how much a file's logits `[10]` are higher than Keras's on average; both give probabilities `[N, 10]`.

    A class that has hardly a chance on any image is left as it is.
    """
    told = (keras > LEAST) & (outputs > LEAST)
    first, second = (np.log(np.maximum(values, LEAST)) for values in (keras, outputs))
    count = told.sum(axis=1, keepdims=True)
    difference = np.where(told, second - first, 0)
    centred = np.where(told, difference - difference.sum(axis=1, keepdims=True) / np.maximum(count, 1), 0)
    return np.asarray(centred.sum(axis=0) / np.maximum(told.sum(axis=0), 1), np.float32)


def with_shifted_logits(model: Any, shift: NDArray[np.float32]) -> Any | None:
    """Return a Keras model whose logits are higher by `shift` `[10]`, by another bias; None where no bias does that.

    Args:
        model: float32 28×28×1 → probabilities, Sequential or Functional.
        shift: what is added to each class.
    """
    model = folded(model)
    last = _last_layer(layer_calls(model))
    if last is None:
        return None
    copies = Copies()

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer is not last:
            return copies.call(layer, *args, **kwargs)
        copy = copies.of(layer, use_bias=True)
        output = copy(*args, **kwargs)
        kernel, *bias = layer.get_weights()
        copy.set_weights([kernel, (bias[0] if bias else 0) + shift])
        return output

    return rebuilt(model, call)


def _last_layer(calls: list[LayerCall]) -> Any | None:
    """Return the layer with weights that gives the logits; None where none does, or where it is used twice."""
    index = len(calls) - 1
    while index >= 0:
        layer = calls[index].layer
        if activation_name(layer) not in {"linear", "softmax"}:
            return None
        if type(layer).__name__ in FOLDABLE:
            once = sum(item.layer is layer for item in calls) == 1
            return layer if once and calls[index].shape[-1] == 10 else None
        if type(layer).__name__ not in PASSING:
            return None
        index = calls[index].sources[0]
    return None
