"""The function that every converter starts from: a Keras model with the names of the contract."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.contract import IOOptions
from mnist_edge.core.errors import ConversionError
from mnist_edge.formats.keras.folding import folded

INPUT = "image"


def serving(
    model: Any, io: IOOptions, traced_batch: int | None = 1
) -> tuple[Any, Callable[[Any], dict[str, Any]], list[Any]]:
    """Return the model that is served, a function image → {head: …} over it, and its signature for `tf.function`.

    A dynamic batch is traced as a batch of 1 where that works: each format then frees that dimension in the finished
    file, which leaves none of the Shape and Gather operators that tracing an unknown batch gives.
    """
    import tensorflow as tf

    traced = folded(model if io.head == "probabilities" else without_softmax(model))

    def serve(image: Any) -> dict[str, Any]:
        return {io.head: traced(image, training=False)}

    return traced, serve, [tf.TensorSpec((traced_batch, 28, 28, 1), tf.float32, name=INPUT)]


def logit_floor(model: Any, images: NDArray[np.float32]) -> float:
    """Return the logit under which no class of these images has a ten-thousandth of the winner's probability.

    What lies lower need not be told apart, and an int8 output spends no steps on it.

    Args:
        model: Keras model that ends in Softmax.
        images: float32 `[N, 28, 28]` in [0, 1].

    Raises:
        ConversionError: the last layer has no Softmax.
    """
    logits = np.asarray(without_softmax(model)(images[..., None], training=False))
    return float(logits.max(axis=1).min() + np.log(1e-4))


def without_softmax(model: Any) -> Any:
    """Return a Keras model that ends before the last layer's Softmax; the weights are the same arrays."""
    import keras

    last = model.layers[-1]
    if isinstance(last, keras.layers.Softmax) or (
        isinstance(last, keras.layers.Activation) and last.activation is keras.activations.softmax
    ):
        return keras.Model(model.inputs[0], last.input)
    if getattr(last, "activation", None) is not keras.activations.softmax:
        raise ConversionError(f"the last layer {last.name!r} has no Softmax, so there are no logits to export.")
    linear = type(last).from_config({**last.get_config(), "activation": "linear", "name": f"{last.name}_logits"})
    outputs = linear(last.input)
    linear.set_weights(last.get_weights())
    return keras.Model(model.inputs[0], outputs)
