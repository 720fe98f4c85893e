"""What an export holds: contracts, metadata, graphs, the reference and the manifest."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from support.commands import MODELS, Run

from mnist_edge.core.contract import Contract, IOOptions, Precision
from mnist_edge.core.manifest import Manifest
from mnist_edge.core.reference import Reference
from mnist_edge.data.dataset import Dataset
from mnist_edge.formats import FORMATS

ALL = [  # formats for other machines have a test of their own
    (model, name, precision)
    for model in MODELS
    for name, item in FORMATS.items()
    for precision in item.precisions
    if item.platform is None
]


def artifact_path(exports: Path, model: str, name: str, precision: Precision) -> Path:
    """Where an artifact is."""
    return exports / model / f"{model}-{precision}{FORMATS[name].suffix}"


@pytest.mark.parametrize(("model", "name", "precision"), ALL)
def test_every_format_precision_and_model_conforms(exports: Path, model: str, name: str, precision: Precision) -> None:
    """The conformance test of a format: its contract, its runner, and what the manifest says of it."""
    path = artifact_path(exports, model, name, precision)
    manifest = Manifest.read(exports / model)
    (artifact,) = [item for item in manifest.artifacts if item.path == path]
    artifact.check()
    assert artifact.contract == FORMATS[name].contract(precision, IOOptions())
    golden = Reference.read(manifest.check("reference.npz"))
    with FORMATS[name].open(path) as runner:
        outputs = runner.run(golden.images[:50])
        runner.invoke()
    assert (outputs.dtype.name, outputs.shape) == ("float32", (50, 10))
    assert np.allclose(outputs.sum(axis=1), 1, atol=10 / 2**15)  # the Softmax of int16x8 has ten outputs in such steps
    assert np.array_equal(outputs, golden.outputs[path.name][:50])
    assert (outputs.argmax(axis=1) == golden.keras[golden.indices[:50]].argmax(axis=1)).mean() >= 0.98


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("precision", FORMATS["tflite"].precisions)
def test_tflite_ends_signature_and_metadata(exports: Path, model: str, precision: str) -> None:
    path = exports / model / f"{model}-{precision}.tflite"
    interpreter = Interpreter(str(path))
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["probabilities"]}}
    assert tuple(source["shape"]) == (1, 28, 28, 1)
    assert (sink["dtype"], tuple(sink["shape"])) == (np.float32, (1, 10))
    assert source["dtype"] == (np.uint8 if precision == "int8" else np.float32)
    if precision == "int8":
        assert source["quantization"] == pytest.approx((1 / 255, 0))
    with zipfile.ZipFile(path) as archive:
        metadata = json.loads(archive.read("mnist-edge.json"))
    assert metadata["precision"] == precision
    assert Contract.from_json(metadata["contract"]) == FORMATS["tflite"].contract(Precision(precision), IOOptions())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("precision", FORMATS["onnx"].precisions)
def test_onnx_ends_versions_and_metadata(exports: Path, model: str, precision: str) -> None:
    proto = onnx.load(exports / model / f"{model}-{precision}.onnx")
    (source,), (sink,) = proto.graph.input, proto.graph.output
    assert (source.name, sink.name) == ("image", "probabilities")
    assert [dim.dim_value for dim in source.type.tensor_type.shape.dim] == [1, 1, 28, 28]
    assert [dim.dim_value for dim in sink.type.tensor_type.shape.dim] == [1, 10]
    pixel = onnx.TensorProto.UINT8 if precision == "int8" else onnx.TensorProto.FLOAT
    assert (source.type.tensor_type.elem_type, sink.type.tensor_type.elem_type) == (pixel, onnx.TensorProto.FLOAT)
    assert proto.ir_version == 8
    assert [(item.domain, item.version) for item in proto.opset_import] == [("", 17)]
    metadata = {item.key: item.value for item in proto.metadata_props}
    assert metadata["labels"] == "0 1 2 3 4 5 6 7 8 9"
    assert Contract.from_json(json.loads(metadata["contract"])) == FORMATS["onnx"].contract(
        Precision(precision), IOOptions()
    )


CONV = ["Conv", "MaxPool", "Relu", "Reshape"]
WEIGHTS = ["DequantizeLinear", "DequantizeLinear"]  # of a kernel and of its bias
DYNAMIC = ["DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul", "Add"]
QDQ = ["QuantizeLinear", "DequantizeLinear"]
ONNX_OPS = {
    "float32": [*CONV, "Gemm", "Relu", "Gemm", "Softmax"],
    "float16": [*CONV, "Gemm", "Relu", "Gemm", "Softmax", *["Cast"] * 6],
    "dynamic": [*CONV, *DYNAMIC, "Relu", *DYNAMIC, "Softmax"],
    "int8": ["Cast", "Cast", *CONV, *QDQ, *WEIGHTS, "Gemm", *QDQ, *WEIGHTS, "Gemm", "Softmax"],
}
TFLITE_TAIL = ["CONV_2D", "MAX_POOL_2D", "FULLY_CONNECTED", "FULLY_CONNECTED"]
TFLITE_OPS = {
    "float32": [*TFLITE_TAIL, "SOFTMAX"],
    "float16": ["DEQUANTIZE"] * 6 + [*TFLITE_TAIL, "SOFTMAX"],
    "dynamic": [*TFLITE_TAIL, "SOFTMAX"],
    "int8": ["QUANTIZE", *TFLITE_TAIL, "DEQUANTIZE", "SOFTMAX"],
    "int16x8": ["QUANTIZE", *TFLITE_TAIL, "SOFTMAX", "DEQUANTIZE"],
}


@pytest.mark.parametrize("precision", ONNX_OPS)
def test_the_exact_operators_of_cnn_in_onnx(exports: Path, precision: str) -> None:
    graph = onnx.load(exports / "cnn" / f"cnn-{precision}.onnx").graph
    assert sorted(node.op_type for node in graph.node) == sorted(ONNX_OPS[precision])
    if precision == "int8":  # every byte counts: names are short, and no constant is there twice
        assert not [node for node in graph.node if node.name]
        assert all(re.fullmatch(rf"probabilities|[qdf]\d+|{node.op_type}_\d+", node.output[0]) for node in graph.node)
        arrays = [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer]
        assert len({(item.dtype, item.shape, item.tobytes()) for item in arrays}) == len(arrays)
        return
    assert all(re.fullmatch(rf"{node.op_type}_\d+", node.name) for node in graph.node)


@pytest.mark.parametrize("precision", TFLITE_OPS)
def test_the_exact_operators_of_cnn_in_tflite(exports: Path, precision: str) -> None:
    opened = plain_interpreter(exports / "cnn" / f"cnn-{precision}.tflite")
    assert [item["op_name"] for item in opened._get_ops_details()] == TFLITE_OPS[precision]
    names = [item["name"] for item in opened.get_tensor_details() if item["name"]]
    assert {"image", "probabilities"} <= set(names)
    assert not [name for name in names if "/" in name or ":" in name]


def plain_interpreter(path: Path) -> Any:
    """An interpreter without delegates, which shows the file's own operators."""
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    opened = Interpreter(str(path), experimental_op_resolver_type=resolver)
    opened.allocate_tensors()
    return opened


