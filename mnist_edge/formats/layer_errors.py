"""The errors of a file's layers against Keras's, the worst layer first."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats.inspection import Trace

FAR_OFF = 12.0  # dB: int8 gives 20 and more


@dataclass(frozen=True)
class LayerError:
    """One Keras layer beside the tensor of a file that is nearest to it.

    `sqnr` is the signal-to-quantization-noise ratio in dB, infinite where both are the same; `cosine` the cosine of the
    angle between them; `largest` the largest difference, and `reach` the largest magnitude in Keras; `saturated` the
    share of values that lie at an end of the file's range while Keras's lie beyond it: the others leave these out.
    """

    layer: str
    tensor: str
    sqnr: float
    cosine: float
    largest: float
    reach: float
    saturated: float

    @property
    def decibels(self) -> str:
        """Return `sqnr` as text for a table."""
        return f"{self.sqnr:.1f}" if np.isfinite(self.sqnr) else "exact" if self.sqnr > 0 else "not finite"


def sqnr(signal: NDArray[np.float32], candidate: NDArray[np.float32]) -> float:
    """Return the signal-to-quantization-noise ratio in dB, 10 log10(signal power / error power); -inf for NaN."""
    noise = float(np.square(signal - candidate, dtype=np.float64).sum())
    power = float(np.square(signal, dtype=np.float64).sum())
    if not np.isfinite(noise):
        return -float("inf")
    return float("inf") if noise == 0 else 10 * float(np.log10(max(power, 1e-30) / noise))


def saturated(signal: NDArray[np.float32], candidate: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which values are at the lowest or highest number of the candidate while the signal goes beyond it."""
    low, high = candidate.min(), candidate.max()
    slack = 0.01 * (high - low)
    below, above = (candidate == low) & (signal < low - slack), (candidate == high) & (signal > high + slack)
    return np.asarray(below | above)


def candidates(values: NDArray[np.float32], trace: Trace) -> list[tuple[str, NDArray[np.float32]]]:
    """Return the tensors that have the shape of a layer's output, and the same after a Relu where the layer has one."""
    tensors = [(name, tensor) for name, tensor in trace.tensors if tensor.shape == values.shape]
    if values.min() >= 0:
        tensors += [(f"{name} after Relu", np.maximum(tensor, 0)) for name, tensor in tensors if tensor.min() < 0]
    return tensors


def layer_errors(keras: Trace, other: Trace, quantized: bool) -> tuple[LayerError, ...]:
    """Return the errors of a file's layers against Keras's; layers without a tensor in the file are left out.

    Only a quantized file has an end to its range at which values saturate.
    """
    errors = []
    for layer, values in keras.tensors:
        tensors = candidates(values, other)
        if not tensors:
            continue
        name, tensor = max(tensors, key=lambda item: sqnr(values, item[1]))
        beyond = saturated(values, tensor) & quantized
        expected, actual = values[~beyond], tensor[~beyond]
        lengths = float(np.linalg.norm(expected.astype(np.float64)) * np.linalg.norm(actual.astype(np.float64)))
        errors.append(
            LayerError(
                layer=layer,
                tensor=name,
                sqnr=sqnr(expected, actual),
                cosine=float(np.vdot(expected.astype(np.float64), actual)) / lengths if lengths else 0.0,
                largest=float(np.abs(expected - actual).max(initial=0)),
                reach=float(np.abs(values).max()),
                saturated=float(beyond.mean()),
            )
        )
    return tuple(sorted(errors, key=lambda error: error.sqnr))


def first_far_off(keras: Trace, errors: Iterable[LayerError]) -> str | None:
    """Return the first layer, in the order of computation, that is far off, with its error; None where none is."""
    by_layer = {error.layer: error.sqnr for error in errors}
    far_off = (name for name, _ in keras.tensors if by_layer.get(name, FAR_OFF) < FAR_OFF)
    name = next(far_off, None)
    return None if name is None else f"{name} ({by_layer[name]:.0f} dB)"
