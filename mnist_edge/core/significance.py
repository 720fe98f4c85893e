"""Is a drop in accuracy more than noise? Exact McNemar, by SciPy."""

from dataclasses import dataclass
from typing import Self

from mnist_edge.core.metrics import Comparison
from mnist_edge.core.optional import installed


@dataclass(frozen=True)
class Interval:
    """The paired 95 % confidence interval of a drop in accuracy, in points, and the p-value of no drop at all."""

    low: float
    high: float
    p: float

    @classmethod
    def of(cls, found: Comparison) -> Self | None:
        """Give the exact interval (Clopper and Pearson over the images on which just one of the two is right).

        None where SciPy is not installed, as on a device.
        """
        if not installed("scipy"):
            return None
        changed = found.lost + found.gained
        if not changed:
            return cls(0.0, 0.0, 1.0)
        from scipy.stats import binomtest

        test = binomtest(found.lost, changed)
        share = test.proportion_ci(confidence_level=0.95, method="exact")
        low, high = (100 * changed * (2 * end - 1) / found.count for end in (share.low, share.high))
        return cls(float(low), float(high), float(test.pvalue))

    @property
    def within_noise(self) -> bool:
        """Whether the interval holds 0: so many images may change sides by chance."""
        return self.low <= 0 <= self.high
