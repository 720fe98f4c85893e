"""Static int8 quantization for ONNX Runtime with ranges that the model brings along: nothing is calibrated.

Scales and zero points are those of the TFLite file: activations are uint8 where it has int8, with a zero point that is
higher by 128, and weights have a zero point of 128, which no CPU saturates.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_edge.formats.keras.ranges import Range, step_and_zero
from mnist_edge.formats.onnx import graph as onnx_graph
from mnist_edge.formats.onnx.quantize import LAYERS, compute_on_integers, pixel_tensors, stem_of

PIXEL = np.float32(1 / 255)
WITH_RANGE = (*LAYERS, "GlobalAveragePool")
ACTIVATIONS = ("Relu", "Clip")
MIDDLE = 128  # the zero point of weights


def quantize_to_ranges(proto: Any, ranges: Sequence[Range], float_layers: tuple[int, ...]) -> Any:
    """Quantize a float32 ModelProto of one chain in place, and return it.

    Args:
        proto: the clean float32 graph, ending in Softmax or in logits.
        ranges: of the output of each layer, after its activation.
        float_layers: positions of layers that stay in float, counted among Conv, Gemm and MatMul.
    """
    from onnx import TensorProto

    graph = proto.graph
    layers = [node.name for node in graph.node if node.op_type in LAYERS]
    float_names = {layers[index] for index in float_layers}
    stem = stem_of(graph, sorted(float_names), per_channel=True)
    _Writer(graph, float_names, stem).write(list(ranges))
    if stem:
        compute_on_integers(graph, per_channel=True)
    graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    return proto


class _Writer:
    """Puts QuantizeLinear behind layers and DequantizeLinear before them; what lies between works on bytes.

    `float_names` are layers that stay in float; `stem` is the first convolution and what follows it, where that
    computes on whole numbers later.
    """

    def __init__(self, graph: Any, float_names: set[str], stem: list[str]) -> None:
        self._graph, self._float, self._stem = graph, float_names, stem
        self._constants = 0

    def write(self, ranges: list[Range]) -> None:
        """Rewrite the graph."""
        nodes = list(self._graph.node)
        positions = [index for index, node in enumerate(nodes) if node.op_type in WITH_RANGE]
        source = pixel_tensors(self._graph)[-1]
        scale, zero_point = PIXEL, 0
        for index, position in enumerate(positions):
            node = nodes[position]
            if node.name not in self._stem:
                self._dequantize(node, source, scale, zero_point)
                if node.op_type in LAYERS and node.name not in self._float:
                    self._round_weights(node, scale)
            scale, zero_point = step_and_zero(ranges[index])
            if index == len(positions) - 1:
                if node.name not in self._float:
                    self._round_logits(node, scale, zero_point)
                return
            following = nodes[position + 1]
            end = self._end(node, following, zero_point)
            behind = nodes[positions[index + 1] - 1]  # the last node before the next layer
            behind = end if behind is following and behind.op_type in ACTIVATIONS else behind
            # bytes pass through what lies between two layers; in the stem it is float, for speed
            tensor = behind.output[0] if node.name in self._stem else end.output[0]
            quantized = self._quantize(tensor, scale, zero_point)
            source = quantized if node.name in self._stem or behind is end else behind.output[0]

    def _end(self, node: Any, following: Any, zero_point: int) -> Any:
        """Return the node that ends a layer: itself, or its activation; a Relu goes, where 0 is the smallest byte."""
        if following.op_type not in ACTIVATIONS:
            return node
        if following.op_type == "Relu" and zero_point == 0:
            onnx_graph.bypass(self._graph, following)
            return node
        return following

    def _round_logits(self, node: Any, scale: np.float32, zero_point: int) -> None:
        """Round what the last layer gives to bytes, as a TFLite file does, and go on with it in float."""
        from onnx import helper

        real, node.output[0] = node.output[0], f"{node.output[0]}_exact"
        quantized = self._quantize(node.output[0], scale, zero_point)
        inputs = [quantized, self._constant(scale), self._constant(np.uint8(zero_point))]
        self._graph.node.append(helper.make_node("DequantizeLinear", inputs, [real]))

    def _quantize(self, tensor: str, scale: np.float32, zero_point: int) -> str:
        """Quantize a tensor for all that use it, and return the name of its bytes."""
        from onnx import helper

        quantized = f"{tensor}_bytes"
        for user in self._graph.node:
            user.input[:] = [quantized if name == tensor else name for name in user.input]
        inputs = [tensor, self._constant(scale), self._constant(np.uint8(zero_point))]
        self._graph.node.append(helper.make_node("QuantizeLinear", inputs, [quantized]))
        return quantized

    def _dequantize(self, node: Any, source: str, scale: np.float32, zero_point: int) -> None:
        """Dequantize the first input of a layer."""
        from onnx import helper

        inputs = [source, self._constant(scale), self._constant(np.uint8(zero_point))]
        real = f"{source}_real"
        self._graph.node.append(helper.make_node("DequantizeLinear", inputs, [real]))
        node.input[0] = real

    def _round_weights(self, node: Any, input_scale: np.float32) -> None:
        """Store a layer's kernel in bytes and its bias in whole numbers of the products' unit."""
        from onnx import helper

        kernel = onnx_graph.array(self._graph, node.input[1])
        rest = (1, 2, 3) if node.op_type == "Conv" else None
        steps = np.asarray(np.maximum(np.abs(kernel).max(axis=rest) / np.float32(127), np.float32(1e-12)), np.float32)
        across = steps.reshape(-1, 1, 1, 1) if steps.ndim else steps
        whole = np.asarray(np.round(kernel / across) + MIDDLE, np.uint8)
        inputs = [self._constant(whole), self._constant(steps), self._constant(np.full(steps.shape, MIDDLE, np.uint8))]
        weight = f"{node.name}_whole_weight"
        axis = {"axis": 0} if steps.ndim else {}
        self._graph.node.append(helper.make_node("DequantizeLinear", inputs, [weight], **axis))
        node.input[1] = weight
        if len(node.input) > 2:
            unit = np.asarray(np.float32(input_scale) * steps, np.float32)
            bias = np.round(onnx_graph.array(self._graph, node.input[2]).astype(np.float64) / unit).astype(np.int32)
            name = f"{node.name}_whole_bias"
            inputs = [self._constant(bias), self._constant(unit)]
            self._graph.node.append(helper.make_node("DequantizeLinear", inputs, [name], **axis))
            node.input[2] = name

    def _constant(self, values: Any) -> str:
        """Add a constant, and return its name."""
        from onnx import numpy_helper

        self._constants += 1
        name = f"range_constant_{self._constants}"
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        return name
