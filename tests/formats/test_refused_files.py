"""Files that are whole, and that the installed runtime does not load: `inspect` shows them, `verify` says why."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.commands import Run

from mnist_edge.core.text import one_line
from mnist_edge.formats.onnx.releases import oldest, refusal

CUSTOM = 32  # the builtin code of a custom operator


def onnx_file(path: Path, kind: str = "Relu", domain: str = "", opset: int = 17, ir: int = 8) -> Path:
    """Write a network of one layer, with an operator of that kind behind it."""
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["image", "shape"], ["flat"]),
            helper.make_node("MatMul", ["flat", "kernel"], ["logits"]),
            helper.make_node(kind, ["logits"], ["y"], domain=domain),
        ],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 28, 28])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [
            numpy_helper.from_array(np.array([1, 784]), "shape"),
            numpy_helper.from_array(np.ones((784, 10), np.float32), "kernel"),
        ],
    )
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir), path)
    return path


def tflite_file(path: Path, original: Path, **code: Any) -> Path:
    """Write a `.tflite` whose Softmax is another operator."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(original.read_bytes(), 0)
    for item in model.operatorCodes:
        if max(item.builtinCode, item.deprecatedBuiltinCode) == schema.BuiltinOperator.SOFTMAX:
            for name, value in code.items():
                setattr(item, name, value)
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def refused(run: Run, path: Path, reference: Path, *words: str) -> dict[str, Any]:
    """Check that `inspect` and `verify` both give the reason in these words, and return what `inspect` shows."""
    content: dict[str, Any] = json.loads(run("inspect", path, "--json").stdout)
    assert content["executed"] is None
    assert content["inputs"]
    text = " ".join(run("inspect", path).stdout.split())
    done = run("verify", path, "--reference", reference, check=2)
    (line,) = done.stderr.splitlines()
    for word in words:
        assert word in content["refused"]
        assert word in text
        assert word in line
    return content


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ir": 14}, ["its IR version 14 is newer than 13: it takes an ONNX Runtime after 1.31"]),
        ({"opset": 27}, ["its opset 27 of ai.onnx is newer than 26: it takes an ONNX Runtime after 1.31"]),
        ({"kind": "Foo", "domain": "their.domain"}, ["its operator Foo of the domain their.domain"]),
        ({"kind": "Foo"}, ["there is no operator Foo in opset 17"]),
    ],
)
def test_an_onnx_file_that_is_too_new_or_of_another_library(
    run: Run, exports: Path, tmp_path: Path, change: dict[str, Any], words: list[str]
) -> None:
    path = onnx_file(tmp_path / "theirs.onnx", **change)
    content = refused(run, path, exports / "mlp" / "reference.npz", *words)
    assert content["parameters"] == 7840
    assert change.get("kind", "Relu") in {item["kind"] for item in content["operators"]}


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (
            {"builtinCode": CUSTOM, "deprecatedBuiltinCode": CUSTOM, "customCode": b"FlexErfinv"},
            "FlexErfinv",
            ["its operator FlexErfinv is TensorFlow's own", "tf.lite.Interpreter"],
        ),
        (
            {"builtinCode": CUSTOM, "deprecatedBuiltinCode": CUSTOM, "customCode": b"Theirs"},
            "Theirs",
            ["its operator Theirs is a custom one"],
        ),
        ({"version": 99}, "SOFTMAX", ["its operator SOFTMAX has version 99, which is too new"]),
        ({"builtinCode": 250, "deprecatedBuiltinCode": 127}, "number 250", ["its operator number 250 is too new"]),
    ],
)
def test_a_tflite_file_with_an_operator_that_the_runtime_has_not(
    run: Run, exports: Path, tmp_path: Path, code: dict[str, Any], kind: str, words: list[str]
) -> None:
    path = tflite_file(tmp_path / "theirs.tflite", exports / "mlp" / "mlp-float32.tflite", **code)
    content = refused(run, path, exports / "mlp" / "reference.npz", *words)
    assert kind in {item["kind"] for item in content["operators"]}


def test_a_reason_ends_behind_a_whole_word() -> None:
    words = [f"word{number}" for number in range(100)]
    for limit in range(20, 60):
        line = one_line("\n".join(words), limit)
        assert len(line) <= limit
        assert {*line.removesuffix(" …").split()} <= {*words}
    assert one_line("x" * 400) == f"{'x' * 400} …"
    assert {*refusal("[ONNXRuntimeError] : 1 : FAIL : " + " ".join(words)).removesuffix(" …").split()} <= {*words}


def test_the_runtime_that_takes_a_file_is_named_where_it_is_known() -> None:
    assert oldest(23, 11).startswith("ONNX Runtime 1.23")
    old = "Load model from x.onnx failed:… Opset 23 is under development … for domain ai.onnx is till opset 22.\n"
    assert refusal(old) == "its opset 23 of ai.onnx is newer than 22: it takes ONNX Runtime 1.23"
    assert "ONNX Runtime 1.24" in refusal("Unsupported model IR version: 12, max supported IR version: 11\n")
