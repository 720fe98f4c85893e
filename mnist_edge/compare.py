"""Two arrays of outputs → what differs: accuracy, flips with their margins, differences in probability."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Outputs = NDArray[np.float32]


@dataclass(frozen=True)
class Comparison:
    """A candidate's outputs beside a reference's, on the same `count` images.

    Accuracies are shares of 1; `drop` is in percentage points, positive where the candidate is worse.
    `flips` are the indices of the images whose class changed, `margins` the reference's lead of its first over its
    second choice on each: a flip at 0.001 is noise, one at 0.6 is a bug. `close_images` counts those that rounding
    may flip: the reference's margin on them is at most the limit that `compare` was given.
    """

    count: int
    accuracy: float
    reference_accuracy: float
    flips: tuple[int, ...]
    margins: tuple[float, ...]
    close_images: int
    largest_difference: float
    mean_difference: float

    @property
    def drop(self) -> float:
        """Accuracy lost against the reference, in percentage points."""
        return 100 * (self.reference_accuracy - self.accuracy)

    @property
    def largest_margin(self) -> float:
        """The reference's largest margin among the flips; 0 where there are none."""
        return max(self.margins, default=0.0)


def margins(outputs: Outputs) -> NDArray[np.float32]:
    """Give the lead of the first over the second choice, `[N]`, for probabilities `[N, 10]`."""
    ranked = np.sort(outputs, axis=1)
    return ranked[:, -1] - ranked[:, -2]


def compare(reference: Outputs, candidate: Outputs, labels: NDArray[np.uint8], close: float = 0.0) -> Comparison:
    """Compare float32 outputs `[N, 10]` with a reference's, given the labels `[N]`; NaN counts as difference 1.

    `close` is the margin up to which an image counts as one that rounding may flip.
    """
    before, after = reference.argmax(axis=1), candidate.argmax(axis=1)
    flips = np.flatnonzero(before != after)
    difference = np.nan_to_num(np.abs(reference - candidate), nan=1.0)
    return Comparison(
        count=len(labels),
        accuracy=float((after == labels).mean()),
        reference_accuracy=float((before == labels).mean()),
        flips=tuple(flips.tolist()),
        margins=tuple(margins(reference[flips]).tolist()),
        close_images=int((margins(reference) <= close).sum()),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
    )
