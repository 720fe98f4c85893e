"""Traces a Keras model: its kernels, and what each of its layers gives; and computes it with one of them changed."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import ConversionError
from mnist_edge.core.optional import silenced
from mnist_edge.formats.inspection import Kernel, Trace
from mnist_edge.formats.keras.folding import folded
from mnist_edge.formats.keras.signature import without_softmax
from mnist_edge.formats.keras.structure import run

LOGITS = "logits"
Array = NDArray[np.float32]


@dataclass(frozen=True)
class _Weight:
    """A kernel: the variable that holds it, its shape as an image or matrix kernel, and the variable of the bias."""

    variable: Any
    shape: tuple[int, ...]
    layout: str
    bias: Any = None


class LayerTracer:
    """Looks at a Keras model in the form of the contract, with what converters fold folded."""

    def __init__(self, model: Any) -> None:
        with silenced():
            self._model = folded(model)
            self._logits = None
            with suppress(ConversionError):  # a Softmax that is no layer of its own: there are no logits to give
                self._logits = without_softmax(self._model)
        self._weights = {name: weight for layer in self._model.layers for name, weight in _weights(layer)}

    def trace(self, pixels: Array) -> Trace:
        """Return the kernels, and the outputs of layers that compute, for float32 `[N, 28, 28, 1]`."""
        tensors: list[tuple[str, Array]] = [("", pixels)]

        def note(name: str, output: Array) -> Array:
            tensors.append((name, output))
            return output

        self._run(self._model, pixels, note)
        if self._logits is not None:
            with silenced():
                tensors.append((LOGITS, np.asarray(run(self._logits, pixels))))
        computed = tuple(
            after for before, after in pairwise(tensors) if not np.array_equal(before[1].ravel(), after[1].ravel())
        )
        kernels = tuple(
            Kernel(name, np.asarray(weight.variable).reshape(weight.shape), weight.layout)
            for name, weight in self._weights.items()
        )
        return Trace(kernels, computed)

    def with_kernel(self, name: str, values: Array, pixels: Array, bias_too: bool = False) -> Array:
        """Return the outputs `[N, 10]` with another kernel in a layer, of the trace's shape.

        With `bias_too` each channel's bias changes in the ratio of the weights: runtimes compute it in their unit.
        """
        weight = self._weights[name]
        variable, bias = weight.variable, weight.bias
        before, bias_before = np.asarray(variable), np.asarray(0 if bias is None else bias)
        variable.assign(values.reshape(variable.shape))
        if bias_too and bias is not None:
            rest = tuple(axis for axis, letter in enumerate(weight.layout) if letter != "O")
            old = before.reshape(weight.shape)
            ratio = (values.reshape(weight.shape) * old).sum(axis=rest) / np.maximum((old * old).sum(axis=rest), 1e-30)
            bias.assign(bias_before * ratio.reshape(bias_before.shape))
        try:
            return self._run(self._model, pixels, lambda layer, output: output)
        finally:
            variable.assign(before)
            if bias is not None:
                bias.assign(bias_before)

    def with_output(self, name: str, change: Callable[[Array], Array], pixels: Array) -> Array:
        """Return the outputs `[N, 10]` with the output of a layer changed; of all layers behind it too."""
        if name == LOGITS and self._logits is not None:
            with silenced():
                logits = np.asarray(run(self._logits, pixels))
            changed = np.exp(change(logits) - change(logits).max(axis=1, keepdims=True))
            return np.asarray(changed / changed.sum(axis=1, keepdims=True), np.float32)
        return self._run(self._model, pixels, lambda layer, output: change(output) if layer == name else output)

    def _run(self, model: Any, pixels: Array, change: Callable[[str, Array], Array]) -> Array:
        """Return a model's outputs; `change` gets each layer's name and output, and returns what to go on with."""
        counts: Counter[str] = Counter()

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            output = layer(*args, **kwargs)
            if not hasattr(output, "dtype") or tuple(output.shape[:1]) != (len(pixels),):
                return output
            counts[layer.name] += 1
            number = f"_call{counts[layer.name]}" if counts[layer.name] > 1 else ""
            values = np.asarray(output)
            changed = change(f"{layer.name}{number}", values)
            return output if changed is values else np.asarray(changed, np.float32)

        with silenced():
            return np.asarray(run(model, pixels, call)).reshape(-1, 10)


def _weights(layer: Any) -> list[tuple[str, _Weight]]:
    """Return the kernels of a layer, by name."""
    kind = type(layer).__name__
    if kind == "SeparableConv2D":
        parts = (("depthwise", layer.depthwise_kernel), ("pointwise", layer.pointwise_kernel))
        return [(f"{layer.name}_{part}", _weight(layer, variable, part)) for part, variable in parts]
    if kind in {"Conv1D", "Conv2D", "Conv2DTranspose", "DepthwiseConv2D", "Dense", "EinsumDense"}:
        return [(layer.name, _weight(layer, layer.kernel, kind))]
    # attention holds its Dense layers inside
    inner = [item for item in getattr(layer, "_layers", []) if hasattr(item, "kernel")]
    return [(f"{layer.name}_{name}", weight) for item in inner for name, weight in _weights(item)]


def _weight(layer: Any, variable: Any, kind: str) -> _Weight:
    shape = tuple(variable.shape)
    bias = None if kind == "depthwise" else getattr(layer, "bias", None)
    if kind in {"DepthwiseConv2D", "depthwise"}:
        return _Weight(variable, (*shape[:2], 1, shape[2] * shape[3]), "HWIO", bias)
    if kind == "Conv1D":
        return _Weight(variable, (1, *shape), "HWIO", bias)
    if kind == "Conv2DTranspose":
        return _Weight(variable, shape, "HWOI", bias)
    if kind == "EinsumDense":
        inputs, kernel = layer.equation.split("->")[0].split(",")
        summed = int(np.prod([size for axis, size in zip(kernel, shape, strict=True) if axis in inputs]))
        return _Weight(variable, (summed, int(np.prod(shape)) // summed), "IO")
    return _Weight(variable, shape, "HWIO" if len(shape) == 4 else "IO", bias)
