"""Quantization-aware fine-tuning: a plain model on the int8 grid, with ranges, and not worse than rounding alone."""

from typing import Any

import numpy as np
import pytest

from mnist_edge.core.errors import ConversionError, ModelError
from mnist_edge.core.optional import require_keras
from mnist_edge.data.dataset import Dataset, Digits
from mnist_edge.formats.keras.model import predict, scaled
from mnist_edge.formats.keras.ranges import chain, check_ranges, kernel_steps, on_grid, step_and_zero
from mnist_edge.formats.keras.signature import without_softmax
from mnist_edge.training.qat import QatData, QatOptions, QatResult, fine_tune, plain_batches
from mnist_edge.training.simulation import Simulation
from mnist_edge.training.store import QuantizationRecord, weights_digest


def network(*middle: Any) -> Any:
    """Return an untrained network with BatchNormalization and its statistics as training leaves them."""
    keras = require_keras("a test")
    keras.utils.set_random_seed(1)
    make = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            make.Conv2D(6, 5, strides=2, padding="same", use_bias=False),
            make.BatchNormalization(),
            make.ReLU(),
            *(middle or (make.MaxPooling2D(2), make.Flatten())),
            make.Dropout(0.1),
            make.Dense(10, activation="softmax"),
        ]
    )
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            count = layer.gamma.shape
            layer.set_weights(
                [rng.uniform(0.5, 2, count), rng.normal(size=count), rng.normal(size=count), rng.uniform(0.5, 2, count)]
            )
    return model


def parts(mnist: Dataset) -> QatData:
    train = mnist.train
    batches = plain_batches(Digits(train.images[:3000], train.labels[:3000]), size=64)
    return QatData(batches, train.images[3000:3200], Digits(train.images[4000:5000], train.labels[4000:5000]))


@pytest.fixture(scope="module")
def tuned(mnist: Dataset) -> tuple[Any, str, QatResult]:
    """A network, the digest of its weights before, and what fine-tuning made of it."""
    model = network()
    return model, weights_digest(model), fine_tune(model, parts(mnist), QatOptions(epochs=2, learning_rate=3e-3))


def test_the_result_is_plain_keras_on_the_grid(tuned: tuple[Any, str, QatResult]) -> None:
    model, before, result = tuned
    assert weights_digest(model) == before
    assert [type(layer).__name__ for layer in result.model.layers] == [
        "InputLayer", "Conv2D", "MaxPooling2D", "Flatten", "Dropout", "Dense",
    ]  # fmt: skip
    scale = np.float32(1 / 255)
    for layer, bounds in zip((result.model.layers[1], result.model.layers[-1]), result.ranges, strict=True):
        kernel, kind = np.asarray(layer.kernel), type(layer).__name__
        assert np.array_equal(on_grid(kernel, kind), kernel)
        whole = kernel / kernel_steps(kernel, kind)
        assert np.allclose(whole, np.round(whole), atol=1e-4)
        assert np.abs(whole).max() == pytest.approx(127)
        units = np.asarray(layer.bias) / (scale * kernel_steps(kernel, kind).ravel())
        assert np.allclose(units, np.round(units), atol=1e-2)
        assert bounds[0] <= 0 < bounds[1]
        scale, _ = step_and_zero(bounds)


def test_it_learns_and_is_the_network_that_was_simulated(mnist: Dataset, tuned: tuple[Any, str, QatResult]) -> None:
    _, _, result = tuned
    record, held_out = result.record, parts(mnist).held_out
    assert record["kept"] == "fine-tuned"
    assert record["fine-tuned"]["right"] > record["rounded"]["right"] + 300  # the network was not trained before
    simulation = Simulation(without_softmax(result.model))
    simulation.ranges = result.ranges
    classes = simulation.logits(scaled(held_out.images)).argmax(axis=1)
    assert int((classes == held_out.labels).sum()) == record["fine-tuned"]["right"]
    assert (predict(result.model, held_out.images).argmax(axis=1) == classes).mean() > 0.9


def test_what_does_not_help_is_not_kept(mnist: Dataset, tuned: tuple[Any, str, QatResult]) -> None:
    _, _, result = tuned
    spoiled = fine_tune(result.model, parts(mnist), QatOptions(epochs=1, learning_rate=1.0))
    assert spoiled.record["kept"] == "rounded"
    assert weights_digest(spoiled.model) == weights_digest(fine_tune(result.model, parts(mnist), QatOptions(0)).model)


def test_one_seed_gives_one_result(mnist: Dataset, tuned: tuple[Any, str, QatResult]) -> None:
    model, _, result = tuned
    again = fine_tune(model, parts(mnist), QatOptions(epochs=2, learning_rate=3e-3))
    assert weights_digest(again.model) == weights_digest(result.model)
    assert again.ranges == result.ranges


def test_a_layer_that_is_not_known_is_named(mnist: Dataset) -> None:
    make = require_keras("a test").layers
    unknown = (
        (make.AveragePooling2D(2, name="halved"), "'halved' (AveragePooling2D)", make.Flatten()),
        (make.Conv2D(4, 3, activation="gelu", name="smooth"), "'smooth' (Conv2D) has the act", make.Flatten()),
        (make.LayerNormalization(name="normal"), "'normal' (LayerNormalization)", make.Flatten()),
    )  # fmt: skip
    for layer, words, flatten in unknown:
        with pytest.raises(ModelError, match="export without --qat") as caught:
            fine_tune(network(layer, flatten), parts(mnist))
        assert words in str(caught.value)
    with pytest.raises(ConversionError, match="2 quantization ranges for 3 layers"):
        check_ranges(network(make.Conv2D(4, 3), make.Flatten()), [(0.0, 1.0)] * 2)


def test_grid_and_scales_hold_for_every_kind_of_layer() -> None:
    rng = np.random.default_rng(0)
    for kind, shape, scales in (
        ("Conv2D", (3, 3, 4, 8), 8),
        ("DepthwiseConv2D", (3, 3, 4, 2), 8),
        ("Dense", (40, 10), 1),
    ):
        kernel = rng.normal(size=shape).astype(np.float32)
        once = on_grid(kernel, kind)
        assert kernel_steps(kernel, kind).size == scales
        assert np.array_equal(kernel_steps(once, kind), kernel_steps(kernel, kind))
        assert np.array_equal(on_grid(once, kind), once)
    assert step_and_zero((0.0, 255.0)) == (np.float32(1), 0)
    assert step_and_zero((-128.0, 127.0)) == (np.float32(1), 128)


def test_ranges_of_a_record_are_checked() -> None:
    for low, high in ((0.1, 1.0), (-1.0, 0.0), (0.0, float("inf")), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="no layer can have the range"):
            QuantizationRecord(((low, high),), "0" * 64).check()
    QuantizationRecord(((-1.0, 1.0),), "0" * 64).check()


def test_a_chain_leaves_out_what_does_nothing() -> None:
    assert [type(layer).__name__ for layer in chain(without_softmax(fine_plain()))] == ["Conv2D", "Flatten", "Dense"]


def fine_plain() -> Any:
    """Return a chain with Dropout and a Softmax of its own layer."""
    keras = require_keras("a test")
    make = keras.layers
    return keras.Sequential(
        [keras.Input((28, 28, 1)), make.Conv2D(2, 3), make.Flatten(), make.Dropout(0.5), make.Dense(10), make.Softmax()]
    )
