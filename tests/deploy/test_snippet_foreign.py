"""Files of other converters: their code is right, or refused in one line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from support.commands import Run
from support.printed import SOURCES, outputs

from mnist_edge.core.reference import Reference
from mnist_edge.deploy.snippets import snippet

pytestmark = pytest.mark.extra("another runtime")

IMAGES = 20
CONVERT = """
import sys
from pathlib import Path
import numpy as np
import tensorflow as tf
from tensorflow.lite.tools import flatbuffer_utils as utils
from mnist_edge.data import dataset as data
network = tf.keras.models.load_model(sys.argv[1], compile=False)
folder = Path(sys.argv[2])
images = data.load_mnist().train.images[:100].reshape(-1, 1, 28, 28, 1).astype(np.float32) / 255
image = tf.keras.Input(batch_shape=(1, 28, 28, 1), name="image")
probabilities = network(image)
def write(name, outputs, change=None, **ends):
    converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(image, outputs))
    if ends:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([one] for one in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        for end, dtype in ends.items():
            setattr(converter, f"inference_{end}_type", dtype)
    content = converter.convert()
    if change:
        model = utils.read_model_from_bytearray(bytearray(content))
        change(model, model.subgraphs[0])
        content = bytes(utils.convert_object_to_bytearray(model))
    (folder / name).write_bytes(content)
def unsigned(model, graph):
    model.signatureDefs = None
    graph.tensors[graph.inputs[0]].name = b'in"\\\\ x*/'
    graph.tensors[graph.outputs[0]].name = "out'${1} é".encode()
def misnamed(model, graph):
    model.signatureDefs = None
    graph.tensors[graph.inputs[0]].name = bytes([255, 254])
write("uint8-int8.tflite", probabilities, input=tf.uint8, output=tf.int8)
write("int8.tflite", probabilities, input=tf.int8, output=tf.int8)
write("unsigned.tflite", probabilities, unsigned)
write("misnamed.tflite", probabilities, misnamed)
def swapped(model, graph):
    graph.outputs = graph.outputs[::-1]
write("two.tflite", [probabilities * 0.5, probabilities], swapped)
"""


@pytest.fixture(scope="module")
def converted(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What TensorFlow's own converter makes of `mlp`, without us."""
    folder = tmp_path_factory.mktemp("foreign")
    command = [sys.executable, "-c", CONVERT, str(exports / "mlp" / "model.keras"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def differences(
    file: Path, language: str, exports: Path, folder: Path, request: pytest.FixtureRequest
) -> NDArray[np.float64]:
    """Run the code of a file, and give how far each image is from what Keras gives, `[IMAGES]`."""
    golden = Reference.read(exports / "mlp" / "reference.npz")
    found = outputs(snippet(file, language), language, file, golden.images[:IMAGES], folder, request)
    assert found.shape == (IMAGES, 10)
    off: NDArray[np.float64] = np.abs(found - golden.keras[golden.indices[:IMAGES]]).max(axis=1)
    return off


@pytest.mark.parametrize(
    ("name", "language", "limit"),
    [
        ("uint8-int8.tflite", "python", 0.1),
        ("int8.tflite", "python", 0.1),
        ("unsigned.tflite", "python", 1e-5),
        ("unsigned.tflite", "js", 1e-5),
    ],
)
def test_what_another_converter_wrote(
    name: str,
    language: str,
    limit: float,
    converted: Path,
    exports: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    assert differences(converted / name, language, exports, tmp_path, request).max() < limit


def test_of_two_outputs_every_language_takes_the_same(
    converted: Path, exports: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file = converted / "two.tflite"
    python, js = (differences(file, language, exports, tmp_path, request) for language in ("python", "js"))
    assert np.allclose(python, js, atol=1e-5)
    assert python.max() < 1e-5 or python.min() > 0.1  # the one or the half of it


@pytest.mark.parametrize(
    ("name", "language", "reason"),
    [
        ("uint8-int8.tflite", "js", "LiteRT.js knows no int8 tensors"),
        ("int8.tflite", "js", "LiteRT.js knows no int8 tensors"),
        ("misnamed.tflite", "python", "'utf-8' codec"),
        ("misnamed.tflite", "js", "'utf-8' codec"),
    ],
)
def test_what_a_language_cannot_run_is_refused(
    name: str, language: str, reason: str, converted: Path, run: Run
) -> None:
    done = run("snippet", converted / name, "--lang", language, check=2)
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1


def network(source: tuple[int, list[int | str]], sink: tuple[int, list[int | str]]) -> onnx.ModelProto:
    """Return a network with these ends, dtype and shape, of a random Dense layer."""
    weights = np.random.default_rng(0).normal(size=(784, 10)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["floats", "rows"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["product"]),
        helper.make_node("Reshape", ["product", "shape"], ["shaped"]),
        helper.make_node("Cast", ["shaped"], ["y"], to=sink[0]),
    ]
    given = [-1 if isinstance(size, str) else size for size in sink[1]]
    constants = {"weights": weights, "rows": np.array([-1, 784]), "shape": np.array(given)}
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", *source)],
        [helper.make_tensor_value_info("y", *sink)],
        [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8


@pytest.mark.parametrize("language", SOURCES)
@pytest.mark.parametrize(("dtype", "shape"), [(UINT8, [1, 784]), (FLOAT, ["n", 28, 28]), (FLOAT, ["n", "c", 28, 28])])
def test_images_of_other_ranks(
    dtype: int, shape: list[int | str], language: str, exports: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    proto, file = network((dtype, shape), (FLOAT, [shape[0], 10])), tmp_path / "x.onnx"
    onnx.save(proto, file)
    images = Reference.read(exports / "mlp" / "reference.npz").images[:3]
    found = outputs(snippet(file, language), language, file, images, tmp_path, request)
    weights = onnx.numpy_helper.to_array(proto.graph.initializer[0])
    pixels = images.reshape(-1, 784) / (1 if dtype == UINT8 else 255)
    np.testing.assert_allclose(found, pixels @ weights, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    ("source", "sink", "reason"),
    [
        ((FLOAT, [1, 14, 14, 4]), (FLOAT, [1, 10]), "not one 28×28 image in"),
        ((FLOAT, [784]), (FLOAT, [1, 10]), "not one 28×28 image in"),
        ((FLOAT, ["n", "c", "h", "w"]), (FLOAT, ["n", 10]), "not one 28×28 image in"),
        ((TensorProto.BOOL, [1, 28, 28]), (FLOAT, [1, 10]), "not one 28×28 image in"),
        ((TensorProto.STRING, [1, 28, 28]), (FLOAT, [1, 10]), "not one 28×28 image in"),
        ((TensorProto.BFLOAT16, [1, 28, 28]), (FLOAT, [1, 10]), "not one 28×28 image in"),
        ((FLOAT, [4, 784]), (FLOAT, [1, 40]), "not one 28×28 image in"),
        ((FLOAT, [4, 784]), (FLOAT, [2, 2, 10]), "not one 28×28 image in"),
        ((FLOAT, [1, 784]), (FLOAT, [10]), "not ten numbers an image"),
        ((FLOAT, [1, 784]), (FLOAT, [1, 1, 1, 10]), "not ten numbers an image"),
        ((FLOAT, [1, 784]), (UINT8, [1, 10]), "not ten numbers an image"),
        ((TensorProto.FLOAT16, [1, 784]), (FLOAT, [1, 10]), "takes float16, for which there is no code"),
        ((TensorProto.DOUBLE, [1, 784]), (FLOAT, [1, 10]), "takes float64, for which there is no code"),
        ((TensorProto.INT8, [1, 784]), (FLOAT, [1, 10]), "does not say what its numbers mean"),
    ],
)
def test_ends_that_no_code_is_for(
    source: tuple[int, list[int | str]], sink: tuple[int, list[int | str]], reason: str, run: Run, tmp_path: Path
) -> None:
    onnx.save(network(source, sink), tmp_path / "x.onnx")
    for language in ("python", "c"):
        done = run("snippet", tmp_path / "x.onnx", "--lang", language, check=2)
        assert reason in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_weights_in_another_file_are_told_of(run: Run, tmp_path: Path) -> None:
    proto, path = network((FLOAT, [1, 784]), (FLOAT, [1, 10])), tmp_path / "x.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="x.data", size_threshold=1024)
    assert "has weights in other files (x.data)" in run("snippet", path, check=2).stderr
    assert "7,840 parameters" in run("inspect", path).stdout
    (tmp_path / "x.data").unlink()
    for command in ("snippet", "inspect"):
        assert len(run(command, path, check=2).stderr.splitlines()) == 1


@pytest.mark.parametrize("contract", ["", "1", "{}", '{"input": 1, "output": 2}', "[" * 100_000])
def test_a_contract_that_is_none_is_shown_and_refused(contract: str, run: Run, tmp_path: Path) -> None:
    proto = network((FLOAT, [1, 784]), (FLOAT, [1, 10]))
    proto.metadata_props.add(key="contract", value=contract)
    onnx.save(proto, tmp_path / "x.onnx")
    assert "the contract in" in run("snippet", tmp_path / "x.onnx", check=2).stderr
    assert "cannot be read" in run("inspect", tmp_path / "x.onnx").stdout
