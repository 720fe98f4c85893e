"""Varied images, drawn digits and marks, and the temperature."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mnist_edge.core.errors import DataError
from mnist_edge.data.dataset import Dataset, Digits
from mnist_edge.formats.keras.model import predict, scaled
from mnist_edge.training.augmentation import Augmentation, augmented
from mnist_edge.training.augmented import Fit, calibrate, fit, training_images
from mnist_edge.training.edge import AFFINE, BENT, EDGE
from mnist_edge.training.recipe import AugmentedTraining
from mnist_edge.training.shapes import DIGITS
from mnist_edge.training.strokes import drawn_digits, drawn_marks
from mnist_edge.training.trainer import report_to

CHANGES = {
    "turn": 10.0, "scale": 0.1, "stretch": 0.1, "shear": 0.2, "move": 1.0, "bend": 1.0,
    "stroke": 0.5, "blur": 0.5, "contrast": 0.3, "noise": 0.1,
}  # fmt: skip


def only(kind: str) -> Augmentation:
    """Return an augmentation of one kind of change."""
    changes: dict[str, Any] = {kind: CHANGES[kind]}
    return Augmentation(**changes)


@pytest.fixture
def images(mnist: Dataset) -> np.ndarray:
    keras.utils.set_random_seed(0)
    return scaled(mnist.train.images[:64])[..., 0]


def test_no_change_leaves_images_as_they_are(images: np.ndarray) -> None:
    np.testing.assert_allclose(augmented(tf.constant(images), Augmentation()), images, atol=1e-6)


@pytest.mark.parametrize("kind", CHANGES)
def test_each_change_alone_changes_each_image_a_little(images: np.ndarray, kind: str) -> None:
    varied = augmented(tf.constant(images), only(kind)).numpy()
    assert varied.shape == images.shape
    assert varied.dtype == np.float32
    assert varied.min() >= 0
    assert varied.max() <= 1
    away = np.abs(varied - images).mean((1, 2))
    assert (away > 0).mean() > (0.4 if kind == "blur" else 0.95)
    assert away.max() < 0.12


def test_strokes_become_thicker_and_thinner(images: np.ndarray) -> None:
    varied = augmented(tf.constant(images), Augmentation(stroke=1.0)).numpy()
    mass = varied.sum((1, 2)) / images.sum((1, 2))
    assert mass.min() < 0.8
    assert mass.max() > 1.2


def test_drawn_digits_have_the_form_of_mnist_and_every_hand() -> None:
    images, labels = drawn_digits(4 * len(DIGITS), seed=1)
    assert images.shape == (len(labels), 28, 28)
    assert images.dtype == np.uint8
    assert set(labels) == set(range(10))
    y, x = np.indices((28, 28))
    for image in images.astype(float):
        middle = (image * y).sum() / image.sum(), (image * x).sum() / image.sum()
        assert max(abs(np.array(middle) - 13.5)) < 0.75
        rows, columns = image.any(1).sum(), image.any(0).sum()
        assert 17 <= max(rows, columns) <= 22
    again, _ = drawn_digits(4 * len(DIGITS), seed=1)
    np.testing.assert_array_equal(images, again)
    assert (drawn_digits(4 * len(DIGITS), seed=2)[0] != images).any()


def test_marks_are_of_many_kinds_and_never_empty() -> None:
    marks = drawn_marks(200, seed=0)
    assert marks.shape == (200, 28, 28)
    assert marks.any((1, 2)).all()
    assert len(np.unique(marks, axis=0)) == 200


def test_marks_have_thick_bars_shaded_things_and_digits_in_a_row() -> None:
    bars = shaded = rows = 0
    for image in drawn_marks(300, seed=0):
        down, right = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        box = image[down[0] : down[-1] + 1, right[0] : right[-1] + 1]
        height, width = box.shape
        bars += min(box.shape) >= 6 and (box > 127).mean() > 0.85
        shaded += (box[box > 0] < 250).mean() > 0.9
        rows += width > 1.3 * height and not box.any(0).all()
    assert min(bars, shaded, rows) >= 10


def test_targets_are_one_digit_or_of_a_mark_none(mnist: Dataset) -> None:
    digits = mnist.train.part(np.arange(50))
    images, targets = training_images(
        digits, AugmentedTraining(1e-2, 0, AFFINE, drawn_digits=30, drawn_marks=20), seed=0
    )
    assert len(images) == len(targets) == 100
    np.testing.assert_array_equal(targets[:50].argmax(1), digits.labels)
    assert (targets[:80].max(1) == 1).all()
    np.testing.assert_allclose(targets[80:], 0.1)


def test_a_network_learns_from_varied_images_and_its_probabilities_are_calibrated(mnist: Dataset) -> None:
    digits, held_out = mnist.train.part(np.arange(6000)), mnist.train.part(np.arange(6000, 8000))
    keras.utils.set_random_seed(0)
    model = EDGE["edge-nano"].build()
    history = fit(model, AugmentedTraining(1e-2, 1e-4, AFFINE, 0.0, 100, 100), digits, held_out, Fit(2, 64, 0))
    assert history["val_accuracy"][-1] > 0.8
    assert len(history["loss"]) == 2
    sharp = [weights * np.float32(3) for weights in model.layers[-1].get_weights()]
    before = predict(model, held_out.images)
    model.layers[-1].set_weights(sharp)
    assert calibrate(model, held_out) == pytest.approx(3, rel=0.08)
    np.testing.assert_allclose(predict(model, held_out.images), before, atol=0.05)


def test_progress_is_told_several_times_an_epoch_and_never_over_its_end(mnist: Dataset) -> None:
    told: list[tuple[int, int, int, bool]] = []

    def progress(epoch: int, done: int, total: int, metrics: dict[str, float], ended: bool) -> None:
        told.append((epoch, done, total, ended))
        assert 0 < metrics["accuracy"] <= 1

    digits, held_out = mnist.train.part(np.arange(40 * 64)), mnist.train.part(np.arange(6000, 6100))
    training = AugmentedTraining(1e-2, 0, AFFINE, 0.5)
    fit(EDGE["edge-micro"].build(), training, digits, held_out, Fit(2, 64, 0, [report_to(progress)]))
    steps = (33, 40, False), (40, 40, False), (40, 40, True)
    assert told == [(epoch, *step) for epoch in (1, 2) for step in steps]


def test_fewer_images_than_a_batch_train_nothing_and_are_refused(mnist: Dataset) -> None:
    digits = mnist.train.part(np.arange(50))
    with pytest.raises(DataError, match="50 images to train on, fewer than a batch of 51"):
        fit(EDGE["edge-micro"].build(), AugmentedTraining(1e-2, 0, AFFINE), digits, digits, Fit(1, 51, 0))


def test_the_last_epochs_show_images_as_they_are(mnist: Dataset) -> None:
    digits, held_out = mnist.train.part(np.arange(1280)), mnist.train.part(np.arange(6000, 6100))

    def losses(change: Augmentation, unvaried: float) -> list[float]:
        keras.utils.set_random_seed(0)
        tf.config.experimental.enable_op_determinism()
        training = AugmentedTraining(1e-2, 1e-4, change, unvaried)
        history = fit(EDGE["edge-micro"].build(), training, digits, held_out, Fit(4, 64, 0))
        assert len(history["loss"]) == len(history["val_accuracy"]) == 4
        return list(history["loss"])

    plain, varied, both = losses(Augmentation(), 0.0), losses(BENT, 0.0), losses(BENT, 0.5)
    assert losses(BENT, 1.0) == plain
    assert both[:2] == varied[:2]
    assert both[2] < varied[2]


def test_the_strong_change_keeps_digits_readable(mnist: Dataset) -> None:
    """Pixels at the border stay black: nothing is moved out of the image."""
    keras.utils.set_random_seed(0)
    varied = augmented(tf.constant(scaled(mnist.train.images[:500])[..., 0]), BENT).numpy()
    assert Digits(mnist.train.images[:500], mnist.train.labels[:500]).images.shape == varied.shape
    border = np.concatenate([varied[:, 0], varied[:, -1], varied[:, :, 0], varied[:, :, -1]])
    assert border.mean() < 0.002
