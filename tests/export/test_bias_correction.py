"""What int8 adds to each class on average is taken out of the last layer's bias, where it changes many answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.networks import NETWORKS

from mnist_edge.core.contract import Precision
from mnist_edge.core.metrics import compare
from mnist_edge.core.optional import require_keras
from mnist_edge.data.dataset import Dataset
from mnist_edge.export import export_folder
from mnist_edge.export.inputs import load_inputs
from mnist_edge.export.plan import plan_export
from mnist_edge.formats import FORMATS
from mnist_edge.formats.keras.bias_correction import mean_shift, with_shifted_logits
from mnist_edge.formats.keras.model import predict
from mnist_edge.formats.request import Request
from mnist_edge.training.own_model import adopt

SHIFT = np.linspace(-0.3, 0.3, 10, dtype=np.float32)
Ending = Callable[[Any], list[Any]]


@pytest.mark.parametrize(
    ("ending", "possible"),
    [
        (lambda make: [make.Flatten(), make.Dense(10, "softmax")], True),
        (lambda make: [make.Flatten(), make.Dense(10, use_bias=False), make.Softmax()], True),
        (lambda make: [make.Flatten(), make.Dense(10), make.BatchNormalization(), make.Activation("softmax")], True),
        (lambda make: [make.Conv2D(10, 1), make.GlobalAveragePooling2D(), make.Softmax()], True),
        (lambda make: [make.Conv2D(10, 1, activation="relu"), make.GlobalAveragePooling2D(), make.Softmax()], False),
        (lambda make: [make.Flatten(), make.Dense(10), make.LayerNormalization(), make.Softmax()], False),
    ],
)
def test_a_shift_of_the_logits_goes_into_the_last_bias(ending: Ending, possible: bool) -> None:
    keras = require_keras("a test")
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(4, 3, strides=2), *ending(keras.layers)])
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    before = predict(model, images)
    shifted = with_shifted_logits(model, SHIFT)
    assert (shifted is not None) is possible
    if shifted is not None:
        assert mean_shift(before, predict(shifted, images)) == pytest.approx(SHIFT, abs=1e-5)
    assert np.array_equal(predict(model, images), before)  # the model itself stays as it is


def test_a_class_without_a_chance_says_nothing_of_the_shift() -> None:
    keras = np.array([[0.6, 0.4, 1e-9]], np.float32)
    outputs = np.array([[0.6, 0.4, 1e-6]], np.float32)
    assert mean_shift(keras, outputs).tolist() == [0, 0, 0]


@pytest.mark.extra("a quarter of a minute or more")
def test_an_int8_file_changes_fewer_classes_with_the_bias_corrected(mnist: Dataset, tmp_path: Path) -> None:
    """Its last layer takes large positive numbers, so that the errors of its few weights do not cancel out."""
    trained = adopt(NETWORKS["any-size"].trained(mnist.train), mnist)
    inputs = load_inputs(tmp_path / "it", mnist, trained)
    plain = tmp_path / "plain.onnx"
    FORMATS["onnx"].export(trained.model, plain, Request(Precision.INT8, inputs.calibration_images, {}))
    export_folder(inputs, plan_export([Precision.INT8], ["onnx"]))
    unused = np.setdiff1d(np.arange(6000, 20_000), [*inputs.held_out, *inputs.calibration])
    images, labels = mnist.train.images[unused], mnist.train.labels[unused]
    keras, flips = predict(trained.model, images), []
    for path in (plain, tmp_path / "it" / "it-int8.onnx"):
        with FORMATS["onnx"].open(path) as runner:
            flips.append(len(compare(keras, runner.run(images), labels).flips))
    assert flips[1] < 0.75 * flips[0]
