"""Rewrites of a `.tflite` file after TensorFlow's converter; none changes what the file computes."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from mnist_edge.core.contract import TensorSpec
from mnist_edge.formats.tflite.compact import compact
from mnist_edge.formats.tflite.reshapes import drop_reshapes
from mnist_edge.formats.tflite.trace import LAYERS

WITH_RANGE = {*LAYERS, "MEAN"}
PIXELS = (0.0, 1.0)


def canonical(content: bytes, io_names: tuple[str, str], any_batch: bool) -> bytes:
    """Name every tensor after the operator that makes it, input and output as the contract does, and write it small.

    Args:
        content: the file.
        io_names: names of the input and of the output.
        any_batch: let a file that was converted with a batch of 1 be resized to any.
    """
    from tensorflow.lite.tools import flatbuffer_utils as utils

    model = utils.read_model_from_bytearray(bytearray(content))
    drop_reshapes(model)
    graph = model.subgraphs[0]  # others are the bodies of loops
    names: dict[int, str] = {graph.inputs[0]: io_names[0], graph.outputs[0]: io_names[1]}
    counts: Counter[str] = Counter()
    for operator in graph.operators:
        kind = utils.opcode_to_name(model, operator.opcodeIndex).lower()
        name = f"{kind}_{counts[kind]}"
        counts[kind] += 1
        for index in operator.outputs:
            names.setdefault(index, name)
        if any_batch and kind == "reshape":
            _free_reshape(model, graph.tensors[operator.inputs[1]], operator)
    for index, tensor in enumerate(graph.tensors):
        tensor.name = names[index].encode() if index in names else None  # constants have none
        if any_batch and index in {*graph.inputs, *graph.outputs}:
            tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)
    return compact(model)


def layers(content: bytes) -> list[str]:
    """Return the name of the output of each layer with weights, which the converter's denylist takes."""
    from tensorflow.lite.tools import flatbuffer_utils as utils

    model = utils.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]  # others are the bodies of loops
    return [
        graph.tensors[operator.outputs[0]].name.decode()
        for operator in graph.operators
        if utils.opcode_to_name(model, operator.opcodeIndex) in LAYERS
    ]


def cut_logits(content: bytes, least: float) -> bytes:
    """Raise the lower end of the logits' calibrated range: an int8 step is finer, and what is lower saturates."""
    from tensorflow.lite.tools import flatbuffer_utils as utils

    model = utils.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]  # others are the bodies of loops
    kinds = [utils.opcode_to_name(model, operator.opcodeIndex) for operator in graph.operators]
    last = len(kinds) - (2 if kinds[-1] == "SOFTMAX" else 1)
    logits = graph.tensors[graph.operators[last].outputs[0]].quantization
    if kinds[last] != "FULLY_CONNECTED" or logits is None or logits.min is None:
        return content
    logits.min = np.maximum(logits.min, np.float32(least))
    return bytes(utils.convert_object_to_bytearray(model))


def with_pixels(content: bytes, pixels: TensorSpec) -> bytes | None:
    """Return a file whose input stands for pixels as in the contract; None where no QUANTIZE follows that allows it."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils as utils

    model = utils.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    image = graph.tensors[graph.inputs[0]]
    scale, zero_point = np.array([1 / 255], np.float32), np.array([pixels.zero_point or 0], np.int64)
    own = image.quantization
    if own is None or own.scale is None:  # with all layers in float the image is float too
        return content
    if np.allclose(own.scale, scale) and own.zeroPoint == zero_point:
        return content
    users = [operator for operator in graph.operators if graph.inputs[0] in operator.inputs]
    if any(utils.opcode_to_name(model, operator.opcodeIndex) != "QUANTIZE" for operator in users):
        return None
    image.type = getattr(schema.TensorType, str(pixels.dtype).upper())
    own.scale, own.zeroPoint = scale, zero_point
    return bytes(utils.convert_object_to_bytearray(model))


def set_ranges(content: bytes, ranges: Sequence[tuple[float, float]]) -> bytes:
    """Put a model's own ranges in place of the calibrated ones: one for each operator that computes, but Softmax."""
    from tensorflow.lite.tools import flatbuffer_utils as utils

    model = utils.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]  # others are the bodies of loops

    def put(index: int, bounds: tuple[float, float]) -> None:
        record = graph.tensors[index].quantization
        record.min, record.max = (np.array([value], np.float32) for value in bounds)

    rest, bounds = list(ranges), PIXELS
    put(graph.inputs[0], bounds)
    for operator in graph.operators:
        kind = utils.opcode_to_name(model, operator.opcodeIndex)
        if kind == "SOFTMAX":
            break
        if kind in WITH_RANGE:
            bounds = rest.pop(0)
        put(operator.outputs[0], bounds)  # what moves numbers keeps the range
    return bytes(utils.convert_object_to_bytearray(model))


def _free_reshape(model: Any, shape: Any, operator: Any) -> None:
    """Make a Reshape to [1, n] one to [-1, n]."""
    buffer = model.buffers[shape.buffer]
    wanted = np.frombuffer(bytes(bytearray(buffer.data)), np.int32).copy()
    if wanted[0] == 1:
        wanted[0] = -1
        buffer.data = np.frombuffer(wanted.tobytes(), np.uint8)
        if operator.builtinOptions is not None:
            operator.builtinOptions.newShape = wanted