def test_int8_onnx_is_unsigned_so_that_no_cpu_saturates(exports: Path) -> None:
    proto = onnx.load(exports / "cnn" / "cnn-int8.onnx")
    kinds = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    sources = [node.input[0] for node in proto.graph.node if node.op_type == "DequantizeLinear"]
    weights = [kinds[name] for name in sources if name in kinds]
    assert set(weights) == {onnx.TensorProto.UINT8, onnx.TensorProto.INT32}  # INT32 are biases


@pytest.mark.parametrize("model", ["cnn", "cnn-wide"])
def test_the_first_onnx_convolution_computes_on_exact_integers(exports: Path, mnist: Dataset, model: str) -> None:
    """Every sum stays under 2**24, so float32 gives the very integers that int64 gives."""
    proto = onnx.load(exports / model / f"{model}-int8.onnx")
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    (conv,) = [node for node in proto.graph.node if node.op_type == "Conv"]
    (stored,) = [node.input[0] for node in proto.graph.node if node.output[0] == conv.input[1]]
    weight, bias = arrays[stored].astype(np.float32), arrays[conv.input[2]]
    assert arrays[stored].dtype == np.int8
    assert np.array_equal(weight, np.round(weight))
    assert np.abs(weight).max() == 127
    assert (np.abs(weight).sum(axis=(1, 2, 3)) * 255 + np.abs(bias)).max() < 2**24
    proto.graph.output.append(onnx.helper.make_tensor_value_info("Conv_0", onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    image = mnist.test.images[0]
    found = session.run(["Conv_0"], {"image": image[None, None]})[0][0]
    windows = np.lib.stride_tricks.sliding_window_view(image.astype(np.int64), weight.shape[2:])
    expected = np.einsum("hwij,oij->ohw", windows, weight[:, 0].astype(np.int64)) + bias.astype(np.int64)[:, None, None]
    assert np.array_equal(found, expected)


def test_what_cannot_work_says_why(run: Run, exports: Path) -> None:
    table = run("formats").stdout
    assert "no int16x8 in onnx: ONNX Runtime has no int16" in table
    refused = run("export", "--int16x8", "--format", "onnx", "--out", exports, check=2)
    assert "no int16x8 in ONNX" in refused.stderr
    for item in FORMATS.values():
        assert set(item.precisions) | set(item.unsupported) == set(Precision)


def test_reference_holds_a_thousand_balanced_images_and_all_of_keras(exports: Path, mnist: Dataset) -> None:
    golden = Reference.read(exports / "cnn" / "reference.npz")
    assert np.bincount(golden.labels).tolist() == [100] * 10
    assert np.array_equal(golden.images, mnist.test.images[golden.indices])
    assert golden.keras.shape == (10_000, 10)
    assert golden.test_sha256 == mnist.test.digest
    assert len(golden.outputs) == len([pair for pair in ALL if pair[0] == "cnn"])


def test_the_manifest_tells_of_calibration_and_versions(exports: Path) -> None:
    about = Manifest.read(exports / "cnn").about
    assert about.calibration["images"] == 500
    assert len(about.calibration["indices_sha256"]) == 64
    assert about.dataset.genuine_mnist
    assert {"tensorflow", "onnxruntime", "tf2onnx", "ai-edge-litert"} <= set(about.versions)
