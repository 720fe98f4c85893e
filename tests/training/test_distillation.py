"""A teacher: its share of the targets, and its training before the network's own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.commands import Run

from mnist_edge.data.dataset import Dataset
from mnist_edge.formats.keras.model import predict
from mnist_edge.training.augmented import Fit, fit
from mnist_edge.training.distillation import taught, wider
from mnist_edge.training.edge import EDGE
from mnist_edge.training.recipe import Recipe, Teacher
from mnist_edge.training.trainer import Schedule, train


@pytest.fixture
def few(mnist: Dataset) -> Dataset:
    return replace(mnist, train=mnist.train.part(np.arange(3000)), test=mnist.test.part(np.arange(500)))


def with_teacher(name: str, teacher: Teacher | None) -> Recipe:
    recipe = EDGE[name]
    assert recipe.augmented is not None
    return replace(recipe, augmented=replace(recipe.augmented, teacher=teacher))


def saying(logits: np.ndarray) -> Any:
    """Return a model that answers every image with the same logits."""
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")])
    model.layers[-1].set_weights([np.zeros((784, 10)), logits])
    return model


def test_targets_are_labels_and_the_models_probabilities_at_a_temperature() -> None:
    logits = np.arange(10)
    model = saying(logits)
    data = tf.data.Dataset.from_tensors((np.zeros((3, 28, 28, 1), np.float32), np.eye(10, dtype=np.float32)[[1, 2, 9]]))
    ((images, targets),) = list(taught(data, model, share=0.75, temperature=2.0))
    soft = np.exp(logits / 2) / np.exp(logits / 2).sum()
    assert images.shape == (3, 28, 28, 1)
    np.testing.assert_allclose(targets, 0.25 * np.eye(10)[[1, 2, 9]] + 0.75 * soft, atol=1e-6)


def test_a_teacher_has_the_same_layers_with_more_filters() -> None:
    recipe = EDGE["edge"]
    wide = wider(recipe, 2)
    assert [conv.filters for conv in wide.convs] == [2 * conv.filters for conv in recipe.convs]
    assert [replace(conv, filters=0) for conv in wide.convs] == [replace(conv, filters=0) for conv in recipe.convs]
    assert (
        3 * recipe.parameters
        < wide.parameters
        == sum(np.prod(weights.shape) for weights in wide.build().trainable_weights)
        - sum(conv.filters for conv in wide.convs)
    )  # each gamma and beta are one bias when they are folded


def test_the_teacher_is_trained_first_and_its_epochs_are_counted(few: Dataset) -> None:
    told: list[tuple[int, int]] = []
    trained = train(
        with_teacher("edge-nano", Teacher(width=2, epochs=0.5, share=0.7, temperature=2.0)),
        few,
        schedule=Schedule(2),
        on_progress=lambda epoch, done, total, metrics, ended: told.append((epoch, total)) if ended else None,
    )
    steps = len(few.train) * 11 // 12 // 128
    assert told == [(1, steps), (2, steps), (3, steps)]
    assert len(trained.record["history"]["accuracy"]) == 2
    assert trained.record["recipe"]["augmented"]["teacher"]["width"] == 2


def test_with_a_share_of_1_a_network_learns_what_the_model_says_and_no_label(few: Dataset) -> None:
    """The model says 3 to every image."""
    model, training = saying(50 * np.eye(10)[3]), EDGE["edge-micro"].augmented
    assert training is not None
    network = EDGE["edge-micro"].build()
    options = Fit(4, 64, 0, teaching=lambda data: taught(data, model, share=1.0))
    fit(network, training, few.train, few.train.part(np.arange(200)), options)
    assert (predict(network, few.test.images).argmax(axis=1) == 3).all()


def test_train_says_that_a_teacher_comes_first(run: Run, few: Dataset, tmp_path: Path) -> None:
    np.savez(
        tmp_path / "few.npz",
        x_train=few.train.images[:1200], y_train=few.train.labels[:1200],
        x_test=few.test.images, y_test=few.test.labels,
    )  # fmt: skip
    done = run(
        "train", "--model", "edge", "--epochs", 1, "--data", tmp_path / "few.npz", "--out", tmp_path / "out", "--json"
    )
    assert "A teacher with more filters is trained first, and gives a share of the targets. Its epochs: 1 to 1." in (
        done.stderr
    )
    assert "epoch 2/2" in done.stderr
    assert json.loads(done.stdout)["epochs"] == 1
