"""Writes a TFLite model in few bytes: equal parts are stored once, and what no runtime reads is left out."""

from typing import Any

import numpy as np

MIN_RUNTIME = b"min_runtime_version"
"""The only metadata of the converter that is kept: `inspect` shows it."""


def compact(model: Any) -> bytes:
    """Return the bytes of a model object, without ranges of calibration, empty buffers and the converter's notes."""
    model.description = None
    _drop_buffers(model)
    packed: dict[Any, _Once] = {}
    for graph in model.subgraphs:
        graph.name = None
        for tensor in graph.tensors:
            tensor.hasRank = tensor.hasRank and tensor.shape is not None and len(tensor.shape) == 0
            quantization = tensor.quantization
            if quantization is None:
                continue
            quantization.min = quantization.max = None
            if quantization.scale is None and quantization.details is None:
                tensor.quantization = None
            elif quantization.details is None:
                key = tuple(np.asarray(item).tobytes() for item in (quantization.scale, quantization.zeroPoint))
                key = (*key, quantization.quantizedDimension)
                tensor.quantization = packed.setdefault(key, _Once(quantization))
        for operator in graph.operators:
            if (options := operator.builtinOptions) is not None:
                same = type(options).__name__, repr(sorted(vars(options).items()))
                operator.builtinOptions = packed.setdefault(same, _Once(options))
    return _pack(model)


def _drop_buffers(model: Any) -> None:
    """Keep the buffers that hold something, and the first, which by the format's rule is empty and stands for none."""
    model.metadata = [item for item in model.metadata or () if item.name == MIN_RUNTIME] or None
    owners = [tensor for graph in model.subgraphs for tensor in graph.tensors] + (model.metadata or [])
    kept = [model.buffers[0]]
    places: dict[int, int] = {0: 0}
    for owner in owners:
        index, buffer = owner.buffer, model.buffers[owner.buffer]
        if index not in places:
            empty = (buffer.data is None or len(buffer.data) == 0) and not buffer.size
            places[index] = 0 if empty else len(kept)
            if not empty:
                kept.append(buffer)
        owner.buffer = places[index]
    model.buffers = kept


class _Once:
    """A table that is packed once, for all that refer to it."""

    def __init__(self, table: Any) -> None:
        self._table, self._offset = table, None

    def Pack(self, builder: Any) -> Any:  # the name that generated code calls
        """Return the offset of the table."""
        if self._offset is None:
            self._offset = self._table.Pack(builder)
        return self._offset


def _pack(model: Any) -> bytes:
    import flatbuffers

    class Builder(flatbuffers.Builder):  # type: ignore[misc,name-defined,unused-ignore]
        """Writes equal vectors and strings once."""

        def __init__(self) -> None:
            super().__init__(1024)
            self._vectors: dict[tuple[str, bytes], Any] = {}

        def CreateNumpyVector(self, x: Any) -> Any:
            key = x.dtype.str, x.tobytes()
            if key not in self._vectors:
                self._vectors[key] = super().CreateNumpyVector(x)
            return self._vectors[key]

        def CreateString(self, s: Any, *args: Any) -> Any:
            key = "string", s if isinstance(s, bytes) else s.encode()
            if key not in self._vectors:
                self._vectors[key] = super().CreateString(s, *args)
            return self._vectors[key]

    builder = Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
