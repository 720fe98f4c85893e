"""ONNX Runtime, with our files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers.network import Call, Files, Network
from peers.scales import probabilities, table

RUNTIME = "ONNX Runtime"
PACKAGES = ("onnxruntime",)
TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(float16)": "float16"}


def _int8(network: Network, folder: Path) -> Files:
    return (network.int8_onnx,)


def _float32(network: Network, folder: Path) -> Files:
    return (network.float_onnx,)


ROUTES = {"int8": _int8, "float32": _float32}


def open_call(path: Path, ends: tuple[float, float] = (0.0, 1.0)) -> Call:
    """Return the call of an `.onnx` of ours or of others; a uint8 input takes raw pixels, or inverted ones."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    name, shape = source.name, [size if isinstance(size, int) else 1 for size in source.shape]
    dtype = np.dtype(TYPES[source.type])
    whole = dtype.kind in "ui"
    numbers = table(dtype, ((0.0, 255.0) if ends[0] <= ends[1] else (255.0, 0.0)) if whole else ends)
    raw = dtype == np.uint8 and np.array_equal(numbers, np.arange(256))
    outputs = [session.get_outputs()[0].name]

    def call(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = (image if raw else numbers.take(image)).reshape(shape)
        output: NDArray[Any] = session.run(outputs, {name: pixels})[0]
        return output.reshape(10)

    return probabilities(call, np.zeros((28, 28), np.uint8))
