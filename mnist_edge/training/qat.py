"""Quantization-aware fine-tuning: a network is trained on with its weights and activations rounded as int8 rounds them.

BatchNormalization is folded first, the range of each activation is measured once and then kept, and the gradient passes
through rounding as if it were not there. What comes out is a plain Keras model whose weights are values of the int8
grid, so that every exporter finds the same whole numbers in it, and the ranges that all of them use.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.optional import require_keras, silenced
from mnist_edge.data.dataset import Digits
from mnist_edge.formats.keras.folding import folded
from mnist_edge.formats.keras.model import predict, scaled
from mnist_edge.formats.keras.ranges import Range, chain
from mnist_edge.formats.keras.signature import without_softmax
from mnist_edge.formats.keras.structure import Copies, rebuilt
from mnist_edge.formats.runner import softmax
from mnist_edge.training.augmented import untuned
from mnist_edge.training.distillation import taught
from mnist_edge.training.simulation import METHODS, Simulation
from mnist_edge.training.trainer import Progress, report_to


@dataclass(frozen=True)
class QatOptions:
    """How to fine-tune.

    `learning_rate` is Adam's, and falls to 0 as a cosine. `distillation` is the weight of the float model's own
    probabilities in the targets; that of the labels is the rest.
    """

    epochs: int = 4
    learning_rate: float = 3e-4
    distillation: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class QatData:
    """Training images in three parts; no image may be in two of them but for `calibration`.

    `batches` is a `tf.data.Dataset` of one epoch: float32 `[B, 28, 28, 1]` in [0, 1] and targets `[B, 10]`.
    `calibration` is the representative dataset, uint8 `[N, 28, 28]`, over which ranges are measured. On `held_out`
    ranges and result are chosen.
    """

    batches: Any
    calibration: NDArray[np.uint8]
    held_out: Digits


@dataclass(frozen=True)
class QatResult:
    """A plain Keras model with weights on the int8 grid, the range of each layer, and what was measured."""

    model: Any
    ranges: tuple[Range, ...]
    record: dict[str, Any]


def plain_batches(digits: Digits, size: int = 128, seed: int = 0) -> Any:
    """Return the batches of one epoch of training images as they are, shuffled anew for each epoch."""
    keras = require_keras("quantization-aware fine-tuning")
    import tensorflow as tf

    keras.utils.set_random_seed(seed)  # the order depends on this seed too
    images = tf.data.Dataset.from_tensor_slices((digits.images, digits.labels))
    return untuned(
        images.shuffle(len(digits), seed)
        .batch(size)
        .map(lambda pixels, labels: (tf.cast(pixels[..., None], tf.float32) / 255, tf.one_hot(labels, 10)))
    )


def fine_tune(
    model: Any,
    data: QatData,
    options: QatOptions = QatOptions(),
    on_progress: Progress = lambda epoch, done, total, metrics, ended: None,
) -> QatResult:
    """Fine-tune a Keras model for int8; its weights are only rounded where that gives more on held-out images.

    Args:
        model: in the form of the contract; it is not changed.
        data: training images.
        options: epochs, learning rate, targets, seed.
        on_progress: called after each batch and each epoch.

    Raises:
        ModelError: the network has a layer that is not known, which the message names.
    """
    keras = require_keras("quantization-aware fine-tuning")
    import tensorflow as tf

    started = time.perf_counter()
    with silenced():
        keras.utils.set_random_seed(options.seed)
        tf.config.experimental.enable_op_determinism()
        whole = folded(model)
        chain(whole)
        plain = rebuilt(whole, Copies().call)
        logits_model = without_softmax(plain)
        simulation = Simulation(logits_model)
        judge = _Judge(predict(model, data.held_out.images), data.held_out)
        tried = _choose_ranges(simulation, scaled(data.calibration), judge)
        trained_on = logits_model.get_weights()
        simulation.round_weights()
        candidates = {"rounded": (judge.of(simulation), logits_model.get_weights())}
        logits_model.set_weights(trained_on)
    if options.epochs:
        _fit(simulation, whole, data.batches, options, on_progress)
        simulation.round_weights()
        candidates["fine-tuned"] = (judge.of(simulation), logits_model.get_weights())
    kept = max(candidates, key=lambda name: (candidates[name][0]["right"], -candidates[name][0]["loss"]))
    plain.set_weights(candidates[kept][1])
    record = {
        **asdict(options),
        "held_out": len(data.held_out),
        "float_right": judge.float_right,
        "ranges": tried,
        **{name: measured for name, (measured, _) in candidates.items()},
        "kept": kept,
        "seconds": round(time.perf_counter() - started, 1),
    }
    return QatResult(plain, simulation.ranges, record)


class _Judge:
    """Measures a simulation on held-out training images against the float model's probabilities and the labels."""

    def __init__(self, probabilities: NDArray[np.float32], held_out: Digits) -> None:
        self._probabilities, self._labels, self._pixels = probabilities, held_out.labels, scaled(held_out.images)
        self.float_right = int((probabilities.argmax(axis=1) == held_out.labels).sum())

    def of(self, simulation: Simulation) -> dict[str, Any]:
        """Return how many images are right, and the cross-entropy with the float model's probabilities."""
        logits = simulation.logits(self._pixels)
        logs = np.log(np.maximum(softmax(logits), np.finfo(np.float32).tiny))
        return {
            "right": int((logits.argmax(axis=1) == self._labels).sum()),
            "loss": float(-(self._probabilities * logs).sum(axis=1).mean()),
        }


def _choose_ranges(simulation: Simulation, calibration: NDArray[np.float32], judge: _Judge) -> dict[str, Any]:
    """Give a simulation the ranges with which it is nearest to the float model, and return what was tried."""
    tried: dict[str, Any] = {}
    for method in METHODS:
        simulation.ranges = simulation.measured(calibration, method)
        tried[method] = judge.of(simulation)
    best = min(tried, key=lambda method: float(tried[method]["loss"]))
    simulation.ranges = simulation.measured(calibration, best)
    return {"chosen": best, "tried": tried}


def _fit(simulation: Simulation, teacher: Any, batches: Any, options: QatOptions, on_progress: Progress) -> None:
    """Train a simulation on batches whose targets are labels and the teacher's probabilities, mixed."""
    import keras

    with silenced():
        mixed = taught(batches, teacher, options.distillation)
        steps = int(mixed.cardinality()) if int(mixed.cardinality()) > 0 else sum(1 for _ in batches)
        schedule = keras.optimizers.schedules.CosineDecay(options.learning_rate, steps * options.epochs)
        simulation.keras_model.compile(
            optimizer=keras.optimizers.Adam(schedule),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
    simulation.keras_model.fit(
        mixed, epochs=options.epochs, shuffle=False, verbose=0, callbacks=[report_to(on_progress)]
    )
