"""Traces a TFLite file: its kernels as real numbers, and the output of every operator, without XNNPACK."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats.inspection import Kernel, Trace

LAYERS = {
    "CONV_2D": "OHWI",
    "DEPTHWISE_CONV_2D": "IHWO",
    "TRANSPOSE_CONV": "OHWI",
    "FULLY_CONNECTED": "OI",
}
BIAS_PLACE = {"TRANSPOSE_CONV": 3}  # among the inputs
BIAS_PLACE_OF_OTHERS = 2
NONE = -1  # the index of a tensor that an operator could have and has not
MOVES = {"EXPAND_DIMS", "RESHAPE", "SQUEEZE", "TRANSPOSE"}
"""The operators that give the numbers which they take."""


def trace(interpreter: Any, parts: list[NDArray[Any]], count: int) -> Trace:
    """Return the trace of an interpreter that preserves all tensors, over the inputs of `count` images."""
    details = {item["index"]: item for item in interpreter.get_tensor_details()}
    operators = interpreter._get_ops_details()
    source = interpreter.get_input_details()[0]
    outputs = [int(index) for op in operators for index in op["outputs"] if index != NONE]
    constant = _constants(operators, outputs, source["index"])
    traced: dict[int, list[NDArray[np.float32]]] = {index: [] for index in outputs if index not in constant}
    for part in parts:
        interpreter.set_tensor(source["index"], part)
        interpreter.invoke()
        for index, values in traced.items():
            values.append(_real(interpreter.get_tensor(index), details[index]))
    kernels = [
        Kernel(f"{op['op_name'].lower()}_{op['index']}", _real(interpreter.get_tensor(index), details[index]), layout)
        for op in operators
        if (layout := LAYERS.get(op["op_name"])) and (index := int(op["inputs"][1])) in constant
    ]
    tensors = [
        (details[index]["name"], np.concatenate(values)[:count])
        for index, values in traced.items()
        if values[0].shape[:1] == parts[0].shape[:1]  # an operator may also give a shape, which is no tensor of images
    ]
    return Trace(tuple(kernels), tuple(tensors))


def input_range(interpreter: Any) -> tuple[float, float] | None:
    """Return the range of the QUANTIZE that an interpreter's float input goes to; None where there is none."""
    details = {item["index"]: item for item in interpreter.get_tensor_details()}
    source = interpreter.get_input_details()[0]
    same = {source["index"]} if source["dtype"] is np.float32 else set()
    for op in interpreter._get_ops_details():
        if not {int(index) for index in op["inputs"]} & same:
            continue
        if op["op_name"] in MOVES:
            same |= {int(index) for index in op["outputs"]}
        if op["op_name"] == "QUANTIZE":
            quantized = details[int(op["outputs"][0])]
            limits, (scale, zero_point) = np.iinfo(quantized["dtype"]), quantized["quantization"]
            return float((limits.min - zero_point) * scale), float((limits.max - zero_point) * scale)
    return None


def _constants(operators: Any, outputs: list[int], source: int) -> set[int]:
    """Return the tensors that depend on no image: what no operator makes, and what operators make of such alone."""
    constant = {int(index) for op in operators for index in op["inputs"]} - set(outputs) - {source}
    for op in operators:
        if {int(index) for index in op["inputs"]} <= constant | {NONE}:
            constant |= {int(index) for index in op["outputs"]}
    return constant


def _real(values: Any, details: Any) -> NDArray[np.float32]:
    """Dequantize a tensor by its scales and zero points, along its quantized dimension."""
    parameters = details["quantization_parameters"]
    scales, zero_points = parameters["scales"], parameters["zero_points"]
    real = np.array(values, np.float32)
    if not len(scales):
        return real
    shape = [1] * real.ndim
    if len(scales) > 1:
        shape[parameters["quantized_dimension"]] = -1
    return np.asarray((real - zero_points.reshape(shape)) * scales.reshape(shape), np.float32)
