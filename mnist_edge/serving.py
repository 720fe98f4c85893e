"""The function that every converter starts from: a Keras model with the contract's names and a static batch of 1."""

from collections.abc import Callable
from typing import Any

INPUT, OUTPUT = "image", "probabilities"


def serving(model: Any) -> tuple[Callable[[Any], dict[str, Any]], list[Any]]:
    """Give a function image → {"probabilities": …} over a Keras model, and its input signature for `tf.function`."""
    import tensorflow as tf

    def serve(image: Any) -> dict[str, Any]:
        return {OUTPUT: model(image, training=False)}

    return serve, [tf.TensorSpec((1, 28, 28, 1), tf.float32, name=INPUT)]
