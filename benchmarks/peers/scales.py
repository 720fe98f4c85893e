"""What pixels become at the input of a file: the numbers that its network was trained on, and their integers."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from peers.network import Bytes, Call, accuracy

RANGES = {
    "0..1": (0.0, 1.0),
    "0..255": (0.0, 255.0),
    "-1..1": (-1.0, 1.0),
    "1..0": (1.0, 0.0),
    "255..0": (255.0, 0.0),
    "1..-1": (1.0, -1.0),
}
"""What a black pixel and a white one become; the last three invert."""


def table(
    dtype: np.dtype[np.generic], ends: tuple[float, float], scale: float = 0, zero: int = 0
) -> NDArray[np.generic]:
    """Return the number of each of the 256 pixels at an input of `dtype`; `scale` is 0 where it is not quantized."""
    real = np.linspace(ends[0], ends[1], 256)
    if dtype.kind == "f":
        return real.astype(dtype)
    limits = np.iinfo(dtype)  # type: ignore[type-var]
    return np.clip(np.round(real / scale + zero if scale else real), limits.min, limits.max).astype(dtype)


def probabilities(call: Call, image: NDArray[np.uint8]) -> Call:
    """Return `call`, with Softmax after it where what it gives for `image` does not add up to 1."""
    first = call(image)
    if first.min() >= 0 and abs(float(first.sum()) - 1) < 0.05:
        return call

    def with_softmax(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = call(image)
        powers = np.exp(logits - logits.max())
        return np.asarray(powers / powers.sum(), np.float32)

    return with_softmax


def find_range(open_call: Callable[[tuple[float, float]], Call], images: Bytes, labels: Bytes) -> str:
    """Return the range of the input that reads most training images right, the first of equals."""
    return max(RANGES, key=lambda name: accuracy(open_call(RANGES[name]), images, labels))
