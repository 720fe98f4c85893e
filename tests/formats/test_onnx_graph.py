"""Graph rewrites keep what the graph computes."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from mnist_edge.formats.onnx import graph as onnx_graph


def graph_with_transpose(order: list[int], rename: str = "") -> Any:
    """image [1,3,4,5] → Transpose to NHWC → Reshape → Gemm → probabilities, nodes listed in a given order."""
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((60, 10)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["relu" + rename], ["t" + rename], perm=[0, 2, 3, 1], name="a" + rename),
        helper.make_node("Reshape", ["t" + rename, "shape"], ["flat" + rename], name="b" + rename),
        helper.make_node("Gemm", ["flat" + rename, "kernel" + rename], ["probabilities"], name="c" + rename),
    ]
    constants = [
        numpy_helper.from_array(kernel, "kernel" + rename),
        numpy_helper.from_array(np.array([1, 60]), "shape"),
        numpy_helper.from_array(np.zeros(3, np.float32), "unused"),
    ]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["image"], ["relu" + rename], name="z"), *(nodes[index] for index in order)],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 5])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 10])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: Any, image: np.ndarray[Any, Any]) -> Any:
    """Run a model in ONNX Runtime."""
    return ort.InferenceSession(model.SerializeToString()).run(None, {"image": image})[0]


def test_a_transpose_is_folded_into_the_kernel() -> None:
    image = np.random.default_rng(1).standard_normal((1, 3, 4, 5)).astype(np.float32)
    model = graph_with_transpose([0, 1, 2])
    expected = run(model, image)
    onnx_graph.fold_transposes(model)
    assert [node.op_type for node in model.graph.node] == ["Relu", "Reshape", "Gemm"]
    onnx.checker.check_model(model, full_check=True)
    assert np.allclose(run(model, image), expected, atol=1e-5)


def test_a_kernel_that_two_layers_take_is_permuted_once_for_both() -> None:
    image = np.random.default_rng(1).standard_normal((1, 3, 4, 5)).astype(np.float32)
    model = graph_with_transpose([0, 1, 2])
    again = [
        helper.make_node("Transpose", ["relu"], ["t2"], perm=[0, 2, 3, 1], name="d"),
        helper.make_node("Reshape", ["t2", "shape"], ["flat2"], name="e"),
        helper.make_node("Gemm", ["flat2", "kernel"], ["probabilities2"], name="f"),
        helper.make_node("Add", ["probabilities", "probabilities2"], ["sum"], name="g"),
    ]
    model.graph.node.extend(again)
    model.graph.output[0].name = "sum"
    expected = run(model, image)
    onnx_graph.fold_transposes(model)
    assert "Transpose" not in [node.op_type for node in model.graph.node]
    assert np.allclose(run(model, image), expected, atol=1e-5)
    onnx_graph.canonical(model.graph)
    assert sum(len(tensor.dims) == 2 for tensor in model.graph.initializer) == 1


def test_a_transpose_with_another_user_stays() -> None:
    model = graph_with_transpose([0, 1, 2])
    model.graph.node.append(helper.make_node("Relu", ["t"], ["other"], name="d"))
    onnx_graph.fold_transposes(model)
    assert "Transpose" in [node.op_type for node in model.graph.node]


def test_names_and_order_do_not_depend_on_the_converters() -> None:
    one, two = graph_with_transpose([0, 1, 2]), graph_with_transpose([0, 1, 2], rename="_17")
    two.graph.initializer.reverse()
    for model in (one, two):
        onnx_graph.canonical(model.graph)
    assert one.SerializeToString(deterministic=True) == two.SerializeToString(deterministic=True)
    assert [node.name for node in one.graph.node] == ["Relu_0", "Transpose_0", "Reshape_0", "Gemm_0"]
    assert [tensor.name for tensor in one.graph.initializer] == ["Reshape_0_shape", "Gemm_0_weight"]


@pytest.mark.parametrize(("shape", "stays"), [([1, 3, 4, 5], False), ([1, 60], True)])
def test_only_a_reshape_to_the_same_shape_is_dropped(shape: list[int], stays: bool) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["image", "shape"], ["same"], name="r"),
            helper.make_node("Relu", ["same"], ["probabilities"], name="s"),
        ],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 5])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(shape), "shape")],
    )
    onnx_graph.drop_identity_reshapes(graph)
    assert ("Reshape" in [node.op_type for node in graph.node]) == stays
