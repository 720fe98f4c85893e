"""Plants faults into the weights of `cnn`'s files, TFLite or ONNX: what `diff` has to locate."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from support import faults

CONV, DENSE, LAST = (32, 1, 3, 3), (5408, 64), (64, 10)
FLOAT32 = 0  # as TFLite numbers its types


def planted(exports: Path, target: Path, name: str, change: Callable[[Path], None]) -> Path:
    """A changed copy of a file, with the golden images beside it."""
    shutil.copy(exports / "cnn" / "reference.npz", target)
    path = Path(shutil.copy(exports / "cnn" / name, target / f"changed-{name}"))
    change(path)
    return path


def kernel(layer: int, change: Callable[[Any], None]) -> Callable[[Path], None]:
    """Change the kernel of a layer in place, given with its outputs first: float32 or integers, TFLite or ONNX."""

    def of_tflite(model: Any, graph: Any) -> None:
        tensor = graph.tensors[[item for item in graph.operators if len(item.inputs) == 3][layer].inputs[1]]
        buffer = model.buffers[tensor.buffer]
        dtype = np.float32 if tensor.type == FLOAT32 else np.int8
        values = np.frombuffer(bytes(bytearray(buffer.data)), dtype).copy().reshape(tensor.shape)
        change(values)
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)

    def of_onnx(graph: Any, arrays: dict[str, Any]) -> None:
        name = next(key for key, values in arrays.items() if values.shape == (CONV, DENSE, LAST)[layer])
        change(arrays[name] if layer == 0 else arrays[name].T)

    def plant(path: Path) -> None:
        faults.edit_tflite(path, of_tflite) if path.suffix == ".tflite" else faults.edit_onnx(path, of_onnx)

    return plant


def one_weight(values: Any) -> None:
    values[7, 3] += values.dtype.type(50 if values.dtype.kind in "iu" else 0.25)


def swapped(values: Any) -> None:
    values[[3, 8]] = values[[8, 3]]


def doubled(values: Any) -> None:
    values *= 2


def scale(layer: int, factor: float) -> Callable[[Path], None]:
    """Multiply the scales of a layer's kernel."""

    def of_tflite(model: Any, graph: Any) -> None:
        tensor = graph.tensors[[item for item in graph.operators if len(item.inputs) == 3][layer].inputs[1]]
        tensor.quantization.scale = tensor.quantization.scale * np.float32(factor)

    def of_onnx(graph: Any, arrays: dict[str, Any]) -> None:
        shape = (CONV, DENSE, LAST)[layer]
        nodes = (item for item in graph.node if item.op_type == "DequantizeLinear" and item.input[0] in arrays)
        name = next(item.input[1] for item in nodes if arrays[item.input[0]].shape == shape)
        arrays[name] = arrays[name] * np.float32(factor)

    def plant(path: Path) -> None:
        faults.edit_tflite(path, of_tflite) if path.suffix == ".tflite" else faults.edit_onnx(path, of_onnx)

    return plant
