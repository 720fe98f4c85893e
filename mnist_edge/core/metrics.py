"""Compares outputs: accuracy, flips with their margins, differences in probability, logit errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.optional import installed

Outputs = NDArray[np.float32]


@dataclass(frozen=True)
class Comparison:
    """A candidate's outputs beside a reference's, on the same `count` images.

    Accuracies are shares of 1; `lost` images are right in the reference alone, `gained` in the candidate alone.
    `confidence_error` is the root mean square of the change in the probability of the reference's first choice;
    `confidence_slope` of what that changes for a small change of 1 in the lead of its logit, p (1 - p).
    `flips` are the indices of the images whose class changed, `margins` the reference's lead of its first over its
    second choice on each: a flip at 0.001 is noise, one at 0.6 is a bug. `usual_difference` is the largest difference
    but for one image in a thousand, which may lie outside of what calibration has seen.
    """

    count: int
    accuracy: float
    reference_accuracy: float
    lost: int
    gained: int
    flips: tuple[int, ...]
    margins: tuple[float, ...]
    largest_difference: float
    mean_difference: float
    confidence_error: float
    confidence_slope: float
    usual_difference: float

    @property
    def drop(self) -> float:
        """Return the accuracy lost against the reference, in percentage points."""
        return 100 * (self.lost - self.gained) / self.count

    @property
    def largest_margin(self) -> float:
        """Return the reference's largest margin among the flips; 0 where there are none."""
        return max(self.margins, default=0.0)

    @property
    def logit_error(self) -> float:
        """The least error of every logit, up or down, that explains what is seen, but for one image in a thousand.

        Logits that are each off by at most e move a probability by at most tanh(e / 2), and change the class only
        where the margin is at most tanh(e): both follow from odds that change by a factor of at most exp(2e).
        """
        if not self.usual_difference < 1:
            return float("inf")
        margins = sorted(self.margins, reverse=True)[_outliers(self.count) :]
        margin = min(max(margins, default=0.0), 1 - 1e-7)
        return float(max(2 * np.arctanh(self.usual_difference), np.arctanh(margin)))

    @property
    def logit_noise(self) -> float:
        """The root mean square error of the leading logit that makes the `confidence_error`."""
        return self.confidence_error / max(self.confidence_slope, 1e-12)


def margins(outputs: Outputs) -> NDArray[np.float32]:
    """Return the lead of the first over the second choice, `[N]`, for probabilities `[N, 10]`."""
    ranked = np.sort(outputs, axis=1)
    return ranked[:, -1] - ranked[:, -2]


def logit_margins(outputs: Outputs) -> NDArray[np.float64]:
    """Return the lead of the first over the second logit, `[N]`, for probabilities `[N, 10]`."""
    ranked = np.sort(outputs, axis=1)[:, -2:].astype(np.float64)
    tiny = np.finfo(np.float32).tiny
    return np.asarray(np.log(np.maximum(ranked[:, 1], tiny)) - np.log(np.maximum(ranked[:, 0], tiny)))


def compare(reference: Outputs, candidate: Outputs, labels: NDArray[np.uint8]) -> Comparison:
    """Return the comparison of outputs float32 `[N, 10]` with a reference's; NaN counts as difference 1."""
    before, after = reference.argmax(axis=1), candidate.argmax(axis=1)
    flips = np.flatnonzero(before != after)
    was, now = before[flips] == labels[flips], after[flips] == labels[flips]
    difference = np.nan_to_num(np.abs(reference - candidate), nan=1.0)
    top = np.arange(len(labels)), before
    confidence = reference[top].astype(np.float64)
    right = int((before == labels).sum())
    lost, gained = int(was.sum()), int(now.sum())
    return Comparison(
        count=len(labels),
        accuracy=(right - lost + gained) / len(labels),
        reference_accuracy=right / len(labels),
        lost=lost,
        gained=gained,
        flips=tuple(flips.tolist()),
        margins=tuple(margins(reference[flips]).tolist()),
        largest_difference=float(difference.max()),
        mean_difference=float(difference.mean()),
        confidence_error=_rms(difference[top]),
        confidence_slope=_rms(confidence * (1 - confidence)),
        usual_difference=float(np.sort(difference.max(axis=1))[-1 - _outliers(len(labels))]),
    )


def _outliers(count: int) -> int:
    """Return how many images may lie outside of what calibration has seen."""
    return count // 1000


def _rms(values: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


@dataclass(frozen=True)
class Pair:
    """Two files, or a file and Keras: on which images their classes differ, and Keras's margin on each."""

    first: str
    second: str
    flips: tuple[int, ...]
    margins: tuple[float, ...]


def all_pairs(outputs: Mapping[str, Outputs], reference: Outputs) -> tuple[Pair, ...]:
    """Return the comparison of each two; `outputs` maps names to float32 `[N, 10]` on the same images."""
    classes = {name: values.argmax(axis=1) for name, values in outputs.items()}
    margin = margins(reference)
    pairs = []
    for first, second in combinations(outputs, 2):
        flips = np.flatnonzero(classes[first] != classes[second])
        pairs.append(Pair(first, second, tuple(flips.tolist()), tuple(margin[flips].tolist())))
    return tuple(pairs)


@dataclass(frozen=True)
class Interval:
    """The paired 95 % confidence interval of a drop in accuracy, in points, and the p-value of no drop at all."""

    low: float
    high: float
    p: float

    @property
    def within_noise(self) -> bool:
        """Return whether the interval holds 0: so many images may change sides by chance."""
        return self.low <= 0 <= self.high


def mcnemar_interval(comparison: Comparison) -> Interval | None:
    """Return the exact interval of a drop: Clopper and Pearson over the images on which just one of the two is right.

    None where SciPy is not installed, as on a device.
    """
    if not installed("scipy"):
        return None
    changed = comparison.lost + comparison.gained
    if not changed:
        return Interval(0.0, 0.0, 1.0)
    from scipy.stats import binomtest

    test = binomtest(comparison.lost, changed)
    share = test.proportion_ci(confidence_level=0.95, method="exact")
    low, high = (100 * changed * (2 * end - 1) / comparison.count for end in (share.low, share.high))
    return Interval(float(low), float(high), float(test.pvalue))
