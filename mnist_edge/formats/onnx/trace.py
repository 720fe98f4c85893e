"""Traces an ONNX file: its kernels as real numbers, and the output of every operator, without optimizations."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats.inspection import Kernel, Trace
from mnist_edge.formats.onnx.inspect import load

INTEGERS = {"MatMulInteger", "ConvInteger"}
LAYERS = {"Conv": "OIHW", "ConvTranspose": "IOHW", "Gemm": "IO", "MatMul": "IO", "MatMulInteger": "IO"}


def widened(path: Path) -> tuple[Any, list[str]]:
    """Return the ModelProto with every real-valued tensor as an output, and the names of those outputs."""
    import onnx

    proto, _ = load(path)
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}
    whole = {name for node in proto.graph.node if node.op_type in INTEGERS for name in node.output}
    nodes = [node for node in proto.graph.node if not (node.op_type == "Cast" and node.input[0] in whole)]
    names = [name for node in nodes for name in node.output if kinds.get(name) == onnx.TensorProto.FLOAT]
    outputs = {value.name for value in proto.graph.output}
    proto.graph.output.extend(value for value in inferred.value_info if value.name in set(names) - outputs)
    return proto, names


def trace(proto: Any, values: dict[str, NDArray[Any]]) -> Trace:
    """Return the trace from the outputs that `widened` asked for, `[N, …]` each, by name."""
    graph = _Graph(proto)
    tensors = []
    for name, value in values.items():
        if name in graph.constants:
            continue
        real = value.astype(np.float32) * np.float32(graph.unit(name))
        tensors.append((name, real.transpose(0, 2, 3, 1) if real.ndim == 4 else real))
    kernels = []
    for node in proto.graph.node:
        if node.op_type in LAYERS and (kernel := graph.kernel(node)) is not None:
            transposed = any(item.name == "transB" and item.i for item in node.attribute)
            kernels.append(Kernel(node.name or node.output[0], kernel, "OI" if transposed else LAYERS[node.op_type]))
    flattened_first = not any(node.op_type == "Transpose" for node in proto.graph.node)
    return Trace(tuple(kernels), tuple(tensors), channels_first=flattened_first)


class _Graph:
    """Finds constants behind DequantizeLinear and Cast, and tensors that hold whole numbers in place of real ones."""

    def __init__(self, proto: Any) -> None:
        from onnx import numpy_helper

        self._nodes = {name: node for node in proto.graph.node for name in node.output}
        self.constants = {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer}
        self._units: dict[str, float] = {}
        for node in proto.graph.node:
            if node.op_type == "Constant":
                value = next((item for item in node.attribute if item.name == "value"), None)
                if value is not None:
                    self.constants[node.output[0]] = numpy_helper.to_array(value.t)
            inputs = [self.constants.get(name) for name in node.input]
            if node.op_type == "DequantizeLinear" and inputs[0] is not None:
                self.constants[node.output[0]] = _dequantized(node, *inputs)
            if node.op_type == "Cast" and inputs[0] is not None:
                self.constants[node.output[0]] = inputs[0].astype(np.float32)
            if node.op_type == "DequantizeLinear" and inputs[0] is None:
                self._find_whole_numbers(node)

    def _find_whole_numbers(self, dequantize: Any) -> None:
        """Note the unit of the tensors before a QuantizeLinear whose scale is not that of its DequantizeLinear."""
        quantize = self._nodes.get(dequantize.input[0])
        if quantize is None or quantize.op_type != "QuantizeLinear":
            return
        before, after = self.constants.get(quantize.input[1]), self.constants.get(dequantize.input[1])
        if before is None or after is None or before.size != 1 or after.size != 1 or np.isclose(before, after):
            return
        name, unit = quantize.input[0], float((after / before).item())
        while name in self._nodes:
            self._units[name] = unit
            name = self._nodes[name].input[0]

    def unit(self, name: str) -> float:
        """Return the real value of 1 in a tensor."""
        return self._units.get(name, 1.0)

    def kernel(self, node: Any) -> Any:
        """Return a layer's kernel as real numbers; None where it is not constant."""
        values = self.constants.get(node.input[1])
        if values is None:
            return None
        if node.op_type == "MatMulInteger":
            return self._of_integers(node, values)
        unit = self.unit(node.output[0])  # an output in whole numbers comes of pixels from 0 to 255
        return values if unit == 1.0 else values * np.float32(unit * 255)

    def _of_integers(self, node: Any, values: Any) -> Any:
        """Dequantize a dynamic layer's kernel, whose scale is in a Mul with the scale of the activations."""
        zero_point = self.constants.get(node.input[3]) if len(node.input) > 3 else np.zeros(())
        shared = set(self._nodes[node.input[0]].output)
        for scales in self._nodes.values():
            scale = self.constants.get(scales.input[1]) if len(scales.input) == 2 else None
            if scales.op_type == "Mul" and scales.input[0] in shared and scale is not None:
                return (values.astype(np.float32) - np.float32(zero_point)) * scale
        return None


def _dequantized(node: Any, values: Any, scale: Any, zero_point: Any = None) -> Any:
    axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[axis] = -1
    offset = 0 if zero_point is None else zero_point.astype(np.float32).reshape(shape)
    return (values.astype(np.float32) - offset) * scale.reshape(shape).astype(np.float32)
