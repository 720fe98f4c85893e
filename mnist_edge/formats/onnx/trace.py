"""Traces an ONNX file: its kernels as real numbers, and the output of every operator, without optimizations."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats.inspection import Kernel, Trace
from mnist_edge.formats.onnx.constants import INTEGER_LAYERS, REAL, Constants, quantized_output
from mnist_edge.formats.onnx.inspect import load

LAYERS = {"Conv": "OIHW", "ConvTranspose": "IOHW", "Gemm": "IO", "MatMul": "IO", "MatMulInteger": "IO"}


def widened(path: Path) -> tuple[Any, list[str]]:
    """Return the ModelProto with every real-valued tensor as an output, and the names of those outputs."""
    import onnx

    proto, _ = load(path)
    for node in [node for node in proto.graph.node if quantized_output(node) is not None]:
        real = onnx.helper.make_node("DequantizeLinear", quantized_output(node), [node.output[0] + REAL])
        proto.graph.node.insert(list(proto.graph.node).index(node) + 1, real)
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}
    whole = {name for node in proto.graph.node if node.op_type in INTEGER_LAYERS for name in node.output}
    nodes = [node for node in proto.graph.node if not (node.op_type == "Cast" and node.input[0] in whole)]
    names = [name for node in nodes for name in node.output if kinds.get(name) == onnx.TensorProto.FLOAT]
    outputs = {value.name for value in proto.graph.output}
    proto.graph.output.extend(value for value in inferred.value_info if value.name in set(names) - outputs)
    return proto, names


def trace(proto: Any, values: dict[str, NDArray[Any]]) -> Trace:
    """Return the trace from the outputs that `widened` asked for, `[N, …]` each, by name."""
    graph = Constants(proto)
    tensors = []
    for name, value in values.items():
        if name in graph.constants:
            continue
        real = value.astype(np.float32) * graph.unit(name)
        tensors.append((name, real.transpose(0, 2, 3, 1) if real.ndim == 4 else real))
    kernels = []
    for node in proto.graph.node:
        if node.op_type in LAYERS and (found := graph.kernel(node)) is not None:
            transposed = any(item.name == "transB" and item.i for item in node.attribute)
            kernels.append(Kernel(node.name or node.output[0], found[0], "OI" if transposed else LAYERS[node.op_type]))
    flattened_first = not any(node.op_type == "Transpose" for node in proto.graph.node)
    return Trace(tuple(kernels), tuple(tensors), channels_first=flattened_first)
