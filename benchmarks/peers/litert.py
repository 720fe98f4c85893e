"""LiteRT's Interpreter, with our files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers.network import Call, Files, Network
from peers.scales import probabilities, table

RUNTIME = "LiteRT"
PACKAGES = ("ai-edge-litert",)


def _int8(network: Network, folder: Path) -> Files:
    return (network.int8_tflite,)


def _float32(network: Network, folder: Path) -> Files:
    return (network.float_tflite,)


ROUTES = {"int8": _int8, "float32": _float32}


def open_call(path: Path, ends: tuple[float, float] = (0.0, 1.0)) -> Call:
    """Return the call of a `.tflite` of ours or of others; a uint8 input without a scale takes raw pixels."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    shape, into, out = source["shape"], source["index"], sink["index"]
    scale, zero = source["quantization"]
    numbers = table(np.dtype(source["dtype"]), ends, scale, zero)
    raw = numbers.dtype == np.uint8 and (not scale or np.array_equal(numbers, np.arange(256)))
    out_scale, out_zero = (np.float32(value) for value in sink["quantization"])

    def call(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        interpreter.set_tensor(into, (image if raw else numbers.take(image)).reshape(shape))
        interpreter.invoke()
        output: NDArray[Any] = interpreter.get_tensor(out)[0]
        return (output - out_zero) * out_scale if out_scale else output

    return probabilities(call, np.zeros((28, 28), np.uint8))
