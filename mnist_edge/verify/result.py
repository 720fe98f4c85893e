"""The results of `verify`: the verdict on each artifact, and the checks around them."""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.host import Host
from mnist_edge.core.manifest import Artifact, Manifest
from mnist_edge.core.metrics import Comparison, Interval, Pair, all_pairs
from mnist_edge.formats import runtime_versions
from mnist_edge.formats.inspection import Footprint
from mnist_edge.verify.diagnosis import Diagnosis, InternalCheck
from mnist_edge.verify.tolerances import AccuracyBudget, ToleranceResult
from mnist_edge.verify.variants import VariantResult

KERAS_NAME = "Keras"
GUESSING = 0.2  # share of images that one class alone, or chance, may give


class Status(StrEnum):
    """The outcome of a check. What could not be checked is SKIPPED, never passed."""

    PASS = "PASS"
    FAIL = "FAIL"
    SKIPPED = "SKIPPED"


@dataclass(frozen=True)
class Sample:
    """The compared images, uint8 `[N, 28, 28]`, with their labels `[N]` and Keras's probabilities `[N, 10]`."""

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    keras: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ArtifactResult:
    """The verdict on one artifact. Where it could not be run, it has no comparison and no outputs.

    `reasons` say why it failed or was skipped, `notes` what else is worth knowing. `comparison` is with Keras,
    `budget` the verdict on the accuracy that a quantized file loses, `on_host` the comparison with the outputs that the
    exporting host recorded of the same file. `outputs` are `[N, 10]` on the sample; `footprint` is the memory that a
    file needs on another kind of machine. `broken_runtime` says that its runtime is installed, and does not load here.
    """

    artifact: Artifact
    status: Status
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tolerances: tuple[ToleranceResult, ...] = ()
    comparison: Comparison | None = None
    interval: Interval | None = None
    budget: AccuracyBudget | None = None
    on_host: Comparison | None = None
    variants: tuple[VariantResult, ...] = ()
    internal_check: InternalCheck | None = None
    diagnosis: Diagnosis | None = None
    outputs: NDArray[np.float32] | None = None
    footprint: Footprint | None = None
    broken_runtime: bool = False

    @property
    def over_budget(self) -> bool:
        """Return whether the file loses more accuracy than the user allowed."""
        return self.budget is not None and self.budget.chosen and not self.budget.within

    @property
    def judged(self) -> Status:
        """Return the status, which is FAIL also of a file that is over the user's budget."""
        return Status.FAIL if self.over_budget else self.status

    @property
    def why(self) -> list[str]:
        """Return why the file is not good, a line each: the reasons, the likely cause, the budget that it is over."""
        lines = [*self.reasons, *([str(self.diagnosis)] if self.diagnosis else [])]
        return [*lines, str(self.budget)] if self.over_budget else lines


@dataclass(frozen=True)
class Check:
    """A check that is not about one artifact."""

    name: str
    status: Status
    detail: str


@dataclass(frozen=True)
class VerifyReport:
    """All verdicts of one run of `verify`; `passed` sums them up.

    `results` has one verdict a file, `checks` those that are not about one file. `manifest` is None where the file was
    not exported by mnist-edge.
    """

    model: str
    dataset: str
    manifest: Manifest | None
    sample: Sample
    results: tuple[ArtifactResult, ...]
    checks: tuple[Check, ...]
    host: Host = field(default_factory=Host.read)
    versions: dict[str, str] = field(default_factory=runtime_versions)

    @property
    def warnings(self) -> list[str]:
        """Return what to know before any verdict: a network that is right by chance alone."""
        right = float((self.sample.keras.argmax(axis=1) == self.sample.labels).mean())
        if right >= GUESSING:
            return []
        return [
            f"Keras itself is right on {right:.1%} of {self.sample.name}, hardly more than by guessing: files that do "
            "what it does are of no use. Was it trained, and on pixels of this range?"
        ]

    def statuses(self) -> list[Status]:
        """Return every verdict, of artifacts and of checks."""
        return [result.status for result in self.results] + [check.status for check in self.checks]

    @property
    def passed(self) -> bool:
        """Return whether nothing failed; what was skipped is in `statuses`."""
        return self.passes()

    def passes(self, strict: bool = False) -> bool:
        """Return whether nothing failed or is over the user's budget and, where `strict`, nothing was skipped."""
        bad = {Status.FAIL, Status.SKIPPED} if strict else {Status.FAIL}
        return not bad & {*self.statuses(), *(item.judged for item in self.results)}

    @property
    def outputs(self) -> dict[str, NDArray[np.float32]]:
        """Return Keras's outputs and those of every artifact that ran, by name."""
        ran = {item.artifact.path.name: item.outputs for item in self.results if item.outputs is not None}
        return {KERAS_NAME: self.sample.keras, **ran}

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Return the comparison of each two of Keras and the artifacts."""
        return all_pairs(self.outputs, self.sample.keras)
