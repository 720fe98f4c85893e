"""Finds the constants of an ONNX graph as real numbers, and the tensors that hold whole numbers in place of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats.weights import along, float_step

INTEGER_LAYERS = {"MatMulInteger", "ConvInteger"}
REAL = "_dequantized"
"""Behind the name of a quantized output, that of the same as real numbers."""


class Constants:
    """The constants of a graph, also behind DequantizeLinear and Cast.

    `constants` maps tensors' names to their numbers, `steps` to the distance of neighbouring ones that the file can
    hold there, and `stored` to the dtype that it holds them in.
    """

    def __init__(self, proto: Any) -> None:
        from onnx import numpy_helper

        self._nodes = {name: node for node in proto.graph.node for name in node.output}
        self.constants: dict[str, Any] = {}
        self.steps: dict[str, NDArray[np.float32]] = {}
        self.stored: dict[str, str] = {}
        self._units: dict[str, NDArray[np.float32]] = {}
        for item in proto.graph.initializer:
            self._store(item.name, numpy_helper.to_array(item))
        for node in proto.graph.node:
            self._follow(node, numpy_helper)

    def _store(self, name: str, values: Any) -> None:
        self.constants[name], self.stored[name] = values, str(values.dtype)
        whole = values.dtype.kind in "iu"
        self.steps[name] = np.ones((), np.float32) if whole else float_step(values)

    def _follow(self, node: Any, numpy_helper: Any) -> None:
        """Note what a node makes of constants alone."""
        if node.op_type == "Constant":
            value = next((item for item in node.attribute if item.name == "value"), None)
            if value is not None:
                self._store(node.output[0], numpy_helper.to_array(value.t))
        source = node.input[0] if node.input else ""
        values = self.constants.get(source)
        if values is None:
            if node.op_type == "DequantizeLinear":
                self._find_whole_numbers(node)
            return
        if node.op_type == "DequantizeLinear":
            made, step = _dequantized(node, *(self.constants.get(name) for name in node.input))
        elif node.op_type == "Cast":
            made, step = values.astype(np.float32), self.steps[source]
        elif node.op_type == "Identity":
            made, step = values, self.steps[source]
        elif node.op_type == "Transpose":
            perm = next((list(item.ints) for item in node.attribute if item.name == "perm"), None)
            made, step = values.transpose(perm), self.steps[source]
            step = step.transpose(perm) if step.ndim else step
        elif node.op_type == "Reshape" and self.steps[source].size == 1 and node.input[1] in self.constants:
            made, step = values.reshape(self.constants[node.input[1]].ravel()), self.steps[source].reshape(())
        else:
            return
        name = node.output[0]
        self.constants[name], self.steps[name], self.stored[name] = made, step, self.stored[source]

    def _find_whole_numbers(self, dequantize: Any) -> None:
        """Note the unit of the tensors between a Cast of the image and a QuantizeLinear with another scale.

        That scale is not the one of its DequantizeLinear: it takes whole numbers, and gives real ones.
        """
        quantize = self._nodes.get(dequantize.input[0])
        if quantize is None or quantize.op_type != "QuantizeLinear":
            return
        before, after = self.constants.get(quantize.input[1]), self.constants.get(dequantize.input[1])
        if before is None or after is None or after.size != 1 or np.isclose(before, after).all():
            return
        unit = np.asarray(after / before, np.float32)
        name, unit = quantize.input[0], unit if unit.ndim == 0 else unit.reshape(-1, 1, 1)  # one for each channel
        names = []
        while name in self._nodes:
            names.append(name)
            name, last = self._nodes[name].input[0], self._nodes[name].op_type
            if last in ("QuantizeLinear", "DequantizeLinear"):
                return
        if names and last == "Cast":
            self._units |= dict.fromkeys(names, unit)

    def unit(self, name: str) -> NDArray[np.float32]:
        """Return the real value of 1 in a tensor, or in each of its channels."""
        return self._units.get(name, np.ones((), np.float32))

    def kernel(self, node: Any) -> Any:
        """Return a layer's kernel as real numbers, and its step; None where it is not constant."""
        name = node.input[1]
        if name not in self.constants:
            return None
        values, step = self.constants[name], self.steps[name]
        if node.op_type in INTEGER_LAYERS:
            return self._of_integers(node, values)
        unit = self.unit(node.output[0])  # an output in whole numbers comes of pixels from 0 to 255
        unit = unit[..., None] if unit.ndim else unit
        return (values, step) if (unit == 1).all() else (values * (unit * 255), step * (unit * 255))

    def _of_integers(self, node: Any, values: Any) -> Any:
        """Dequantize a dynamic layer's kernel, whose scale is in a Mul with the scale of the activations."""
        zero_point = self.constants.get(node.input[3]) if len(node.input) > 3 else np.zeros(())
        shared = set(self._nodes[node.input[0]].output) if node.input[0] in self._nodes else set()
        for scales in self._nodes.values():
            scale = self.constants.get(scales.input[1]) if len(scales.input) == 2 else None
            if scales.op_type == "Mul" and scales.input[0] in shared and scale is not None:
                axis = 0 if node.op_type == "ConvInteger" else values.ndim - 1
                scale, zero_point = along(scale, values.ndim, axis), along(zero_point, values.ndim, axis)
                return (values.astype(np.float32) - zero_point) * scale, scale
        return None


def quantized_output(node: Any) -> tuple[str, ...] | None:
    """Return the names of a layer's output, its scale and its zero point; None where the output is not quantized."""
    place = {"QLinearConv": 6, "QLinearMatMul": 6, "QGemm": 7}.get(node.op_type)
    return None if place is None or len(node.input) < place + 2 else (node.output[0], *node.input[place : place + 2])


def _dequantized(node: Any, values: Any, scale: Any, zero_point: Any = None) -> Any:
    """Return real numbers and their step."""
    axis = next((item.i for item in node.attribute if item.name == "axis"), 1)
    scale = along(scale, values.ndim, axis)
    offset = along(0 if zero_point is None else zero_point, values.ndim, axis)
    return (values.astype(np.float32) - offset) * scale, scale
