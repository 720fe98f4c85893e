"""Trains a recipe, and evaluates it."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from mnist_edge.core.host import Host
from mnist_edge.core.optional import require_keras, silenced, versions
from mnist_edge.core.typed_json import SCHEMA
from mnist_edge.data.dataset import Dataset, Digits, split
from mnist_edge.formats.keras.model import predict, scaled
from mnist_edge.training.augmented import Fit, fit
from mnist_edge.training.distillation import teaching
from mnist_edge.training.recipe import Recipe
from mnist_edge.training.recipes import find_recipe
from mnist_edge.training.store import Trained, check_clock, weights_digest

Progress = Callable[[int, int, int, dict[str, float], bool], None]
"""Takes the epoch (from 1), the batches done, the batches of an epoch, the metrics, and whether the epoch has ended."""


@dataclass(frozen=True)
class Schedule:
    """Epochs and batch size of a training; those of the recipe where they are None."""

    epochs: int | None = None
    batch_size: int | None = None


def train(
    recipe: Recipe | str,
    dataset: Dataset,
    seed: int = 0,
    schedule: Schedule = Schedule(),
    on_progress: Progress = lambda epoch, done, total, metrics, ended: None,
) -> Trained:
    """Train a recipe and evaluate it on the test images; the same seed on the same machine gives the same weights.

    Args:
        recipe: the name of a recipe, or one of your own.
        dataset: its training images are split as the recipe says; its test images are used once, at the end.
        seed: seeds Python, NumPy and TensorFlow.
        schedule: other epochs or another batch size than the recipe's.
        on_progress: called after each batch or some of them, and after each epoch; those of a teacher are the first.

    Raises:
        ModelError: there is no recipe of that name.
        DataError: an `edge` recipe has fewer images than a batch.
        MissingRuntime: TensorFlow or scikit-learn is not installed.
        HostError: the clock of this machine is before 1980, and the model could not be stored.
    """
    check_clock()
    recipe = find_recipe(recipe) if isinstance(recipe, str) else recipe
    keras = require_keras("training")
    import tensorflow as tf

    epochs, batch_size = schedule.epochs or recipe.epochs, schedule.batch_size or recipe.batch_size
    digits, held_out = (
        dataset.train.part(part) for part in split(len(dataset.train), recipe.validation, recipe.random_state)
    )
    started = time.perf_counter()
    with silenced():
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
        model = recipe.build()
    options = Fit(epochs, batch_size, seed, [report_to(on_progress)])
    if recipe.augmented is None:
        history = _fit(model, recipe, digits, held_out, options)
    else:
        if before := recipe.teacher_epochs(epochs):
            taught = teaching(recipe, digits, held_out, replace(options, epochs=before))
            options = replace(options, teaching=taught)
        history = fit(model, recipe.augmented, digits, held_out, options)
    seconds = time.perf_counter() - started
    loss, _ = model.evaluate(scaled(dataset.test.images), _targets(recipe, dataset.test), batch_size=1000, verbose=0)
    as_recipe = (epochs, batch_size) == (recipe.epochs, recipe.batch_size)
    record = {
        "schema": SCHEMA,
        "recipe": asdict(recipe),
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "as_recipe": as_recipe,
        "split": split_record(len(digits), len(held_out), recipe.validation, recipe.random_state),
        "dataset": dataset_record(dataset),
        "history": {name: [float(value) for value in values] for name, values in history.items()},
        "test": {"loss": float(loss), **evaluate(model, dataset.test)},
        "floor": recipe.floor if as_recipe and dataset.genuine else None,
        "seconds": round(seconds, 1),
        **origin(model),
    }
    return Trained(_uncompiled(recipe, model), record, dataset)


def _fit(model: Any, recipe: Recipe, digits: Digits, held_out: Digits, options: Fit) -> dict[str, Any]:
    """Train a model in place as its notebook does, and return Keras's history."""
    model.compile(optimizer=recipe.optimizer, loss=recipe.loss, metrics=["accuracy"])
    history = model.fit(
        scaled(digits.images),
        _targets(recipe, digits),
        validation_data=(scaled(held_out.images), _targets(recipe, held_out)) if len(held_out) else None,
        batch_size=options.batch_size,
        epochs=options.epochs,
        verbose=0,
        callbacks=options.callbacks,
    )
    return dict(history.history)


def _uncompiled(recipe: Recipe, model: Any) -> Any:
    """Return the network without its optimizer, whose state would go into the file."""
    bare = recipe.build()
    bare.set_weights(model.get_weights())
    return bare


def _targets(recipe: Recipe, digits: Digits) -> Any:
    """Return the labels as the recipe's loss takes them: whole numbers `[N]`, or one-hot float32 `[N, 10]`."""
    if not recipe.one_hot:
        return digits.labels
    import sklearn.preprocessing

    encoder = sklearn.preprocessing.OneHotEncoder(categories=[list(range(10))], sparse_output=False, dtype=np.float32)
    return encoder.fit_transform(digits.labels[:, None])


def report_to(on_progress: Progress) -> Any:
    """Return a Keras callback that calls `on_progress`."""
    import keras

    class Report(keras.callbacks.Callback):  # type: ignore[misc,name-defined,unused-ignore]
        epoch = 0  # of all calls of `fit`, a teacher's too

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch += 1

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            steps = self.params["steps"]
            on_progress(self.epoch, min(batch + 1, steps), steps, dict(logs or {}), False)  # Keras counts whole calls

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            on_progress(self.epoch, self.params["steps"], self.params["steps"], dict(logs or {}), True)

    return Report()


def split_record(training: int, held_out: int, share: float | None, random_state: int | None) -> dict[str, Any]:
    """Return what a training's record says of its split."""
    return {
        "training": training,
        "validation": held_out,
        "validation_share": share,
        "random_state": random_state,
    }


def origin(model: Any) -> dict[str, Any]:
    """Return the digest of a model's weights, and the versions and the host that made them."""
    return {
        "weights_sha256": weights_digest(model),
        "versions": versions(["tensorflow", "keras", "numpy", "scikit-learn"]),
        "host": asdict(Host.read()),
    }


def dataset_record(dataset: Dataset) -> dict[str, Any]:
    """Return what records say of a dataset."""
    return {
        "name": dataset.name,
        "genuine_mnist": dataset.genuine,
        "train_sha256": dataset.train.digest,
        "test_sha256": dataset.test.digest,
    }


def evaluate(model: Any, digits: Digits) -> dict[str, Any]:
    """Return accuracy, scikit-learn's classification report (as a dict and as text) and the confusion matrix."""
    import sklearn.metrics

    predicted = predict(model, digits.images).argmax(axis=1)
    report = {"digits": 4, "zero_division": 0}
    return {
        "accuracy": float((predicted == digits.labels).mean()),
        "report": sklearn.metrics.classification_report(digits.labels, predicted, output_dict=True, **report),
        "report_text": sklearn.metrics.classification_report(digits.labels, predicted, **report),
        "confusion": sklearn.metrics.confusion_matrix(digits.labels, predicted).tolist(),
    }
