"""Reads the weights of any `.tflite` file layer by layer, without running it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.reading import read_bytes, reading
from mnist_edge.formats.base import MOST_BYTES
from mnist_edge.formats.inspection import kinds_in
from mnist_edge.formats.tflite.inspect import operator_codes, schema_module, type_names, unpacked
from mnist_edge.formats.tflite.trace import BIAS_PLACE, BIAS_PLACE_OF_OTHERS, LAYERS
from mnist_edge.formats.weights import (
    BIAS,
    KERNEL,
    Layer,
    Weights,
    along,
    float_step,
    in_keras_layout,
    printable,
)

NUMBERS = kinds_in("float16 float32 float64 int4 int8 uint8 int16 uint16 int32 uint32 int64 uint64")


def layers(path: Path) -> tuple[Layer, ...]:
    """Return the operators of a file that have weights. Raises ArtifactError where it is not a TFLite file."""
    schema = schema_module()
    with reading(ArtifactError, f"{path} is not a whole TFLite file"):
        model = unpacked(read_bytes(path, MOST_BYTES), schema)
        return printable(_Reader(model, schema).layers())


class _Reader:
    """Goes through the operators of a model's first graph in their order."""

    def __init__(self, model: Any, schema: Any) -> None:
        self._model, self._graph = model, model.subgraphs[0]
        self._types = type_names(schema)
        kinds = operator_codes(model, schema)
        self._operators = [(kinds[item.opcodeIndex][0], item) for item in self._graph.operators]
        self._behind = {
            item.outputs[0]: item.inputs[0] for kind, item in self._operators if kind in ("DEQUANTIZE", "DENSIFY")
        }

    def layers(self) -> Iterator[Layer]:
        """Yield the layers."""
        for place, (kind, operator) in enumerate(self._operators):
            if kind in ("DEQUANTIZE", "QUANTIZE") or not len(operator.outputs):
                continue
            output = (self._graph.tensors[operator.outputs[0]].name or b"").decode(errors="replace")
            name = output or f"{kind.lower()} {place}"
            if kind in LAYERS:
                yield Layer(name, kind, output, self._of_layer(kind, operator))
            else:
                found = (self._weights(f"input {place}", index) for place, index in enumerate(operator.inputs))
                if weights := tuple(item for item in found if item is not None):
                    yield Layer(name, kind, output, weights)

    def _of_layer(self, kind: str, operator: Any) -> tuple[Weights, ...]:
        """Return kernel and bias of a convolution or Dense layer; nothing where the kernel is no constant."""
        kernel = self._weights(KERNEL, operator.inputs[1])
        if kernel is None:
            return ()
        place = BIAS_PLACE.get(kind, BIAS_PLACE_OF_OTHERS)
        bias = self._weights(BIAS, operator.inputs[place]) if len(operator.inputs) > place else None
        layout = LAYERS[kind] if kernel.values.ndim == len(LAYERS[kind]) else ""
        return (in_keras_layout(kernel, layout), *([bias] if bias is not None else []))

    def _weights(self, role: str, index: int) -> Weights | None:
        """Return a constant as real numbers; None where a tensor is none, or holds shapes or places."""
        if index < 0:
            return None
        tensor = self._graph.tensors[self._behind.get(index, index)]
        data, dtype = self._model.buffers[tensor.buffer].data, self._types.get(tensor.type, "?")
        if data is None or not len(data) or dtype not in NUMBERS:
            return None
        numbers = _numbers(np.asarray(data, np.uint8), dtype, [int(size) for size in tensor.shape])
        scales = () if tensor.quantization is None or tensor.quantization.scale is None else tensor.quantization.scale
        if not len(scales):
            if numbers.dtype.kind != "f":
                return None
            return Weights(role, np.asarray(numbers, np.float32), dtype, float_step(numbers))
        axis = int(tensor.quantization.quantizedDimension or 0)
        step = along(scales, numbers.ndim, axis)
        zero_point = tensor.quantization.zeroPoint
        offset = along([0] if zero_point is None or not len(zero_point) else zero_point, numbers.ndim, axis)
        with np.errstate(over="ignore", invalid="ignore"):
            return Weights(role, (numbers.astype(np.float32) - offset) * step, dtype, step)


def _numbers(data: Any, dtype: str, shape: list[int]) -> Any:
    """Return the numbers of a buffer; two of int4 share a byte, the lower four bits first."""
    if dtype != "int4":
        return data.view(np.dtype(dtype).newbyteorder("<")).reshape(shape)
    halves = np.stack([data << 4, data], axis=1).ravel().view(np.int8) >> 4
    return halves[: int(np.prod(shape))].reshape(shape)
