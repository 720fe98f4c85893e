"""Every form of input and output that is accepted also runs; and batches that calibration cannot fill."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mnist_edge.core.contract import IOOptions, Precision
from mnist_edge.core.optional import require_keras
from mnist_edge.data.dataset import Dataset
from mnist_edge.export import export_folder
from mnist_edge.export.inputs import load_inputs
from mnist_edge.export.plan import ExportPlan
from mnist_edge.formats import FORMATS
from mnist_edge.training import store
from mnist_edge.training.own_model import adopt

WEIGHTS = np.random.default_rng(0).normal(size=(784, 10)).astype(np.float32)


def write(path: Path, batch: int | str, output: list[int | str]) -> Path:
    """Write a network of one matrix, whose output has the form that is asked for."""
    sizes = [-1 if isinstance(size, str) else size for size in output]
    nodes = [
        helper.make_node("Reshape", ["image", "rows"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["ten"]),
        helper.make_node("Reshape", ["ten", "form"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 28, 28, 1])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, output)],
        [
            numpy_helper.from_array(np.array([-1, 784]), "rows"),
            numpy_helper.from_array(WEIGHTS, "weights"),
            numpy_helper.from_array(np.array(sizes), "form"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("batch", "output"),
    [
        (1, [10]),
        (1, [1, 10]),
        (1, [1, 1, 10]),
        (1, [1, 1, 1, 10]),
        (4, [4, 10]),
        (4, [4, 1, 10]),
        ("n", ["n", 10]),
        ("n", ["n", 1, 10]),
        ("n", ["n", 1, 1, 10]),
    ],
)
def test_every_output_that_is_accepted_runs(batch: int | str, output: list[int | str], tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (7, 28, 28), np.uint8)
    expected = images.reshape(7, 784).astype(np.float32) / np.float32(255) @ WEIGHTS
    path = write(tmp_path / "theirs.onnx", batch, output)
    for size in {1, 4} if isinstance(batch, str) else {1}:
        with FORMATS["onnx"].open(path, batch=size) as runner:
            for count in (1, 4, 7):
                np.testing.assert_allclose(runner.run(images[:count]), expected[:count], rtol=1e-4, atol=1e-4)


def tiny() -> Any:
    """A network that converts in a second."""
    keras = require_keras("a test")
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    return keras.Sequential([keras.Input((28, 28, 1)), *layers])


def test_a_batch_of_more_than_the_calibration_images(mnist: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    store.save(adopt(tiny(), mnist), folder)
    pairs = (("tflite", Precision.INT8), ("onnx", Precision.INT8))
    exported = export_folder(load_inputs(folder, mnist), ExportPlan(pairs, IOOptions(batch=512)))
    for artifact in exported.manifest.artifacts:
        with FORMATS[artifact.format].open(artifact.path) as runner:
            assert runner.batch == 512
            assert runner.run(mnist.test.images[:600]).shape == (600, 10)
