"""Gives a trained model's probabilities a share of the targets of another training, and trains such a model: a teacher.

Source: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mnist_edge.data.dataset import Digits
from mnist_edge.training.augmented import Fit, fit
from mnist_edge.training.recipe import Conv, Recipe

LEAST = 1e-30  # of a probability, whose logarithm is taken


def taught(data: Any, model: Any, share: float, temperature: float = 1.0) -> Any:
    """Return a dataset whose targets are mixed with what a model makes of its images.

    Args:
        data: a `tf.data` dataset of images `[B, …]` and targets `[B, 10]`.
        model: a Keras model, images → probabilities.
        share: of the model's probabilities in a target.
        temperature: what its logits are divided by before.
    """
    import tensorflow as tf

    def mixed(images: Any, targets: Any) -> tuple[Any, Any]:
        probabilities = tf.reshape(model(images, training=False), (-1, 10))
        soft = tf.nn.softmax(tf.math.log(tf.maximum(probabilities, LEAST)) / temperature)
        return images, (1 - share) * targets + share * soft

    return data.map(mixed, num_parallel_calls=2, deterministic=True).prefetch(4)


def teaching(recipe: Recipe, digits: Digits, held_out: Digits, options: Fit) -> Callable[[Any], Any]:
    """Train the teacher of a recipe: the same layers with more filters. Return what mixes a dataset's targets with it.

    Args:
        recipe: what is to be taught.
        digits: the training images.
        held_out: other training images, for the accuracy of each epoch and for the temperature.
        options: epochs of the teacher and the like.
    """
    training = recipe.augmented
    assert training is not None
    teacher = training.teacher
    assert teacher is not None
    model = wider(recipe, teacher.width).build()
    fit(model, training, digits, held_out, options)
    return lambda data: taught(data, model, teacher.share, teacher.temperature)


def wider(recipe: Recipe, width: int) -> Recipe:
    """Return a recipe with `width` times the filters in each convolution."""

    def widened(conv: Conv) -> Conv:
        return replace(conv, filters=width * conv.filters)

    return replace(recipe, name="teacher", convs=tuple(map(widened, recipe.convs)))
