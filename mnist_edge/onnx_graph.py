"""Rewrites of an ONNX graph that tf2onnx and ORT's quantizer leave undone; each keeps what the graph computes."""

from collections import Counter
from typing import Any

import numpy as np

ROLES = {
    "Conv": {1: "weight", 2: "bias"},
    "Gemm": {1: "weight", 2: "bias"},
    "MatMul": {1: "weight"},
    "Reshape": {1: "shape"},
    "QuantizeLinear": {1: "scale", 2: "zero_point"},
    "DequantizeLinear": {0: "quantized", 1: "scale", 2: "zero_point"},
}


def drop_identity_reshapes(graph: Any) -> None:
    """Remove each Reshape of a graph input to the shape it has already."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in graph.input}
    for node in list(graph.node):
        if node.op_type == "Reshape" and node.input[0] in shapes and node.input[1] in constants:
            wanted = numpy_helper.to_array(constants[node.input[1]]).tolist()
            if wanted == shapes[node.input[0]]:
                _bypass(graph, node)


def fold_transposes(model: Any) -> None:
    """Remove each Transpose before Reshape → Dense, and permute the rows of the Dense kernel instead."""
    import onnx
    from onnx import numpy_helper

    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inferred.value_info}
    for transpose in [node for node in graph.node if node.op_type == "Transpose"]:
        reshape = _only_user(graph, transpose.output[0], "Reshape")
        dense = reshape and _only_user(graph, reshape.output[0], "Gemm", "MatMul")
        if dense is None:
            continue
        kernel = next((tensor for tensor in graph.initializer if tensor.name == dense.input[1]), None)
        shape = shapes.get(transpose.input[0], [0])
        transposed_kernel = any(item.name == "transB" and item.i for item in dense.attribute)
        if kernel is None or transposed_kernel or kernel.dims[0] != np.prod(shape):
            continue
        perm = next(list(item.ints) for item in transpose.attribute if item.name == "perm")
        before = np.arange(kernel.dims[0]).reshape(shape).transpose(perm).ravel()
        rows = np.empty_like(numpy_helper.to_array(kernel))
        rows[before] = numpy_helper.to_array(kernel)
        kernel.CopyFrom(numpy_helper.from_array(rows, kernel.name))
        _bypass(graph, transpose)


def pixel_tensors(graph: Any) -> list[str]:
    """Name the tensors that hold the input's own numbers: the input, and what Reshapes alone make of it."""
    names = [graph.input[0].name]
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[0] in names:
            names.append(node.output[0])
    return names


def take_raw_pixels(graph: Any) -> None:
    """Make the quantized graph's input uint8: drop its QuantizeLinear, whose scale is 1/255 and zero point 0."""
    from onnx import TensorProto

    (image,) = graph.input
    pixels = pixel_tensors(graph)
    (quantize,) = [node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] in pixels]
    _bypass(graph, quantize)
    image.type.tensor_type.elem_type = TensorProto.UINT8


def keep_logits_float(graph: Any) -> None:
    """Drop the quantize-dequantize pair before Softmax, so that the logits are not rounded to 256 steps."""
    producer: dict[str, Any] = {name: node for node in graph.node for name in node.output}
    for softmax in [node for node in graph.node if node.op_type == "Softmax"]:
        dequantize = producer.get(softmax.input[0])
        quantize = producer.get(dequantize.input[0]) if dequantize is not None else None
        if dequantize and quantize and (quantize.op_type, dequantize.op_type) == ("QuantizeLinear", "DequantizeLinear"):
            _bypass(graph, dequantize)
            _bypass(graph, quantize)


def canonical(graph: Any) -> None:
    """Order nodes depth first from the outputs and name everything after its operator, dropping what is not used.

    tf2onnx's own order and names differ between two conversions of one model; these do not.
    """
    producer = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    ordered: list[Any] = []
    done: set[str] = set()

    def visit(name: str) -> None:
        node = producer.get(name)
        if node is None or name in done:
            return
        done.update(node.output)
        for given in node.input:
            visit(given)
        ordered.append(node)

    for output in graph.output:
        visit(output.name)
    kept = {value.name: value.name for value in (*graph.input, *graph.output)}
    used: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    for node in ordered:
        node.name = f"{node.op_type}_{counts[node.op_type]}"
        counts[node.op_type] += 1
        for index, name in enumerate(node.input):
            if name in constants and name not in kept:
                kept[name] = f"{node.name}_{ROLES.get(node.op_type, {}).get(index, f'constant_{index}')}"
                used[kept[name]] = constants[name]
        for index, name in enumerate(node.output):
            kept.setdefault(name, f"{node.name}_output{index or ''}")
        node.input[:] = [kept.get(name, name) for name in node.input]
        node.output[:] = [kept[name] for name in node.output]
    for name, tensor in used.items():
        tensor.name = name
    nodes, tensors = [type(node).FromString(node.SerializeToString()) for node in ordered], list(used.values())
    tensors = [type(tensor).FromString(tensor.SerializeToString()) for tensor in tensors]
    for field in (graph.node, graph.initializer, graph.value_info):
        del field[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)
    graph.name = "mnist_edge"
    graph.doc_string = ""


def _only_user(graph: Any, name: str, *op_types: str) -> Any:
    users = [node for node in graph.node if name in node.input]
    return users[0] if len(users) == 1 and users[0].op_type in op_types else None


def _bypass(graph: Any, node: Any) -> None:
    """Remove a node and give its first input to all that used its output."""
    for user in graph.node:
        user.input[:] = [node.input[0] if name == node.output[0] else name for name in user.input]
    graph.node.remove(node)
