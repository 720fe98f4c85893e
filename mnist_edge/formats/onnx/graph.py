"""Rewrites of an ONNX graph after tf2onnx and ORT's quantizer; none changes what the graph computes."""

from collections import Counter
from typing import Any

import numpy as np

ROLES = {
    "Conv": {1: "weight", 2: "bias"},
    "Gemm": {1: "weight", 2: "bias"},
    "MatMul": {1: "weight"},
    "Cast": {0: "float16"},
    "Reshape": {1: "shape"},
    "QuantizeLinear": {1: "scale", 2: "zero_point"},
    "DequantizeLinear": {0: "quantized", 1: "scale", 2: "zero_point"},
}


def array(graph: Any, name: str) -> Any:
    """Return an initializer as an array, or None where `name` is not one."""
    from onnx import numpy_helper

    tensor = next((tensor for tensor in graph.initializer if tensor.name == name), None)
    return None if tensor is None else numpy_helper.to_array(tensor)


def replace_array(graph: Any, name: str, values: Any) -> None:
    """Replace the values of an initializer."""
    from onnx import numpy_helper

    (tensor,) = [tensor for tensor in graph.initializer if tensor.name == name]
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))


def drop_identity_reshapes(graph: Any) -> None:
    """Remove each Reshape of a graph input to the shape it has already."""
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in graph.input}
    for node in list(graph.node):
        if node.op_type == "Reshape" and node.input[0] in shapes:
            wanted = array(graph, node.input[1])
            if wanted is not None and wanted.tolist() == shapes[node.input[0]]:
                bypass(graph, node)


def fold_transposes(model: Any) -> None:
    """Remove each Transpose before Reshape → Dense, and permute the rows of the Dense kernel instead."""
    import onnx

    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in inferred.value_info}
    for transpose in [node for node in graph.node if node.op_type == "Transpose"]:
        reshape = only_user(graph, transpose.output[0], "Reshape")
        dense = reshape and only_user(graph, reshape.output[0], "Gemm", "MatMul")
        if dense is None:
            continue
        kernel = array(graph, dense.input[1])
        shape = shapes.get(transpose.input[0], [0])[1:]
        transposed_kernel = any(item.name == "transB" and item.i for item in dense.attribute)
        if kernel is None or transposed_kernel or len(kernel) != np.prod(shape):
            continue
        perm = next(list(item.ints) for item in transpose.attribute if item.name == "perm")
        before = np.arange(len(kernel)).reshape(1, *shape).transpose(perm).ravel()
        rows = np.empty_like(kernel)
        rows[before] = kernel
        replace_array(graph, dense.input[1], rows)
        bypass(graph, transpose)


def set_batch(graph: Any, batch: int | None) -> None:
    """Let a graph that was traced with a batch of 1 take `batch` images, or any number where it is None."""
    for node in graph.node:
        if node.op_type == "Reshape":
            shape = array(graph, node.input[1])
            if shape is not None and shape[0] == 1:
                replace_array(graph, node.input[1], np.array([batch or -1, *shape[1:]]))
    for value in (*graph.input, *graph.output):
        dim = value.type.tensor_type.shape.dim[0]
        if batch is None:
            dim.dim_param = "batch"
        else:
            dim.dim_value = batch


def store_float16(graph: Any) -> None:
    """Store each float32 constant as float16 followed by a Cast, which ORT folds away when it loads the file.

    ORT's CPU kernels compute in float32; a graph of float16 operators would only add casts at every call.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            name = tensor.name
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_float16"))
            casts.append(helper.make_node("Cast", [f"{name}_float16"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


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
        for source in node.input:
            visit(source)
        ordered.append(node)

    for output in graph.output:
        visit(output.name)
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    used: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    for node in ordered:
        node.name = f"{node.op_type}_{counts[node.op_type]}"
        counts[node.op_type] += 1
        for index, name in enumerate(node.input):
            if name in constants and name not in names:
                names[name] = f"{node.name}_{ROLES.get(node.op_type, {}).get(index, f'constant_{index}')}"
                used[names[name]] = constants[name]
        for index, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}_output{index or ''}")
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    for name, tensor in used.items():
        tensor.name = name
    nodes = [type(node).FromString(node.SerializeToString()) for node in ordered]
    tensors = [type(tensor).FromString(tensor.SerializeToString()) for tensor in used.values()]
    for field in (graph.node, graph.initializer, graph.value_info):
        del field[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)
    graph.name = "mnist_edge"
    graph.doc_string = ""


def only_user(graph: Any, name: str, *op_types: str) -> Any:
    """Return the only node that uses a tensor, if it is of one of these types; else None."""
    users = [node for node in graph.node if name in node.input]
    return users[0] if len(users) == 1 and users[0].op_type in op_types else None


def bypass(graph: Any, node: Any) -> None:
    """Remove a node; whatever used its output then uses its first input."""
    for user in graph.node:
        user.input[:] = [node.input[0] if name == node.output[0] else name for name in user.input]
    graph.node.remove(node)
