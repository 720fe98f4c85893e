"""The differences of two model files, A and B."""

import filecmp
import math
from dataclasses import dataclass
from enum import StrEnum

from mnist_edge.core.text import flat
from mnist_edge.formats.inspection import Description
from mnist_edge.formats.weights import Layer


class Verdict(StrEnum):
    """How a part of A and B differs: not, by no more than rounding explains, as the layers before it do, or by more."""

    SAME = "same"
    ROUNDING = "rounding"
    INHERITED = "inherited"
    DIFFERS = "DIFFERS"


AGREES = (Verdict.SAME, Verdict.ROUNDING)
FAR = 12.0  # dB


@dataclass(frozen=True)
class WeightDiff:
    """The kernel, the bias or another constant of a layer in A and in B.

    `shape` is in Keras's layout, that of B in `other_shape` where it is another; `largest` the largest difference of a
    number, `snr` the signal-to-noise ratio of B against A in dB. `beyond` numbers differ by more than the rounding of
    both files explains, and `detail` says how.
    """

    role: str
    shape: tuple[int, ...]
    other_shape: tuple[int, ...]
    dtypes: tuple[str, str]
    largest: float
    snr: float
    beyond: int
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True)
class LayerDiff:
    """A layer of A and the one of B that it was paired with."""

    a: Layer
    b: Layer
    weights: tuple[WeightDiff, ...]

    @property
    def verdict(self) -> Verdict:
        """Return the worst verdict of its weights."""
        return worst([item.verdict for item in self.weights])


@dataclass(frozen=True)
class TensorDiff:
    """What a layer of A gives on the golden images, and its counterpart in B.

    `behind` is the last layer with weights up to here. `snr` is the signal-to-noise ratio of B against A in dB,
    `expected` the least for rounding alone (see `diff.tensors`), `largest` the largest difference and `reach` the
    largest magnitude in A.
    """

    a: str
    b: str
    behind: str
    snr: float
    expected: float
    largest: float
    reach: float
    verdict: Verdict

    @property
    def place(self) -> str:
        """Return where it is, with its ratio: `MaxPool_0, behind Conv_0 (12.7 dB)`."""
        behind = f", behind {self.behind}" if self.behind not in ("", self.a) else ""
        return f"{flat(self.a)}{behind} ({decibels(self.snr)})"


@dataclass(frozen=True)
class Side:
    """One of the two files: its path as it was given, its format's name, and what is in it."""

    path: str
    format: str
    description: Description


@dataclass(frozen=True)
class DiffReport:
    """All differences. `ends` are those of inputs and outputs, `alone_a` and `alone_b` the layers that do not pair.

    `operators` are kinds with their counts in A and in B, where these differ; two formats name their operators
    differently, so all are told then, and do not count. `not_compared_a` and `not_compared_b` are layers whose kernel
    is computed in the file, and where there are two formats operators without a kernel: each format has its own.
    `tensors` are in the order of A's execution, on `images` images; `not_run` says why there are none.
    """

    a: Side
    b: Side
    operators: tuple[tuple[str, int, int], ...]
    ends: tuple[str, ...]
    layers: tuple[LayerDiff, ...]
    alone_a: tuple[Layer, ...]
    alone_b: tuple[Layer, ...]
    not_compared_a: tuple[Layer, ...]
    not_compared_b: tuple[Layer, ...]
    tensors: tuple[TensorDiff, ...]
    images: int
    not_run: str | None

    @property
    def one_format(self) -> bool:
        """Return whether both files are of one format."""
        return self.a.format == self.b.format

    @property
    def verdict(self) -> Verdict:
        """Return the worst verdict of layers and of what they compute; a layer without a counterpart differs."""
        alone = [Verdict.DIFFERS] if self.alone_a or self.alone_b else []
        return worst([*alone, *(item.verdict for item in self.layers), *(item.verdict for item in self.tensors)])

    @property
    def whole(self) -> bool:
        """Return whether enough was compared to say that nothing differs: what they compute, or all of their bytes."""
        return self.not_run is None or filecmp.cmp(self.a.path, self.b.path, shallow=False)

    @property
    def same(self) -> bool:
        """Return whether nothing differs: not the network, and not inputs, outputs or operators either."""
        alike = self.verdict is Verdict.SAME and not self.ends and not (self.one_format and self.operators)
        return alike and self.whole

    @property
    def parts_at(self) -> TensorDiff | None:
        """Return the first layer at which they part by more than rounding explains; None where they do not."""
        return next((item for item in self.tensors if item.verdict is Verdict.DIFFERS), None)

    @property
    def first_changed(self) -> LayerDiff | None:
        """Return the first layer whose weights differ by more than rounding explains; None where none do."""
        return next((item for item in self.layers if item.verdict is Verdict.DIFFERS), None)

    @property
    def headline(self) -> str:
        """Return in one line whether and where they differ."""
        first, parts = self.first_changed, self.parts_at
        if first is not None:
            change = next(item for item in first.weights if item.verdict is Verdict.DIFFERS)
            count = sum(item.verdict is Verdict.DIFFERS for item in self.layers)
            more = f" and {count - 1} more layers" if count > 2 else " and another layer" if count == 2 else ""
            return f"They differ, first in the {change.role} of {first.a.name}{more}: {change.detail}."
        if alone := (*self.alone_a, *self.alone_b):
            where = "A has no counterpart in B" if self.alone_a else "B has no counterpart in A"
            return f"They differ: {alone[0].name} of {where}."
        if parts is not None:
            return f"They differ: the weights agree, and the numbers part from {parts.place} on."
        return self._headline_without_fault()

    def _headline_without_fault(self) -> str:
        facts = ["inputs or outputs"] * bool(self.ends) + ["operators"] * bool(self.one_format and self.operators)
        other = " and ".join(facts)
        moved = next((item for item in self.tensors if item.verdict is Verdict.ROUNDING), None)
        if moved is not None and all(item.verdict is Verdict.SAME for item in self.layers):
            return f"The weights are the same; from {moved.place} on the numbers differ as rounding explains."
        if self.verdict is Verdict.ROUNDING:
            return (
                f"They differ as rounding explains; {other} differ too."
                if other
                else "They differ as rounding explains."
            )
        if not self.whole:
            found = f"Their {other} differ" if other else "Nothing that was compared differs"
            return f"{found}; whether they are the same network is not known, as they were not run."
        return f"They are the same network; {other} differ." if other else "They are the same network; nothing differs."

    def rewritten(self, layer: LayerDiff) -> bool:
        """Return whether most weights of a layer differ, and what it gives is far nearer than they are.

        Then an operator before or after it is folded into it in one of the files.
        """
        weights = [item.snr for item in layer.weights if 2 * item.beyond > math.prod(item.shape)]
        outputs = [item.snr for item in self.tensors if item.a == layer.a.output and item.verdict in AGREES]
        return bool(weights and outputs) and max(outputs) > min(weights) + FAR


def decibels(snr: float) -> str:
    """Return a signal-to-noise ratio as text."""
    return "exact" if snr == float("inf") else "not finite" if snr == -float("inf") else f"{snr:.1f} dB"


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return the worst of some verdicts."""
    return max(verdicts, key=list(Verdict).index, default=Verdict.SAME)
