"""Train a recipe, evaluate what came out, and write both to the export folder."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge.core.errors import ModelError
from mnist_edge.core.files import sha256
from mnist_edge.core.host import Host
from mnist_edge.core.optional import require_keras, silenced, versions
from mnist_edge.data.dataset import Dataset, Digits, split
from mnist_edge.formats.keras.model import load_model, predict, scaled
from mnist_edge.training.recipes import Recipe
from mnist_edge.training.store import SCHEMA, Trained, weights_digest

Progress = Callable[[int, int, int, dict[str, float], bool], None]
"""Called with the epoch (from 1), the batches done, the batches of an epoch, the metrics, whether the epoch ended."""


def train(
    recipe: Recipe,
    dataset: Dataset,
    seed: int = 0,
    epochs: int | None = None,
    batch_size: int | None = None,
    progress: Progress = lambda epoch, done, total, metrics, ended: None,
) -> Trained:
    """Train a recipe and evaluate it on the test images; the same seed on the same machine gives the same weights.

    Args:
        recipe: what to train.
        dataset: its training images are split as the recipe says; its test images are used once, at the end.
        seed: seeds Python, NumPy and TensorFlow.
        epochs: instead of the recipe's.
        batch_size: instead of the recipe's.
        progress: told of each batch and of each finished epoch.

    Raises:
        MissingRuntime: TensorFlow or scikit-learn is not installed.
    """
    keras = require_keras("training")
    import sklearn.preprocessing
    import tensorflow as tf

    epochs, batch_size = epochs or recipe.epochs, batch_size or recipe.batch_size
    chosen, held_out = split(len(dataset.train), recipe.validation, recipe.random_state)
    images, labels = scaled(dataset.train.images), dataset.train.labels
    test_labels: Any = dataset.test.labels
    if recipe.one_hot:
        encoder = sklearn.preprocessing.OneHotEncoder(
            categories=[list(range(10))], sparse_output=False, dtype=np.float32
        )
        labels = encoder.fit_transform(labels[:, None])
        test_labels = encoder.transform(test_labels[:, None])

    class Report(keras.callbacks.Callback):  # type: ignore[misc,name-defined,unused-ignore]
        """Tells `progress`."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch + 1

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            progress(self.epoch, batch + 1, self.params["steps"], dict(logs or {}), False)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            progress(self.epoch, self.params["steps"], self.params["steps"], dict(logs or {}), True)

    started = time.perf_counter()
    with silenced():
        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
        model = recipe.build()
        model.compile(optimizer=recipe.optimizer, loss=recipe.loss, metrics=["accuracy"])
    history = model.fit(
        images[chosen],
        labels[chosen],
        validation_data=(images[held_out], labels[held_out]) if len(held_out) else None,
        batch_size=batch_size,
        epochs=epochs,
        verbose=0,
        callbacks=[Report()],
    )
    seconds = time.perf_counter() - started
    loss, _ = model.evaluate(scaled(dataset.test.images), test_labels, batch_size=1000, verbose=0)
    as_recipe = (epochs, batch_size) == (recipe.epochs, recipe.batch_size)
    record = {
        "schema": SCHEMA,
        "recipe": asdict(recipe),
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "as_recipe": as_recipe,
        "split": {
            "training": len(chosen),
            "validation": len(held_out),
            "validation_share": recipe.validation,
            "random_state": recipe.random_state,
        },
        "dataset": describe(dataset),
        "history": {name: [float(value) for value in values] for name, values in history.history.items()},
        "test": {"loss": float(loss), **evaluate(model, dataset.test)},
        "floor": recipe.floor if as_recipe and dataset.genuine else None,
        "seconds": round(seconds, 1),
        "weights_sha256": weights_digest(model),
        "versions": versions(["tensorflow", "keras", "numpy", "scikit-learn"]),
        "host": asdict(Host.read()),
    }
    bare = recipe.build()  # not compiled, so that the file carries no optimizer state
    bare.set_weights(model.get_weights())
    return Trained(bare, record)


def adopt(path: Path, dataset: Dataset) -> Trained:
    """Take a user's own Keras model through the chain: 28×28×1 in, 10 classes out, probabilities or logits.

    Args:
        path: a `.keras` file, loaded in safe mode.
        dataset: for calibration, and to say how good the model is.

    Raises:
        ArtifactError: it cannot be read or has another shape.
        ModelError: it gives neither probabilities nor logits.
    """
    keras = require_keras("taking a model in")
    model = load_model(path)
    sums = predict(model, dataset.train.images[:100]).sum(axis=1)
    if not np.allclose(sums, 1, atol=1e-3):
        activation = getattr(model.layers[-1], "activation", None)
        if activation is not keras.activations.linear:
            raise ModelError(
                f"{path} gives neither probabilities nor logits: its last layer is {model.layers[-1].name!r} "
                f"with {getattr(activation, '__name__', 'no activation')}. End it in Softmax, or in a linear Dense."
            )
        model = keras.Model(model.inputs, keras.layers.Softmax(name="probabilities")(model.outputs[0]))
    record = {
        "schema": SCHEMA,
        "recipe": None,
        "taken_from": {"file": path.name, "sha256": sha256(path)},
        "split": {"training": len(dataset.train), "validation": 0, "validation_share": None, "random_state": None},
        "dataset": describe(dataset),
        "test": evaluate(model, dataset.test),
        "floor": None,
        "weights_sha256": weights_digest(model),
        "versions": versions(["tensorflow", "keras", "numpy", "scikit-learn"]),
        "host": asdict(Host.read()),
    }
    return Trained(model, record)


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return what the records say of a dataset."""
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
