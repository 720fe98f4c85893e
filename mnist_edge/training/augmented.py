"""Trains a network on varied images, digits in other hands and marks that are no digit, and calibrates it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import DataError
from mnist_edge.data.dataset import Digits
from mnist_edge.formats.keras.model import predict, scaled
from mnist_edge.training.augmentation import Augmentation, augmented
from mnist_edge.training.recipe import AugmentedTraining
from mnist_edge.training.strokes import drawn_digits, drawn_marks

WARM_UP = 0.1  # the share of all steps in which the learning rate rises
STEPS_AT_ONCE = 33  # in one call of TensorFlow, which costs a small network a fifth of its time
TEMPERATURES = np.geomspace(0.25, 4, 81)


@dataclass(frozen=True)
class Fit:
    """One training: epochs, batch size, seed, Keras callbacks, and what mixes the targets of a dataset with others."""

    epochs: int
    batch_size: int
    seed: int
    callbacks: list[Any] = field(default_factory=list)
    teaching: Callable[[Any], Any] = lambda data: data


def fit(model: Any, training: AugmentedTraining, digits: Digits, held_out: Digits, options: Fit) -> dict[str, Any]:
    """Train a Keras model of the contract's form in place, and calibrate it.

    Args:
        model: untrained, float32 `[N, 28, 28, 1]` in [0, 1] → probabilities `[N, 10]`.
        training: how images are varied, what is added to them, the learning rate.
        digits: the training images.
        held_out: other training images, for the accuracy of each epoch and for the temperature.
        options: epochs and the like.

    Returns:
        Keras's history, and under `temperature` what the logits were divided by.

    Raises:
        DataError: there are fewer images than a batch has.
    """
    images, targets = training_images(digits, training, options.seed)
    if len(images) < options.batch_size:
        raise DataError(
            f"there are {len(images)} images to train on, fewer than a batch of {options.batch_size}. "
            f"Give more, or --batch-size {len(images)} or less."
        )
    compile_model(model, training, options.epochs * (len(images) // options.batch_size))
    varied = options.epochs - round(training.unvaried * options.epochs)
    history: dict[str, Any] = {}
    for first, last, change in ((0, varied, training.change), (varied, options.epochs, Augmentation())):
        if first == last:
            continue
        data = batches(images, targets, change, options.batch_size, options.seed)
        fitted = model.fit(
            options.teaching(data),
            validation_data=(scaled(held_out.images), np.eye(10, dtype=np.float32)[held_out.labels]),
            validation_batch_size=1000,
            initial_epoch=first,
            epochs=last,
            shuffle=False,
            verbose=0,
            callbacks=options.callbacks,
        )
        for name, values in fitted.history.items():
            history.setdefault(name, []).extend(values)
    return {**history, "temperature": [calibrate(model, held_out)]}


def training_images(digits: Digits, training: AugmentedTraining, seed: int) -> tuple[NDArray[np.uint8], Any]:
    """Return images uint8 `[N, 28, 28]` and their targets float32 `[N, 10]`: the digits, and what the recipe adds."""
    images, labels = [digits.images], [digits.labels]
    if training.drawn_digits:
        drawn, drawn_labels = drawn_digits(training.drawn_digits, seed)
        images.append(drawn)
        labels.append(drawn_labels)
    targets = np.eye(10, dtype=np.float32)[np.concatenate(labels)]
    if training.drawn_marks:
        images.append(drawn_marks(training.drawn_marks, seed))
        targets = np.concatenate([targets, np.full((training.drawn_marks, 10), 0.1, np.float32)])
    return np.concatenate(images), targets


def batches(images: NDArray[np.uint8], targets: Any, change: Augmentation, batch_size: int, seed: int) -> Any:
    """Return a `tf.data` dataset: varied images float32 `[B, 28, 28, 1]` in [0, 1], and targets `[B, 10]`."""
    import tensorflow as tf

    def varied(images: Any, targets: Any) -> tuple[Any, Any]:
        return augmented(tf.cast(images, tf.float32) / 255, change)[..., None], targets

    data = tf.data.Dataset.from_tensor_slices((images, targets))
    data = data.shuffle(len(images), seed=seed).batch(batch_size, drop_remainder=True)
    return untuned(data.map(varied, num_parallel_calls=2, deterministic=True).prefetch(4))


def untuned(data: Any) -> Any:
    """Return a `tf.data` dataset without its autotuning, whose thread lets each epoch wait up to as long as it took."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


def compile_model(model: Any, training: AugmentedTraining, steps: int) -> None:
    """Set AdamW with a warm-up and a cosine over all `steps`, and cross-entropy."""
    import keras

    warm_up = int(WARM_UP * steps)
    rate = keras.optimizers.schedules.CosineDecay(
        training.learning_rate * WARM_UP,
        max(1, steps - warm_up),
        warmup_target=training.learning_rate,
        warmup_steps=warm_up,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=training.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    model.compile(
        optimizer=optimizer,
        loss="categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
        steps_per_execution=STEPS_AT_ONCE,
    )


def calibrate(model: Any, held_out: Digits) -> float:
    """Divide the logits of a model by the temperature at which held-out images are most probable; return it.

    Source: Guo et al., "On calibration of modern neural networks" (2017). The last layer takes it in, so that no
    operator is added.
    """
    probabilities = predict(model, held_out.images).astype(np.float64)
    logits = np.log(np.maximum(probabilities, 1e-30))
    right = np.arange(len(held_out)), held_out.labels

    def surprise(temperature: float) -> float:
        scaled = logits / temperature
        return float(
            (np.log(np.exp(scaled - scaled.max(1, keepdims=True)).sum(1)) + scaled.max(1) - scaled[right]).mean()
        )

    temperature = float(min(TEMPERATURES, key=surprise))
    last = model.layers[-1]
    last.set_weights([weights / np.float32(temperature) for weights in last.get_weights()])
    return temperature
