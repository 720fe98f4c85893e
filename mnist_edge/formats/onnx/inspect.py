"""Reads any `.onnx` file for `inspect`, ours or another converter's."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

from mnist_edge.core.contract import TensorSpec
from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.reading import check_size, read_bytes, reading
from mnist_edge.formats.base import MOST_BYTES
from mnist_edge.formats.inspection import Description, Operator, tensor_text
from mnist_edge.formats.onnx.graph import array
from mnist_edge.formats.onnx.operators import nodes
from mnist_edge.formats.onnx.releases import oldest

MOVES = {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
"""The operators that give the numbers which they take."""


def describe(path: Path) -> Description:
    """Return what is in an ONNX file. Raises ArtifactError where it is not one."""
    with reading(ArtifactError, f"{path} is not an ONNX file that can be read"):
        return _described(path).printable()


def load(path: Path) -> tuple[Any, tuple[str, ...]]:
    """Return the ModelProto of a file with all its weights, and the names of the other files that held them.

    Raises:
        ValueError: it takes too much memory; protobuf and onnx raise other errors too.
    """
    import onnx

    proto = onnx.load_model_from_string(read_bytes(path, MOST_BYTES))
    external = _external_files(proto.graph)
    sizes = []
    for tensor in proto.graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if "location" in entries:
            sizes.append(int(entries.get("length") or (path.parent / entries["location"]).stat().st_size))
    check_size(sum(sizes), MOST_BYTES, "its weights in other files")
    onnx.load_external_data_for_model(proto, str(path.parent))
    return proto, external


def input_range(path: Path) -> tuple[float, float] | None:
    """Return the range of the QuantizeLinear that the graph's float input goes to; None where there is none.

    Raises:
        ArtifactError: it is not an ONNX file.
    """
    import numpy as np

    with reading(ArtifactError, f"{path} is not an ONNX file that can be read"):
        graph = load(path)[0].graph
        same = {value.name for value in graph.input}
        for node in graph.node:
            if not node.input or node.input[0] not in same:
                continue
            if node.op_type in MOVES:
                same |= {*node.output}
            scale = array(graph, node.input[1]) if node.op_type == "QuantizeLinear" else None
            if scale is None or scale.size != 1:
                continue
            zero_point = array(graph, node.input[2]) if len(node.input) > 2 else np.uint8(0)
            limits = np.iinfo(zero_point.dtype)
            return (limits.min - zero_point.item()) * scale.item(), (limits.max - zero_point.item()) * scale.item()
    return None


def _described(path: Path) -> Description:
    proto, external = load(path)
    shapes = _shapes(_inferred(proto).graph)
    graph = proto.graph
    if not graph.node:
        raise ArtifactError(f"{path} is not an ONNX file: it has no graph.")
    opsets = {item.domain or "ai.onnx": item.version for item in proto.opset_import}
    counts = Counter((node.op_type, node.domain) for node in nodes(graph))
    weights = sum(_bytes(tensor) for tensor in graph.initializer)
    metadata = {item.key: item.value for item in proto.metadata_props}
    metadata_bytes = sum(len(key) + len(value) for key, value in metadata.items())
    constants = {tensor.name for tensor in graph.initializer}
    return Description(
        inputs=tuple(_tensor_text(value) for value in graph.input if value.name not in constants),
        outputs=tuple(_tensor_text(value) for value in graph.output),
        operators=tuple(
            Operator(kind, _since(kind, domain, opsets), count) for (kind, domain), count in counts.items()
        ),
        versions={
            "IR": str(proto.ir_version),
            **{f"opset {domain}": str(version) for domain, version in opsets.items()},
            "producer": f"{proto.producer_name} {proto.producer_version}".strip(),
        },
        parameters=sum(math.prod(dims) for dims in _kernels(graph, shapes)),
        macs=_macs(graph, shapes),
        sizes={"weights": weights, "metadata": metadata_bytes, "graph": proto.ByteSize() - weights - metadata_bytes},
        oldest=oldest(opsets.get("ai.onnx", 0), proto.ir_version),
        metadata=metadata,
        external_files=external,
    )


def _external_files(graph: Any) -> tuple[str, ...]:
    """Return the names of the other files in which initializers are stored."""
    entries = [entry for tensor in graph.initializer for entry in tensor.external_data]
    return tuple(dict.fromkeys(entry.value for entry in entries if entry.key == "location"))


def _since(kind: str, domain: str, opsets: dict[str, int]) -> int:
    """Return the opset that last changed an operator; its domain's version where it is not one of ONNX's own."""
    import onnx

    opset = opsets.get(domain or "ai.onnx", 0)
    try:
        return int(onnx.defs.get_schema(kind, opset, domain).since_version)
    except onnx.defs.SchemaError:
        return opset


def _inferred(proto: Any) -> Any:
    """Return a model with the shapes of its tensors, as far as they can be known."""
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(proto)
    except onnx.shape_inference.InferenceError:  # it is newer than this onnx, or wrong
        return proto


def _shapes(graph: Any) -> dict[str, list[int]]:
    values = {
        value.name: [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output, *graph.value_info)
    }
    return {**values, **{tensor.name: list(tensor.dims) for tensor in graph.initializer}}


def _layers(graph: Any) -> list[Any]:
    kinds = {"Conv", "ConvTranspose", "Gemm", "MatMul", "MatMulInteger", "ConvInteger", "QLinearConv", "QLinearMatMul"}
    return [node for node in graph.node if node.op_type in kinds]


def _kernels(graph: Any, shapes: dict[str, list[int]]) -> list[list[int]]:
    """Return the shapes of the layers' kernels and biases, whatever they are stored as."""
    dims = []
    for node in _layers(graph):
        dims.append(shapes.get(node.input[3 if node.op_type.startswith("QLinear") else 1], [0]))
        if node.op_type in ("Conv", "ConvTranspose", "Gemm") and len(node.input) > 2:
            dims.append(shapes.get(node.input[2], [0]))
    constants = {tensor.name for tensor in graph.initializer}
    biases = [node for node in graph.node if node.op_type == "Add"]
    dims += [shapes[name] for node in biases for name in node.input if name in constants]
    return dims


def _macs(graph: Any, shapes: dict[str, list[int]]) -> int:
    total = 0
    for node in _layers(graph):
        kernel = shapes.get(node.input[3 if node.op_type.startswith("QLinear") else 1], [0])
        output = shapes.get(node.output[0], [0])
        if node.op_type == "ConvTranspose":
            total += math.prod(shapes.get(node.input[0], [0])[2:]) * math.prod(kernel)
        elif "Conv" in node.op_type:
            total += math.prod(output[1:]) * math.prod(kernel[1:])
        else:
            total += math.prod(kernel)
    return total


def _bytes(tensor: Any) -> int:
    from onnx import numpy_helper

    return len(tensor.raw_data) or int(numpy_helper.to_array(tensor).nbytes)


def _tensor_text(value: Any) -> str:
    import onnx

    number = value.type.tensor_type.elem_type
    known = number in onnx.TensorProto.DataType.values()
    kind = onnx.TensorProto.DataType.Name(number).lower() if known else f"type {number}"
    dims = value.type.tensor_type.shape.dim
    spec = TensorSpec(
        value.name, {"float": "float32"}.get(kind, kind), tuple(dim.dim_value or None for dim in dims), ""
    )
    return tensor_text(spec, free=(dim.dim_param or "?" for dim in dims if not dim.dim_value))
