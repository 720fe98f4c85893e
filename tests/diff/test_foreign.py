"""`diff` of files that mnist-edge did not write: networks of no images, and another quantizer's."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mnist_edge.diff.diff import diff
from mnist_edge.diff.result import Verdict


def foreign(path: Path, extra: bool = False) -> Path:
    """A network that takes no images; `extra` puts one more layer of the same shape into its middle."""
    random = np.random.default_rng(0)
    weights = {name: random.normal(size=(6, 6)).astype(np.float32) for name in ("first", "middle", "last")}
    names = ["first", *(["middle"] if extra else []), "last"]
    nodes, source = [], "x"
    for place, name in enumerate(names):  # by the place they are called the same in both
        nodes.append(helper.make_node("MatMul", [source, name], [f"y{place}"], name=f"MatMul_{place}"))
        source = f"y{place}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 6]) for name in ("x", source)]
    constants = [numpy_helper.from_array(weights[name], name) for name in names]
    graph = helper.make_graph(nodes, "theirs", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_layer_more_shifts_no_pairs(tmp_path: Path) -> None:
    report = diff(foreign(tmp_path / "a.onnx"), foreign(tmp_path / "b.onnx", extra=True))
    assert [(item.a.name, item.b.name) for item in report.layers] == [
        ("MatMul_0", "MatMul_0"),
        ("MatMul_1", "MatMul_2"),
    ]
    assert {item.verdict for item in report.layers} == {Verdict.SAME}
    assert [item.name for item in report.alone_b] == ["MatMul_1"]
    assert ("MatMul", 2, 3) in report.operators
    assert report.not_run is not None


def test_files_that_do_not_run_are_not_called_the_same(tmp_path: Path) -> None:
    """Weights and operators agree; what sets them apart is a number that only running them shows."""
    for name, slope in (("a.onnx", 0.01), ("b.onnx", 0.9)):
        model = onnx.load(foreign(tmp_path / name))
        model.graph.node.append(helper.make_node("LeakyRelu", [model.graph.output[0].name], ["leaky"], alpha=slope))
        model.graph.output[0].name = "leaky"
        onnx.save(model, tmp_path / name)
    report = diff(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert {item.verdict for item in report.layers} == {Verdict.SAME}
    assert not report.same
    assert "not known" in report.headline


@pytest.mark.parametrize("form", ["QOperator", "QDQ", "dynamic"])
def test_files_of_another_quantizer(exports: Path, tmp_path: Path, form: str) -> None:
    """ONNX Runtime's own quantizer: integer operators, or float ones between quantizers, or scales at every call."""
    from onnxruntime import quantization

    source, path = exports / "cnn" / "cnn-float32.onnx", tmp_path / "theirs.onnx"
    shutil.copy(exports / "cnn" / "reference.npz", tmp_path)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        images = iter(np.load(tmp_path / "reference.npz")["images"][:20])

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.images, None)
            return None if image is None else {"image": image.reshape(1, 1, 28, 28).astype(np.float32) / 255}

    if form == "dynamic":
        quantization.quantize_dynamic(source, path, weight_type=quantization.QuantType.QUInt8)
    else:
        quantization.quantize_static(source, path, Reader(), quant_format=quantization.QuantFormat[form])
    report = diff(exports / "cnn" / "cnn-float32.tflite", path)
    assert report.verdict is Verdict.ROUNDING
    assert [item.role for layer in report.layers for item in layer.weights] == ["weight", "bias"] * 3
    assert len(report.tensors) == 4
    assert not report.alone_b
