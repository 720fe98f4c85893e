"""What an export holds: contracts, metadata, graphs, and a folder that is whole."""

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from conftest import MODELS, Run

from mnist_edge.artifact import Contract, Manifest, Precision
from mnist_edge.data import Dataset
from mnist_edge.formats import FORMATS
from mnist_edge.reference import Reference

ALL = [(model, name, precision) for model in MODELS for name, item in FORMATS.items() for precision in item.precisions]


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
    assert artifact.contract == FORMATS[name].contract(precision)
    golden = Reference.read(manifest.check("reference.npz"))
    with FORMATS[name].open(path) as runner:
        outputs = runner.run(golden.images[:50])
        runner.invoke()
    assert (outputs.dtype.name, outputs.shape) == ("float32", (50, 10))
    assert np.allclose(outputs.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(outputs, golden.outputs[path.name][:50])
    assert (outputs.argmax(axis=1) == golden.keras[golden.indices[:50]].argmax(axis=1)).mean() >= 0.98


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("precision", ["float32", "int8"])
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
    assert Contract.from_json(metadata["contract"]) == FORMATS["tflite"].contract(Precision(precision))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("precision", ["float32", "int8"])
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
    assert Contract.from_json(json.loads(metadata["contract"])) == FORMATS["onnx"].contract(Precision(precision))


def op_types(path: Path) -> list[str]:
    """The operators of an ONNX file, in order."""
    return [node.op_type for node in onnx.load(path).graph.node]


def test_the_onnx_graphs_of_cnn_are_clean(exports: Path) -> None:
    plain = ["Conv", "Relu", "MaxPool", "Reshape", "Gemm", "Relu", "Gemm", "Softmax"]
    assert op_types(exports / "cnn" / "cnn-float32.onnx") == plain
    quantized = op_types(exports / "cnn" / "cnn-int8.onnx")
    assert [op for op in quantized if "Linear" not in op] == ["Conv", "MaxPool", "Reshape", "Gemm", "Gemm", "Softmax"]


def test_int8_onnx_is_unsigned_so_that_no_cpu_saturates(exports: Path) -> None:
    proto = onnx.load(exports / "cnn" / "cnn-int8.onnx")
    kinds = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    weights = [name for name in kinds if name.endswith("_quantized") and "DequantizeLinear" in name]
    narrow = {kinds[name] for name in weights} - {onnx.TensorProto.INT32}  # INT32 are biases
    assert narrow == {onnx.TensorProto.UINT8}


def test_the_tflite_int8_graph_is_int8_but_for_softmax(exports: Path) -> None:
    details = Interpreter(
        str(exports / "cnn" / "cnn-int8.tflite"), experimental_op_resolver_type=_builtin()
    )._get_ops_details()
    assert [item["op_name"] for item in details] == [
        "QUANTIZE",
        "CONV_2D",
        "MAX_POOL_2D",
        "RESHAPE",
        "FULLY_CONNECTED",
        "FULLY_CONNECTED",
        "DEQUANTIZE",
        "SOFTMAX",
    ]


def _builtin() -> Any:
    from ai_edge_litert.interpreter import OpResolverType

    return OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def test_reference_holds_a_thousand_balanced_images_and_all_of_keras(exports: Path, mnist: Dataset) -> None:
    golden = Reference.read(exports / "cnn" / "reference.npz")
    assert np.bincount(golden.labels).tolist() == [100] * 10
    assert np.array_equal(golden.images, mnist.test.images[golden.indices])
    assert golden.keras.shape == (10_000, 10)
    assert golden.test_sha256 == mnist.test.digest
    assert len(golden.outputs) == 4


def test_the_manifest_tells_of_calibration_and_versions(exports: Path) -> None:
    about = Manifest.read(exports / "cnn").about
    assert about["calibration"]["images"] == 500
    assert len(about["calibration"]["indices_sha256"]) == 64
    assert about["dataset"]["genuine_mnist"]
    assert {"tensorflow", "onnxruntime", "tf2onnx", "ai-edge-litert"} <= set(about["versions"])


def test_two_exports_in_two_processes_give_the_same_bytes(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "cnn", tmp_path / "cnn")
    (folder / "manifest.json").unlink()
    run("export", "--out", tmp_path)
    for path in folder.iterdir():
        if path.name != "manifest.json":
            assert path.read_bytes() == (exports / "cnn" / path.name).read_bytes(), path.name


def test_a_second_export_adds_and_a_damaged_file_is_left_out(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mlp"
    folder.mkdir()
    for name in ("model.keras", "training.json"):
        shutil.copy(exports / "mlp" / name, folder)
    run("export", "--model", "mlp", "--out", tmp_path, "--int8", "--format", "onnx")
    table = run("export", "--model", "mlp", "--out", tmp_path, "--float32", "--format", "tflite").stdout
    assert "mlp-int8.onnx" in table
    assert "mlp-float32.tflite" in table
    run("verify", folder)
    with (folder / "mlp-int8.onnx").open("ab") as file:
        file.write(b"x")
    done = run("export", "--model", "mlp", "--out", tmp_path, "--int8", "--format", "tflite")
    assert "mlp-int8.onnx is damaged" in done.stderr
    assert {item.path.name for item in Manifest.read(folder).artifacts} == {"mlp-float32.tflite", "mlp-int8.tflite"}
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_export_with_other_data_is_refused_and_changes_nothing(
    run: Run, exports: Path, fashion: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    before = {path.name: hashlib.sha256(path.read_bytes()).digest() for path in folder.iterdir()}
    done = run("export", "--model", "mlp", "--out", tmp_path, "--data", fashion, check=2)
    assert "was trained on MNIST" in done.stderr
    assert {path.name: hashlib.sha256(path.read_bytes()).digest() for path in folder.iterdir()} == before


def test_the_whole_chain_works_with_fashion_mnist_and_says_what_it_is(run: Run, fashion: Path, tmp_path: Path) -> None:
    done = run("export", "--model", "mlp", "--out", tmp_path, "--data", fashion)
    assert "not MNIST" in done.stderr
    done = run("verify", tmp_path / "mlp", "--data", fashion)
    assert "all 10000 test images (not MNIST" in " ".join(done.stdout.split())
    assert "floor" not in done.stdout
    done = run("verify", tmp_path / "mlp")  # MNIST is in the cache, but it is not this model's data
    assert "the 1000 golden images" in " ".join(done.stdout.split())
    run("bench", tmp_path / "mlp", "--runs", 25)
