"""Says of each operator that ONNX Runtime runs whether it computes in int8, in float, or only moves data."""

import re
from collections.abc import Iterator
from typing import Any

from mnist_edge.formats.inspection import RuntimeOperators, kinds_in

INT8 = re.compile(r"QLinear|QGemm|QAttention|QEmbed|QOrdered|DynamicQuantize(?!Linear)|\w+Integer|NhwcMaxPool")
"""Operators that compute in 8 bits whatever they take; MatMulNBits and QuickGelu do not."""
DATA_MOVEMENT = kinds_in("""
Cast CastLike BitCast QuantizeLinear DequantizeLinear DynamicQuantizeLinear QuantizeBFP DequantizeBFP
QuantizeWithOrder DequantizeWithOrder GatherBlockQuantized Reshape Flatten Squeeze Unsqueeze ExpandDims Identity
Dropout BiasDropout Transpose Expand Tile Concat Split Slice Gather GatherElements GatherND Scatter ScatterElements
ScatterND TensorScatter Pad CenterCropPad DepthToSpace SpaceToDepth ReverseSequence Compress Where Trilu OneHot Shape
Size Constant ConstantOfShape EyeLike Range NonZero ConcatFromSequence SplitToSequence SequenceAt SequenceConstruct
SequenceEmpty SequenceErase SequenceInsert SequenceLength Optional OptionalGetElement OptionalHasElement If Loop Scan
SequenceMap ReorderInput ReorderOutput RemovePadding RestorePadding MemcpyFromHost MemcpyToHost ArrayFeatureExtractor
""")
"""Operators that copy, select, reshape or convert numbers, or hold others; none of them computes new ones."""
COMPARISONS = kinds_in("Equal Less LessOrEqual Greater GreaterOrEqual And Or Xor Not IsNaN IsInf")
INDICES = kinds_in("Shape Size NonZero ArgMax ArgMin SequenceLength")
TO_FLOAT = kinds_in("DequantizeLinear MatMulIntegerToFloat DynamicQuantizeMatMul DynamicQuantizeLSTM OneHot")


def nodes(graph: Any) -> Iterator[Any]:
    """Yield every node of a graph, and those of the graphs inside its nodes."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from nodes(inner)


def runtime_operators(graph: Any) -> RuntimeOperators:
    """Return the operators of a graph by how they compute."""
    import onnx

    tensor = onnx.TensorProto
    eight, whole = {tensor.INT8, tensor.UINT8}, {tensor.INT32, tensor.INT64, tensor.BOOL}
    types = {item.name: item.data_type for item in graph.initializer}
    types |= {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input)}
    int8: list[str] = []
    other: list[str] = []
    movement: list[str] = []
    for node in nodes(graph):
        takes = [types[name] for name in node.input if name in types]
        if node.op_type in DATA_MOVEMENT:
            movement.append(node.op_type)
        elif INT8.match(node.op_type) or (node.input and types.get(node.input[0]) in eight):
            int8.append(node.op_type)
        elif node.input and len(takes) == len(node.input) and {*takes} <= whole:
            movement.append(node.op_type)  # it computes a shape or an index
        else:
            other.append(node.op_type)
        made = _type(node, types, tensor)
        if made is not None and node.output:
            types[node.output[0]] = made
    return RuntimeOperators(tuple(int8), tuple(other), tuple(movement), note="")


def _type(node: Any, types: dict[str, int], tensor: Any) -> int | None:
    """Return the type of a node's first output; None where it is not known. ONNX Runtime writes none into its files."""
    kind = node.op_type
    attributes = {item.name: item for item in node.attribute}
    inputs = [types.get(name) for name in node.input]
    if kind == "Cast":
        return int(attributes["to"].i) if "to" in attributes else None
    if kind == "Constant":
        return int(attributes["value"].t.data_type) if "value" in attributes else None
    if kind == "QuantizeLinear":
        return inputs[2] if len(inputs) > 2 else int(tensor.UINT8)
    if kind in TO_FLOAT or (kind == "QGemm" and len(inputs) < 8):  # a QGemm without an output scale gives float
        return int(tensor.FLOAT)
    if kind in INDICES or kind in COMPARISONS:
        return int(tensor.INT64)
    if "Integer" in kind:
        return int(tensor.INT32)
    if kind == "DynamicQuantizeLinear" or INT8.match(kind):
        return int(tensor.UINT8)
    if kind == "Where":
        return inputs[1]
    return inputs[0] if inputs and kind not in ("If", "Loop", "Scan", "ConstantOfShape") else None
