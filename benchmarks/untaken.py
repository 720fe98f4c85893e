"""A part of training that the package does not have, as no ablation asks for it: a moving average of the weights.

`edge.py ablation` measures it beside the parts that the recipes have.
"""

import keras
import tensorflow as tf

from mnist_edge.data.dataset import Dataset, split
from mnist_edge.formats.keras.model import scaled
from mnist_edge.training import augmented
from mnist_edge.training.augmentation import Augmentation
from mnist_edge.training.recipe import Recipe

MOMENTUM = 0.998  # of the moving average: about one epoch of 430 steps


def averaged_accuracy(recipe: Recipe, dataset: Dataset, seed: int, epochs: int) -> float:
    """Train a recipe as `trainer.train` does, without a teacher, and return the held-out accuracy of the average."""
    training = recipe.augmented
    assert training is not None
    digits, held_out = (
        dataset.train.part(part) for part in split(len(dataset.train), recipe.validation, recipe.random_state)
    )
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    model = recipe.build()
    images, targets = augmented.training_images(digits, training, seed)
    augmented.compile_model(model, training, epochs * (len(images) // recipe.batch_size))
    model.optimizer.use_ema, model.optimizer.ema_momentum = True, MOMENTUM
    varied = epochs - round(training.unvaried * epochs)
    for first, last, change in ((0, varied, training.change), (varied, epochs, Augmentation())):
        data = augmented.batches(images, targets, change, recipe.batch_size, seed)
        model.fit(data, initial_epoch=first, epochs=last, shuffle=False, verbose=0)
    probabilities = model.predict(scaled(held_out.images), batch_size=1000, verbose=0)
    return float((probabilities.argmax(axis=1) == held_out.labels).mean())
