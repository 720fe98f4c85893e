"""What `inspect` says that a runtime runs: in int8, in float, and what only moves data."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mnist_edge.formats import FORMATS
from mnist_edge.formats.inspection import kinds_in
from mnist_edge.formats.onnx.operators import runtime_operators


def one_node(kind: str, takes: int, domain: str = "") -> Any:
    """Return a graph with one node over a tensor of elements of type `takes`."""
    value = helper.make_tensor_value_info("x", takes, [1, 4])
    return helper.make_graph([helper.make_node(kind, ["x"], ["y"], domain=domain)], "g", [value], [])


@pytest.mark.parametrize(
    "kind",
    sorted(
        kinds_in(
            "QLinearAdd QLinearMul QLinearConcat QLinearConv QLinearMatMul QLinearAveragePool QLinearGlobalAveragePool "
            "QLinearLeakyRelu QLinearSigmoid QLinearSoftmax QLinearReduceMean QLinearWhere QGemm QAttention "
            "QEmbedLayerNormalization DynamicQuantizeMatMul DynamicQuantizeLSTM MatMulIntegerToFloat MatMulInteger "
            "ConvInteger MulInteger NhwcMaxPool"
        )
    ),
)
def test_the_int8_operators_of_onnx_runtime(kind: str) -> None:
    assert runtime_operators(one_node(kind, TensorProto.FLOAT, "com.microsoft")).int8 == (kind,)


@pytest.mark.parametrize(
    "kind",
    sorted(
        kinds_in(
            "Squeeze Unsqueeze Flatten Identity Expand Slice Split Gather Pad Concat Tile Shape Cast QuantizeLinear "
            "DequantizeLinear DynamicQuantizeLinear Reshape Transpose ReorderInput"
        )
    ),
)
def test_what_moves_data_is_counted_as_that_whatever_its_type(kind: str) -> None:
    for takes in (TensorProto.FLOAT, TensorProto.UINT8):
        assert runtime_operators(one_node(kind, takes)).data_movement == (kind,)


@pytest.mark.parametrize("kind", ["QuickGelu", "MatMulNBits", "Conv", "MaxPool", "Add"])
def test_operators_over_float_are_float(kind: str) -> None:
    assert runtime_operators(one_node(kind, TensorProto.FLOAT)).other == (kind,)


def test_an_operator_of_any_type_counts_by_its_input() -> None:
    """MaxPool over uint8 is int8, also behind operators whose outputs have no type in the file; a shape is no float."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("Transpose", ["q"], ["t"]),
        helper.make_node("MaxPool", ["t"], ["m"], kernel_shape=[1]),
        helper.make_node("DequantizeLinear", ["m", "scale", "zero"], ["d"]),
        helper.make_node("Relu", ["d"], ["r"]),
        helper.make_node("Shape", ["r"], ["s"]),
        helper.make_node("Mul", ["s", "s"], ["z"]),
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4])
    constants = [numpy_helper.from_array(np.float32(1), "scale"), numpy_helper.from_array(np.uint8(0), "zero")]
    found = runtime_operators(helper.make_graph(nodes, "g", [value], [], constants))
    assert (found.int8, found.other) == (("MaxPool",), ("Relu",))
    assert found.data_movement == ("QuantizeLinear", "Transpose", "DequantizeLinear", "Shape", "Mul")


def test_what_onnx_runtime_makes_of_a_quantized_graph(tmp_path: Path) -> None:
    names = iter("abcdefghij")
    nodes: list[Any] = []

    def quantized(kind: str, *inputs: str, **attributes: Any) -> str:
        name = next(names)
        nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        nodes.append(helper.make_node("QuantizeLinear", [name, "scale", "zero"], [f"{name}q"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}q", "scale", "zero"], [f"{name}d"]))
        return f"{name}d"

    x = quantized("Identity", "x")
    x = quantized("Mul", x, quantized("Sigmoid", x))
    x = quantized("GlobalAveragePool", quantized("Add", x, quantized("LeakyRelu", x)))
    nodes.append(helper.make_node("Squeeze", [x, "axes"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [
            numpy_helper.from_array(np.float32(0.1), "scale"),
            numpy_helper.from_array(np.uint8(128), "zero"),
            numpy_helper.from_array(np.array([2, 3]), "axes"),
        ],
    )
    path = tmp_path / "q.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    found = FORMATS["onnx"].describe(path).runtime_operators
    assert found is not None
    assert {"QLinearMul", "QLinearAdd", "QLinearGlobalAveragePool"} <= {*found.int8}
    assert found.other == ()
    assert "Squeeze" in found.data_movement


MOVING = """
import sys
import tensorflow as tf
@tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 1), tf.float32)])
def move(x):
    y = tf.stack([tf.squeeze(x, [0]), tf.expand_dims(x[0, :, :, 0], 2)])[:, 1:, ::2]
    y = tf.pad(tf.reshape(y, tf.concat([tf.shape(y)[:2], [-1]], 0)), [[0, 0], [1, 1], [0, 0]])
    return tf.gather(tf.tile(y, [1, 2, 1]), [1, 0], axis=1) * 2.0
converter = tf.lite.TFLiteConverter.from_concrete_functions([move.get_concrete_function()])
open(sys.argv[1], "wb").write(converter.convert())
"""


def test_what_a_tflite_runtime_moves(tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    done = subprocess.run([sys.executable, "-c", MOVING, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = FORMATS["tflite"].describe(path).runtime_operators
    assert found is not None
    assert (found.int8, found.other) == ((), ("MUL",))
    assert {"PACK", "STRIDED_SLICE", "GATHER"} <= {*found.data_movement}


def test_a_layer_with_an_int8_kernel_and_float_ends_computes_in_int8(exports: Path) -> None:
    found = FORMATS["tflite"].describe(exports / "mlp" / "mlp-dynamic.tflite").runtime_operators
    assert found is not None
    assert found.int8 == ("FULLY_CONNECTED", "FULLY_CONNECTED")
