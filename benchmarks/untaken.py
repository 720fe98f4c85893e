"""Two parts of training that the package does not have, as no ablation asks for them: a moving average of the weights,
and a teacher. `edge.py ablation` measures them beside the parts that the recipes have.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from mnist_edge.data.dataset import Dataset, split
from mnist_edge.formats.keras.model import scaled
from mnist_edge.training import augmented
from mnist_edge.training.augmentation import Augmentation
from mnist_edge.training.edge import EDGE, TRAININGS
from mnist_edge.training.recipe import Recipe

MOMENTUM = 0.998  # of the moving average: about one epoch of 430 steps
SHARE = 0.5  # of the teacher's probabilities in a target; the label has the rest
TEACHER_FILTERS, TEACHER_EPOCHS = (24, 48, 48, 64, 64), 12


def held_out_accuracy(
    recipe: Recipe, dataset: Dataset, seed: int, epochs: int, average: bool = False, teacher: Any = None
) -> float:
    """Train a recipe as `trainer.train` does, with the parts that are asked for, and return the held-out accuracy."""
    model = train(recipe, dataset, seed, epochs, average, teacher)
    held_out = dataset.train.part(split(len(dataset.train), recipe.validation, recipe.random_state)[1])
    probabilities = model.predict(scaled(held_out.images), batch_size=1000, verbose=0)
    return float((probabilities.argmax(axis=1) == held_out.labels).mean())


def train(recipe: Recipe, dataset: Dataset, seed: int, epochs: int, average: bool, teacher: Any) -> Any:
    """Return the trained Keras model, not calibrated."""
    training = recipe.augmented
    assert training is not None
    digits = dataset.train.part(split(len(dataset.train), recipe.validation, recipe.random_state)[0])
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    model = recipe.build()
    images, targets = augmented.training_images(digits, training, seed)
    augmented.compile_model(model, training, epochs * (len(images) // recipe.batch_size))
    model.optimizer.use_ema, model.optimizer.ema_momentum = average, MOMENTUM

    def taught(images: Any, targets: Any) -> tuple[Any, Any]:
        return images, (1 - SHARE) * targets + SHARE * teacher(images, training=False)

    varied = epochs - round(training.unvaried * epochs)
    for first, last, change in ((0, varied, training.change), (varied, epochs, Augmentation())):
        data = augmented.batches(images, targets, change, recipe.batch_size, seed)
        data = data.map(taught, num_parallel_calls=2, deterministic=True) if teacher else data
        model.fit(data, initial_epoch=first, epochs=last, shuffle=False, verbose=0)
    return model


def teacher_of(recipe: Recipe, dataset: Dataset, keep: Path) -> Any:
    """Return a network of 102 thousand parameters, trained as `edge` with the images of a recipe varied, or kept."""
    path = keep / f"teacher-of-{recipe.name}.keras"
    if not path.is_file():
        edge = EDGE["edge"]
        convs = tuple(replace(conv, filters=n) for conv, n in zip(edge.convs, TEACHER_FILTERS, strict=True))
        training = replace(TRAININGS[recipe.name], learning_rate=TRAININGS["edge"].learning_rate)
        wide = replace(edge, name="teacher", convs=convs, augmented=training)
        keep.mkdir(parents=True, exist_ok=True)
        train(wide, dataset, 0, TEACHER_EPOCHS, average=False, teacher=None).save(path)
    return keras.models.load_model(path)
