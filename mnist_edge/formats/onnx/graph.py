"""Rewrites of an ONNX graph after tf2onnx and ORT's quantizer; none changes what the graph computes."""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from mnist_edge.core.errors import ConversionError

ROLES = {
    "Conv": {1: "weight", 2: "bias"},
    "Gemm": {1: "weight", 2: "bias"},
    "MatMul": {1: "weight"},
    "Cast": {0: "stored"},
    "Reshape": {1: "shape"},
    "QuantizeLinear": {1: "scale", 2: "zero_point"},
    "DequantizeLinear": {0: "quantized", 1: "scale", 2: "zero_point"},
}

OF_TWO = {
    "Erfc": (("Erf", "x"), ("Sub", "1y")),  # of GELU
    "Log1p": (("Add", "x1"), ("Log", "y")),
    "Expm1": (("Exp", "x"), ("Sub", "y1")),
}
"""What TensorFlow computes in one operator: two of ONNX, with what each takes of x, 1 and the first one's y."""


def array(graph: Any, name: str) -> Any:
    """Return an initializer as an array, or None where `name` is not one."""
    from onnx import numpy_helper

    tensor = next((tensor for tensor in graph.initializer if tensor.name == name), None)
    return None if tensor is None else numpy_helper.to_array(tensor)


def replace_input(graph: Any, node: Any, place: int, values: Any) -> None:
    """Let a node take other values in place of an initializer; other nodes that take the same one keep it."""
    from onnx import numpy_helper

    tensor = numpy_helper.from_array(np.ascontiguousarray(values), f"{node.input[place]}_of_{node.output[0]}")
    equal = (item for item in graph.initializer if item.raw_data == tensor.raw_data)
    same = next((item for item in equal if (item.data_type, item.dims) == (tensor.data_type, tensor.dims)), None)
    if same is None:
        graph.initializer.append(tensor)
    node.input[place] = (same or tensor).name


def drop_identity_reshapes(graph: Any) -> None:
    """Remove each Reshape of a graph input to the shape it has already."""
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in graph.input}
    for node in list(graph.node):
        if node.op_type == "Reshape" and node.input[0] in shapes:
            wanted = array(graph, node.input[1])
            if wanted is not None and wanted.tolist() == shapes[node.input[0]]:
                bypass(graph, node)


def replace_unknown(graph: Any) -> None:
    """Replace operators that tf2onnx leaves as TensorFlow's, and ONNX does not have, by two that it has.

    Raises:
        ConversionError: there are others.
    """
    from onnx import defs, helper, numpy_helper

    for node in [node for node in graph.node if node.op_type in OF_TWO]:
        between, one = f"{node.output[0]}_between", f"{node.output[0]}_one"
        graph.initializer.append(numpy_helper.from_array(np.ones((), np.float32), one))
        position = list(graph.node).index(node)
        graph.node.remove(node)
        ends = {"x": node.input[0], "y": between, "1": one}
        for step, (kind, taken) in enumerate(OF_TWO[node.op_type]):
            given = node.output[0] if step else between
            graph.node.insert(position + step, helper.make_node(kind, [ends[name] for name in taken], [given]))
    unknown = dict.fromkeys(node.op_type for node in graph.node if not node.domain and not defs.has(node.op_type))
    if unknown:
        raise ConversionError(
            f"ONNX has no operator for TensorFlow's {', '.join(unknown)}. Build the layer from other operations, or "
            "export --format tflite."
        )


