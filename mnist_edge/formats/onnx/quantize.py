"""Static int8 quantization for ONNX Runtime: its own quantizer, and a first convolution that computes on integers.

ORT's int8 convolution is slow where there is one input channel, and its float convolution is fast. Pixels are whole
numbers from 0 to 255 and 8-bit weights are whole numbers too; a float32 convolution over them is exact as long as every
sum stays under 2**24, whatever the order of the additions. So the first convolution runs on float instructions, gives
the same integers as an int8 one, on every CPU, and the QuantizeLinear after it rescales them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats.onnx import METHODS
from mnist_edge.formats.onnx import graph as onnx_graph

EXACT = 2**24  # float32 holds every whole number up to here
LAYERS = ("Conv", "Gemm", "MatMul")


def quantize(
    proto: Any, calibration: NDArray[np.float32], method: str, per_channel: bool, float_layers: tuple[int, ...]
) -> Any:
    """Quantize a float32 ModelProto with the batch of 1 to uint8 weights and activations, which no CPU saturates.

    Args:
        proto: the clean float32 graph, ending in Softmax or in logits.
        calibration: float32 `[N, 28, 28]` in [0, 1].
        method: a key of `METHODS`.
        per_channel: one scale for each output channel of a layer, instead of one for all.
        float_layers: positions of layers that stay in float, counted among Conv, Gemm and MatMul.

    Returns:
        A ModelProto with uint8 pixels in, and float logits and Softmax.
    """
    import tempfile

    import onnx
    from onnxruntime import quantization

    name = proto.graph.input[0].name

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest: Iterator[Any] = iter(calibration)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._rest, None)
            return None if image is None else {name: image.reshape(1, 1, 28, 28)}

    layers = [node.name for node in proto.graph.node if node.op_type in LAYERS]
    float_names = [layers[index] for index in float_layers]
    stem = stem_of(proto.graph, float_names)
    unsigned = quantization.QuantType.QUInt8
    # the contract: pixel 0 is 0.0 and pixel 255 is 1.0, whatever the calibration images reach
    pixel_range = {"quant_type": unsigned, "rmin": np.float32(0), "rmax": np.float32(1)}
    softmax = [node.name for node in proto.graph.node if node.op_type == "Softmax"]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "quantized.onnx"
        quantization.quantize_static(
            proto,
            target,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=unsigned,
            weight_type=unsigned,
            calibrate_method=quantization.CalibrationMethod[METHODS[method]],
            nodes_to_exclude=[*softmax, *stem, *float_names],
            extra_options={"TensorQuantOverrides": {tensor: [pixel_range] for tensor in pixel_tensors(proto.graph)}},
        )
        quantized = onnx.load(target)
    if stem:
        compute_on_integers(quantized.graph, per_channel=False)
    take_raw_pixels(quantized.graph)
    _keep_logits_float(quantized.graph)
    return quantized


def stem_of(graph: Any, float_layers: list[str], per_channel: bool = False) -> list[str]:
    """Return the names of the first convolution and its successors up to the next layer, if they can use integers.

    Neither of the two may be one of `float_layers`.
    Relu, MaxPool and Reshape commute with a positive scale, so the chain may consist of them alone; and no sum over
    the quantized kernel may reach 2**24.
    """
    conv = onnx_graph.only_user(graph, graph.input[0].name, "Conv")
    if conv is None or conv.name in float_layers or (weight := onnx_graph.array(graph, conv.input[1])) is None:
        return []
    if weight.shape[1] != 1 or not weight.any():
        return []
    integers, bias, _ = _integer_weights(graph, conv, per_channel)
    if (np.abs(integers).sum(axis=(1, 2, 3)) * 255 + np.abs(bias)).max() >= EXACT:
        return []
    names = [conv.name]
    node = conv
    while (following := onnx_graph.only_user(graph, node.output[0], "Relu", "MaxPool", "Reshape")) is not None:
        names.append(following.name)
        node = following
    layer = onnx_graph.only_user(graph, node.output[0], *LAYERS)
    return [] if layer is None or layer.name in float_layers else names


def _integer_weights(graph: Any, conv: Any, per_channel: bool) -> tuple[Any, Any, NDArray[np.float32]]:
    """Return a convolution's weights and bias as whole numbers, and the real value of 1 in its output or a channel."""
    weight = onnx_graph.array(graph, conv.input[1])
    largest = np.abs(weight).max(axis=(1, 2, 3) if per_channel else None)
    scale = np.asarray(np.maximum(largest / np.float32(127), np.float32(1e-12)), np.float32)
    unit = np.asarray(scale / np.float32(255))
    bias = onnx_graph.array(graph, conv.input[2]) if len(conv.input) > 2 else np.zeros(len(weight), np.float32)
    return np.round(weight / scale.reshape(-1, 1, 1, 1)), np.round(bias / unit), unit


