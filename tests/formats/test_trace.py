"""The trace of a `.tflite` file whose operators leave out tensors that they could have."""

from pathlib import Path

import numpy as np

from mnist_edge.core.contract import Precision
from mnist_edge.core.optional import require_keras
from mnist_edge.formats import FORMATS
from mnist_edge.formats.request import Request


def test_a_loop_that_leaves_out_an_output_is_traced(tmp_path: Path) -> None:
    keras = require_keras("a test")
    layers = keras.layers
    recurrent = layers.LSTM(4, return_sequences=True), layers.GRU(4)
    model = keras.Sequential([keras.Input((28, 28, 1)), layers.Reshape((28, 28)), *recurrent, layers.Dense(10)])
    images = np.zeros((2, 28, 28), np.uint8)
    path = tmp_path / "recurrent.tflite"
    FORMATS["tflite"].export(model, path, Request(Precision.FLOAT32, images, {}))
    trace = FORMATS["tflite"].trace(path, images)
    assert [kernel.values.shape for kernel in trace.kernels] == [(10, 4)]
    assert any(values.shape == (2, 10) for _, values in trace.tensors)
