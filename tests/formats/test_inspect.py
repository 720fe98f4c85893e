"""`inspect` on our files and on others, against counts made in another way."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.commands import MODELS, Run

from mnist_edge.core.contract import Precision
from mnist_edge.core.manifest import Manifest
from mnist_edge.data.dataset import Dataset
from mnist_edge.formats import FORMATS
from mnist_edge.formats.request import Request
from mnist_edge.training.recipes import RECIPES


@pytest.mark.parametrize("model", MODELS)
def test_parameters_and_macs_of_every_file_are_the_networks(exports: Path, model: str) -> None:
    for artifact in Manifest.read(exports / model).artifacts:
        found = FORMATS[artifact.format].describe(artifact.path)
        assert found.parameters == RECIPES[model].parameters, artifact.path.name
        assert found.macs == RECIPES[model].macs, artifact.path.name
        assert sum(found.sizes.values()) == artifact.bytes
        assert found.metadata["model"] == model


@pytest.mark.parametrize("name", ["tflite", "onnx"])
def test_transposed_convolutions_count(name: str, mnist: Dataset, tmp_path: Path) -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(10, "softmax"),
        ]
    )
    random = np.random.default_rng(0)  # biases that are 0 are left out of files
    model.set_weights([random.normal(size=array.shape).astype(np.float32) for array in model.get_weights()])
    path = tmp_path / f"x.{name}"
    FORMATS[name].export(model, path, Request(Precision.FLOAT32, mnist.train.images[:10], {}))
    found = FORMATS[name].describe(path)
    assert found.parameters == model.count_params()
    assert found.macs == 14 * 14 * (8 * 9 + 4 * 9 * 8) + 14 * 14 * 4 * 10


def test_what_really_runs_in_int8(exports: Path) -> None:
    onnx = FORMATS["onnx"].describe(exports / "cnn" / "cnn-int8.onnx").runtime_operators
    assert onnx is not None
    assert onnx.int8 == ("QGemm", "QGemm")
    assert set(onnx.other) == {"Conv", "MaxPool", "Softmax"}  # whole numbers on float instructions, see onnx_int8
    tflite = FORMATS["tflite"].describe(exports / "cnn" / "cnn-int8.tflite").runtime_operators
    assert tflite is not None
    assert tflite.int8 == ("CONV_2D", "MAX_POOL_2D", "FULLY_CONNECTED", "FULLY_CONNECTED")
    assert tflite.other == ("SOFTMAX",)
    assert tflite.note == "XNNPACK runs 6 of 7"
    float32 = FORMATS["onnx"].describe(exports / "cnn" / "cnn-float32.onnx").runtime_operators
    assert float32 is not None
    assert float32.int8 == ()


def test_default_files_name_old_runtimes(exports: Path) -> None:
    assert FORMATS["onnx"].describe(exports / "cnn" / "cnn-int8.onnx").oldest.startswith("ONNX Runtime 1.12")
    tflite = FORMATS["tflite"].describe(exports / "cnn" / "cnn-int8.tflite")
    assert tflite.oldest.startswith("TensorFlow Lite 1.14")
    versions = {operator.kind: operator.version for operator in tflite.operators}
    assert versions["FULLY_CONNECTED"] < 12  # 12 is per-channel, which runtimes of 2023 refuse


def test_the_oldest_runtime_is_not_guessed_for_int16(exports: Path) -> None:
    assert FORMATS["tflite"].describe(exports / "cnn" / "cnn-int16x8.tflite").oldest.startswith("not known")


def test_a_changed_file_of_a_folder_is_not_shown(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mlp"
    shutil.copytree(exports / "mlp", folder)
    path = folder / "mlp-int8.tflite"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    done = run("inspect", folder, check=2)
    assert "mlp-int8.tflite was changed: its SHA-256 is" in done.stderr
    assert not done.stdout


def test_files_that_are_not_ours(run: Run, exports: Path, tmp_path: Path) -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Relu", ["y"], ["z"])],
        "theirs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.ones((6, 4), np.float32), "w")],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=7), tmp_path / "theirs.onnx")
    text = run("inspect", tmp_path / "theirs.onnx").stdout
    assert "none in the file; it is not one of ours" in text
    assert "x float32 [n, 6]" in text
    assert "24 parameters" in text
    content = json.loads(run("inspect", exports / "mlp" / "mlp-int8.tflite", "--json").stdout)
    assert content["inputs"] == ["image uint8 [1, 28, 28, 1], scale 0.00392157, zero point 0"]
    bare = (exports / "mlp" / "mlp-int8.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(bare[:5000])
    (tmp_path / "text.onnx").write_text("no model")
    for name in ("cut.tflite", "text.onnx", "nowhere.onnx"):
        assert len(run("inspect", tmp_path / name, check=2).stderr.splitlines()) == 1