def group_convolutions(graph: Any) -> None:
    """Give each Conv whose kernel is zero but for blocks on its diagonal that many groups."""
    for node in graph.node:
        kernel = array(graph, node.input[1]) if node.op_type == "Conv" else None
        if kernel is None or any(item.name == "group" and item.i != 1 for item in node.attribute):
            continue
        outputs, inputs = kernel.shape[:2]
        for groups in range(min(outputs, inputs), 1, -1):
            if outputs % groups or inputs % groups:
                continue
            blocks = kernel.reshape(groups, outputs // groups, groups, inputs // groups, *kernel.shape[2:])
            own = blocks[range(groups), :, range(groups)]
            if np.count_nonzero(own) == np.count_nonzero(kernel):
                replace_input(graph, node, 1, own.reshape(outputs, inputs // groups, *kernel.shape[2:]))
                rest = [item for item in node.attribute if item.name != "group"]
                del node.attribute[:]
                node.attribute.extend([*rest, _group(groups)])
                break


def _group(groups: int) -> Any:
    from onnx import helper

    return helper.make_attribute("group", groups)


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
        replace_input(graph, dense, 1, rows)
        bypass(graph, transpose)


def set_batch(graph: Any, batch: int | None, traced_with_one: bool) -> None:
    """Let a graph take `batch` images, or any number where it is None; one that was traced with one image too."""
    for node in graph.node:
        if traced_with_one and node.op_type == "Reshape":
            shape = array(graph, node.input[1])
            if shape is not None and shape[0] == 1:
                replace_input(graph, node, 1, np.array([batch or -1, *shape[1:]]))
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


def canonical(graph: Any, outer: Mapping[str, str] = MappingProxyType({}), prefix: str = "") -> None:
    """Order nodes depth first from the outputs and name everything after its operator, dropping what is not used.

    tf2onnx's own order and names differ between two conversions of one model; these do not.

    Args:
        graph: is changed.
        outer: new names of the tensors of the graphs around it, where it is the body of a Loop or an If.
        prefix: of its names.
    """
    ordered = _ordered(graph)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    # the names of a whole graph's input and output are the contract's, those of a body are nobody's
    names = {**outer, **{value.name: value.name for value in (*graph.input, *graph.output) if not prefix}}
    for kind, values in (("input", graph.input), ("output", graph.output)):
        names |= {value.name: f"{prefix}{kind}_{index}" for index, value in enumerate(values) if prefix}
    used: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    for node in ordered:
        node.name = f"{prefix}{node.op_type}_{counts[node.op_type]}"
        counts[node.op_type] += 1
        captured = [name for item in node.attribute if item.HasField("g") for name in _captured(item.g)]
        for index, name in enumerate((*node.input, *captured)):
            if name in constants and name not in names:
                names[name] = f"{node.name}_{ROLES.get(node.op_type, {}).get(index, f'constant_{index}')}"
            if name in constants:
                used[names[name]] = constants[name]
        for index, name in enumerate(node.output):
            names.setdefault(name, f"{node.name}_output{index or ''}")
        node.input[:] = [names.get(name, name) for name in node.input]
        for item in node.attribute:
            if item.HasField("g"):
                canonical(item.g, names, f"{node.name}_")
        node.output[:] = [names[name] if name else "" for name in node.output]
    used |= {names[item.name]: constants[item.name] for item in graph.output if item.name in constants}
    for value in (*graph.input, *graph.output):
        value.name = names[value.name]
    for name, tensor in used.items():
        tensor.name = name
    nodes = [type(node).FromString(node.SerializeToString()) for node in ordered]
    tensors = [type(tensor).FromString(tensor.SerializeToString()) for tensor in used.values()]
    for field in (graph.node, graph.initializer, graph.value_info):
        del field[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tensors)
    graph.name = f"{prefix}body" if prefix else "mnist_edge"
    graph.doc_string = ""


def _ordered(graph: Any) -> list[Any]:
    """Return the nodes that the outputs need, each after those that it needs, also inside its bodies."""
    producer = {name: node for node in graph.node for name in node.output}
    ordered: list[Any] = []
    done: set[str] = set()
    for output in graph.output:
        waiting = [(output.name, False)]
        while waiting:
            name, inputs_done = waiting.pop()
            node = producer.get(name)
            if node is None or (name in done and not inputs_done):
                continue
            if inputs_done:
                ordered.append(node)
                continue
            done.update(node.output)
            bodies = [item.g for item in node.attribute if item.HasField("g")]
            sources = [*node.input, *(source for body in bodies for source in _captured(body))]
            waiting += [(name, True), *((source, False) for source in reversed(sources))]
    return ordered


def _captured(body: Any) -> list[str]:
    """Return the tensors that a body takes from the graphs around it."""
    own = {item.name for item in (*body.input, *body.initializer)} | {
        name for node in body.node for name in node.output
    }
    inside = [name for node in body.node for name in node.input]
    inside += [
        name for node in body.node for item in node.attribute if item.HasField("g") for name in _captured(item.g)
    ]
    return [name for name in dict.fromkeys([*inside, *(item.name for item in body.output)]) if name and name not in own]


def only_user(graph: Any, name: str, *op_types: str) -> Any:
    """Return the only node that uses a tensor, if it is of one of these types; else None."""
    users = [node for node in graph.node if name in node.input]
    return users[0] if len(users) == 1 and users[0].op_type in op_types else None


def bypass(graph: Any, node: Any) -> None:
    """Remove a node; whatever used its output then uses its first input."""
    for user in graph.node:
        user.input[:] = [node.input[0] if name == node.output[0] else name for name in user.input]
    graph.node.remove(node)