def compute_on_integers(graph: Any, per_channel: bool) -> None:
    """Change the first convolution to whole numbers, and put their scale into the QuantizeLinear after the stem."""
    from onnx import TensorProto, helper, numpy_helper

    image = graph.input[0].name
    conv = onnx_graph.only_user(graph, image, "Conv")
    integers, bias, unit = _integer_weights(graph, conv, per_channel)
    onnx_graph.replace_input(graph, conv, 1, integers.astype(np.int8))
    # stored in bytes; ORT makes floats of them when it loads the file
    graph.node.insert(0, helper.make_node("Cast", [conv.input[1]], ["whole_weight"], to=TensorProto.FLOAT))
    conv.input[1] = "whole_weight"
    if len(conv.input) > 2:
        onnx_graph.replace_input(graph, conv, 2, bias.astype(np.float32))
    node, relu, pool = conv, None, None
    while (following := onnx_graph.only_user(graph, node.output[0], "Relu", "MaxPool", "Reshape")) is not None:
        node = following
        relu, pool = (node if node.op_type == "Relu" else relu), (node if node.op_type == "MaxPool" else pool)
    quantize = onnx_graph.only_user(graph, node.output[0], "QuantizeLinear")
    step = onnx_graph.array(graph, quantize.input[1])
    # of the pair only QuantizeLinear changes: it takes integers, DequantizeLinear gives real numbers as before
    graph.initializer.append(numpy_helper.from_array(np.asarray(step / unit, np.float32), "stem_step"))
    quantize.input[1] = "stem_step"
    if per_channel:
        zero_point = np.broadcast_to(onnx_graph.array(graph, quantize.input[2]), unit.shape)
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(zero_point), "stem_zero_point"))
        quantize.input[2] = "stem_zero_point"
    if relu is not None and pool is not None and pool.input[0] == relu.output[0]:
        # Relu last: ORT moves QuantizeLinear ahead of a MaxPool that it meets first, and pools bytes slowly
        relu.input[0], pool.input[0] = pool.output[0], relu.input[0]
        for user in graph.node:
            if user is not relu:
                user.input[:] = [relu.output[0] if name == pool.output[0] else name for name in user.input]
    graph.node.insert(0, helper.make_node("Cast", [image], ["pixels"], to=TensorProto.FLOAT))
    conv.input[0] = "pixels"


def pixel_tensors(graph: Any) -> list[str]:
    """Return the names of the tensors that hold the pixels: the input, and its Reshapes."""
    names = [graph.input[0].name]
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[0] in names:
            names.append(node.output[0])
    return names


def take_raw_pixels(graph: Any) -> None:
    """Make the input uint8: drop its QuantizeLinear (scale 1/255, zero point 0), or dequantize it for a float layer."""
    from onnx import TensorProto, helper, numpy_helper

    (image,) = graph.input
    pixels = pixel_tensors(graph)
    image.type.tensor_type.elem_type = TensorProto.UINT8
    quantizers = [node for node in graph.node if node.op_type == "QuantizeLinear" and node.input[0] in pixels]
    for quantizer in quantizers:
        onnx_graph.bypass(graph, quantizer)
    if quantizers or onnx_graph.only_user(graph, image.name, "Cast") is not None:
        return
    for user in graph.node:
        user.input[:] = ["pixels" if name == image.name else name for name in user.input]
    graph.initializer.append(numpy_helper.from_array(np.float32(1 / 255), "pixel_scale"))
    graph.node.insert(0, helper.make_node("DequantizeLinear", [image.name, "pixel_scale"], ["pixels"]))


def _keep_logits_float(graph: Any) -> None:
    """Drop the quantize-dequantize pair behind the last layer, so that the logits are not rounded to 256 steps."""
    producer: dict[str, Any] = {name: node for node in graph.node for name in node.output}
    (output,) = graph.output
    last = producer[output.name]
    dequantize = producer.get(last.input[0]) if last.op_type == "Softmax" else last
    quantize = producer.get(dequantize.input[0]) if dequantize is not None else None
    if dequantize is None or quantize is None or quantize.op_type != "QuantizeLinear":
        return
    logits = producer[quantize.input[0]]
    graph.node.remove(quantize)
    graph.node.remove(dequantize)
    logits.output[0] = dequantize.output[0]
