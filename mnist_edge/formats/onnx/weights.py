"""Reads the weights of any `.onnx` file layer by layer, without running it."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.reading import reading
from mnist_edge.formats.onnx.constants import INTEGER_LAYERS, REAL, Constants, quantized_output
from mnist_edge.formats.onnx.inspect import load
from mnist_edge.formats.weights import (
    BIAS,
    KERNEL,
    Layer,
    Weights,
    along,
    in_keras_layout,
    printable,
    rows_channels_last,
)

CONVOLUTIONS = {"Conv": "OI", "ConvInteger": "OI", "QLinearConv": "OI", "ConvTranspose": "IO"}
DENSE = {"Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "QGemm"}
QUANTIZERS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
NOT_LAYERS = (*QUANTIZERS, "Constant", "Cast", "Identity", "Transpose", "Reshape", "QLinear")
"""The operators whose constants are no weights, by how their names start."""
SAME_NUMBERS = {*QUANTIZERS, "Cast", "Clip", "Dropout", "Flatten", "Identity", "Relu", "Reshape", "Squeeze"}
"""The operators behind a picture that leave its numbers in their places."""
MOVED = {*QUANTIZERS, "Reshape", "Squeeze", "Unsqueeze", "Transpose"}
SCALED = {*MOVED, "Cast", "Mul"}
"""The operators that may stand between a layer and the Add of its bias; those of integers are scaled first."""
TO_LAST = [0, 2, 3, 1]


def layers(path: Path) -> tuple[Layer, ...]:
    """Return the operators of a file that have weights. Raises ArtifactError where it is not an ONNX file."""
    with reading(ArtifactError, f"{path} is not an ONNX file that can be read"):
        return printable(_Reader(load(path)[0]).layers())


class _Reader:
    """Goes through the nodes of a graph in their order."""

    def __init__(self, proto: Any) -> None:
        import onnx

        try:
            inferred = onnx.shape_inference.infer_shapes(proto).graph
        except onnx.shape_inference.InferenceError:  # it is newer than this onnx, or wrong
            inferred = proto.graph
        self._nodes = proto.graph.node
        self._real = Constants(proto)
        self._producer = {name: node for node in self._nodes for name in node.output}
        self._shapes = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*inferred.value_info, *inferred.input)
        }
        self._users: defaultdict[str, list[Any]] = defaultdict(list)
        for node in self._nodes:
            for name in dict.fromkeys(node.input):
                self._users[name].append(node)

    def layers(self) -> list[Layer]:
        """Return the layers."""
        found, used = [], list[Any]()
        for node in self._nodes:
            if node.op_type in CONVOLUTIONS or (node.op_type in DENSE and node.input[0] not in self._real.constants):
                layer, add = self._layer(node)
                found.append(layer)
                used += [add] if add is not None else []
            elif not node.op_type.startswith(NOT_LAYERS) and node not in used and (weights := self._plain(node)):
                found.append(Layer(node.name or node.output[0], node.op_type, node.output[0], weights))
        return found

    def _layer(self, node: Any) -> tuple[Layer, Any]:
        """Return a convolution or Dense layer, and the Add after it that holds its bias, or None."""
        name, output = node.name or node.output[0], node.output[0]
        kernel, bias = self._quantized(node) if node.op_type.startswith("Q") else self._usual(node)
        add = None
        if kernel is None:
            return Layer(name, node.op_type, output, ()), None
        kernel = in_keras_layout(kernel, self._layout(node, kernel.values.ndim))
        if kernel.values.ndim == 2 and (picture := self._picture(node)):
            kernel = rows_channels_last(kernel, *picture) if np.prod(picture) == len(kernel.values) else kernel
        if bias is None:
            bias, add = self._bias_after(node, kernel.values.shape[-1])
            output = output if add is None else add.output[0]
        output += REAL * (quantized_output(node) is not None)
        return Layer(name, node.op_type, output, (kernel,) if bias is None else (kernel, bias)), add

    def _usual(self, node: Any) -> tuple[Weights | None, Weights | None]:
        """Return kernel and bias of a node in which both stand at their usual places."""
        kernel = self._real.kernel(node)
        if kernel is None:
            return None, None
        has_bias = len(node.input) > 2 and node.op_type not in INTEGER_LAYERS and node.input[2] in self._real.constants
        bias = self._weights(BIAS, node.input[2]) if has_bias else None
        unit = self._real.unit(node.output[0]).ravel()
        if bias is not None and (unit != 1).any():
            bias = Weights(BIAS, bias.values * unit, bias.dtype, np.asarray(unit))
        values, step = kernel
        return _weights(KERNEL, values, step, self._real.stored[node.input[1]]), bias

    def _quantized(self, node: Any) -> tuple[Weights | None, Weights | None]:
        """Return kernel and bias of a QLinearConv, QLinearMatMul or QGemm."""
        real = self._real.constants
        numbers, scale, zero_point = (real.get(name) for name in node.input[3:6])
        if numbers is None or scale is None:
            return None, None
        axis = 0 if node.op_type == "QLinearConv" or self._transposed(node) else numbers.ndim - 1
        step = along(scale, numbers.ndim, axis)
        offset = along(0 if zero_point is None else zero_point, numbers.ndim, axis)
        kernel = _weights(KERNEL, (numbers.astype(np.float32) - offset) * step, step, str(numbers.dtype))
        place = {"QLinearConv": 8, "QGemm": 6}.get(node.op_type, len(node.input))
        stored = real.get(node.input[place]) if len(node.input) > place else None
        source = real.get(node.input[1])
        if stored is None or source is None:
            return kernel, None
        unit = np.asarray(scale * source, np.float32)
        return kernel, _weights(BIAS, stored.ravel() * unit, unit, str(stored.dtype))

    def _bias_after(self, node: Any, outputs: int) -> tuple[Weights | None, Any]:
        """Return the constant that an Add puts on a layer's outputs, one number a channel, and that Add."""
        name = node.output[0]
        while len(self._users[name]) == 1:
            (user,) = self._users[name]
            if user.op_type == "Add":
                other = next((item for item in user.input if item in self._real.constants), None)
                if other is None or self._real.constants[other].size != outputs:
                    break
                return self._weights(BIAS, other), user
            if user.op_type not in (SCALED if node.op_type in INTEGER_LAYERS else MOVED):
                break
            name = user.output[0]
        return None, None

    def _plain(self, node: Any) -> tuple[Weights, ...]:
        """Return the real constants of any other operator, by their place."""
        made = [self._producer[name].op_type for name in node.input if name in self._producer]
        if "DynamicQuantizeLinear" in made:
            return ()  # scales of a dynamic layer, which its kernel has taken
        return tuple(
            self._weights(f"input {place}", name)
            for place, name in enumerate(node.input)
            if name in self._real.constants and self._real.constants[name].dtype.kind == "f"
        )

    def _weights(self, role: str, name: str) -> Weights:
        values = self._real.constants[name]
        values = values.ravel() if role == BIAS else values
        step = self._real.steps[name]
        return _weights(role, values, step.ravel() if role == BIAS else step, self._real.stored[name])

    def _layout(self, node: Any, rank: int) -> str:
        """Return the names of a kernel's axes, as the file has them."""
        if node.op_type in CONVOLUTIONS:
            return CONVOLUTIONS[node.op_type] + "DHW"[3 - (rank - 2) :] if 3 <= rank <= 5 else ""
        return "OI" if self._transposed(node) else "DHWIO"[5 - rank :]

    def _transposed(self, node: Any) -> bool:
        return any(item.name == "transB" and item.i for item in node.attribute)

    def _picture(self, node: Any) -> tuple[int, ...]:
        """Return channels, height and width of the picture, channels first, that a node's input was flattened from."""
        name = node.input[0]
        while (source := self._producer.get(name)) is not None and source.op_type in SAME_NUMBERS:
            if len(self._shapes.get(name, ())) == 4:
                break
            name = source.input[0]
        shape = self._shapes.get(name, [])
        perm = next((list(item.ints) for item in source.attribute if item.name == "perm"), []) if source else []
        return () if len(shape) != 4 or perm == TO_LAST or name == node.input[0] else tuple(shape[1:])


def _weights(role: str, values: NDArray[Any], step: Any, dtype: str) -> Weights:
    with np.errstate(over="ignore", invalid="ignore"):
        return Weights(role, np.asarray(values, np.float32), dtype, np.asarray(step, np.float32))
