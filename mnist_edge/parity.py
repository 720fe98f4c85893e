"""The stage `verify`: does every file give Keras's predictions, and does this runtime compute what the host did?

Reads only the manifest and its files; the dataset and TensorFlow are used where they are at hand.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from mnist_edge import reference
from mnist_edge.artifact import Artifact, Manifest, Precision
from mnist_edge.compare import Comparison, compare
from mnist_edge.data import Dataset
from mnist_edge.errors import FolderError, MissingRuntime
from mnist_edge.formats import FORMATS, runtime_versions
from mnist_edge.formats.base import Format
from mnist_edge.formats.keras import FORMAT as KERAS
from mnist_edge.host import Host
from mnist_edge.imports import versions

MODEL = "model.keras"
SCHEMA = 1


class Status(StrEnum):
    """What a check came to. What could not be checked is SKIPPED, never passed."""

    PASS = "PASS"
    FAIL = "FAIL"
    SKIPPED = "SKIPPED"


@dataclass(frozen=True)
class Tolerance:
    """How far an artifact may be from Keras, and this runtime from the exporting host's.

    `margin` is the largest lead of Keras's first choice over its second on an image that changes class; of the images
    that close, the share `flips` may change. `drop` is in percentage points of accuracy. Both allow `LEAST` images at
    least, because on 1 000 images one is already 0.1 points. `difference` (largest) and `mean` are in probability,
    against Keras; `host` is in probability, against what the exporting host computed from the same file.
    """

    drop: float
    margin: float
    flips: float
    difference: float
    mean: float
    host: float

    LEAST = 3

    def judge(self, found: Comparison, on_host: Comparison) -> list[str]:
        """Say, one line each, what is out of tolerance; an empty list passes."""
        drop = max(math.floor(self.drop / 100 * found.count), self.LEAST)
        flips = max(math.floor(self.flips * found.close_images), self.LEAST)
        lost = round(found.drop / 100 * found.count)
        checks = [
            (lost, drop, f"{lost} images fewer are right than in Keras ({drop} allowed)"),
            (len(found.flips), flips, f"{len(found.flips)} images change class ({flips} allowed)"),
            (
                found.largest_margin,
                self.margin,
                f"an image changes class on which Keras led by {found.largest_margin:.3f} ({self.margin:g} allowed)",
            ),
            (
                found.largest_difference,
                self.difference,
                f"a probability is {found.largest_difference:.2g} off ({self.difference:g} allowed)",
            ),
            (
                found.mean_difference,
                self.mean,
                f"probabilities are {found.mean_difference:.2g} off on average ({self.mean:g} allowed)",
            ),
            (
                on_host.largest_difference,
                self.host,
                f"this runtime is {on_host.largest_difference:.2g} off the exporting host ({self.host:g} allowed)",
            ),
        ]
        return [line for value, limit, line in checks if not value <= limit]


# float32 differs by the order of rounding only; float16 weights by 2**-11 of themselves. Where weights or activations
# are int8, two logits, each a step of 0.2 off, move a margin by tanh(0.2) = 0.2; the accuracy budget is the project's
# promise. `host` is what the runtimes differ by between x86-64 and arm64; dynamic files quantize float activations on
# the spot, so there a last bit can become a whole step.
TOLERANCES = {
    Precision.FLOAT32: Tolerance(drop=0.02, margin=1e-4, flips=1, difference=1e-4, mean=1e-6, host=5e-6),
    Precision.FLOAT16: Tolerance(drop=0.02, margin=0.01, flips=1, difference=0.01, mean=1e-4, host=5e-6),
    Precision.DYNAMIC: Tolerance(drop=0.10, margin=0.25, flips=0.25, difference=0.25, mean=0.005, host=0.01),
    Precision.INT8: Tolerance(drop=0.10, margin=0.25, flips=0.25, difference=0.25, mean=0.005, host=1e-6),
    Precision.INT16X8: Tolerance(drop=0.10, margin=0.25, flips=0.25, difference=0.25, mean=0.005, host=1e-4),
}
FULL_INTEGER_HOST = 1 / 256  # one step of an int8 Softmax, which runtimes round differently
# Another version of a runtime may round an int8 layer another way: a logit then is a step of 0.2 off, which moves a
# probability by 0.2 / 4 at the most.
OTHER_VERSION_HOST = 0.05


@dataclass(frozen=True)
class Result:
    """The verdict on one artifact; `comparison` and `on_host` are None where it is SKIPPED."""

    artifact: Artifact
    status: Status
    reasons: tuple[str, ...]
    comparison: Comparison | None = None
    on_host: Comparison | None = None


@dataclass(frozen=True)
class Check:
    """A check that is not about one artifact."""

    name: str
    status: Status
    detail: str


@dataclass(frozen=True)
class ParityReport:
    """All verdicts on a folder, and on what they rest."""

    manifest: Manifest
    images: int
    sample: str
    results: tuple[Result, ...]
    checks: tuple[Check, ...]
    host: Host
    versions: dict[str, str]

    def statuses(self) -> list[Status]:
        """Every verdict, of artifacts and of checks."""
        return [result.status for result in self.results] + [check.status for check in self.checks]

    def good(self, strict: bool = False) -> bool:
        """Tell whether nothing failed and, where `strict`, nothing was skipped."""
        bad = {Status.FAIL, Status.SKIPPED} if strict else {Status.FAIL}
        return not bad & set(self.statuses())


def verify(folder: Path, dataset: Dataset | None = None) -> ParityReport:
    """Check every artifact of a folder against Keras's recorded predictions.

    Args:
        folder: an export folder, or a bundle of one without `model.keras`.
        dataset: where it is the one exported with, all its test images are used; else the golden images.

    Raises:
        FolderError: no manifest, or no artifact.
        IntegrityError, ArtifactError: a file is not the one that was exported.
        MissingRuntime: no artifact's runtime is installed, so nothing could be checked.
    """
    manifest = Manifest.read(folder)
    golden = reference.Reference.read(manifest.check(reference.NAME))
    for artifact in manifest.artifacts:
        artifact.check()
    if not manifest.artifacts:
        raise FolderError(f"{folder} has no artifact to verify. Export one: mnist-edge export")
    test = dataset.test if dataset is not None and dataset.test.digest == golden.test_sha256 else None
    exported_with = manifest.about.get("versions", {})
    results = tuple(_verify(artifact, golden, test, exported_with) for artifact in manifest.artifacts)
    if all(result.status is Status.SKIPPED for result in results):
        raise MissingRuntime("nothing could be checked: " + "; ".join(dict.fromkeys(r.reasons[0] for r in results)))
    return ParityReport(
        manifest=manifest,
        images=len(test or golden.labels),
        sample=f"all {len(test)} test images" if test else f"the {len(golden.labels)} golden images of reference.npz",
        results=results,
        checks=(_recheck(manifest, golden, test), *_floor(manifest)),
        host=Host.read(),
        versions=runtime_versions(),
    )


def _same_runtime(file_format: Format, exported_with: dict[str, str]) -> bool:
    """Tell whether what is installed of a format's packages has the versions of the exporting host."""
    here = versions(file_format.packages)
    return all(exported_with.get(package) == version for package, version in here.items())


def _verify(artifact: Artifact, golden: reference.Reference, test: Any, exported_with: dict[str, str]) -> Result:
    file_format = FORMATS.get(artifact.format)
    if file_format is None:
        return Result(artifact, Status.SKIPPED, (f"this version knows no format {artifact.format}",))
    if missing := file_format.missing():
        return Result(artifact, Status.SKIPPED, (missing,))
    recorded = golden.outputs.get(artifact.path.name)
    if recorded is None:
        return Result(artifact, Status.FAIL, (f"{reference.NAME} has no outputs of it: export again",))
    tolerance = TOLERANCES[artifact.precision]
    if artifact.contract.output.dtype == "int8":
        tolerance = replace(tolerance, host=FULL_INTEGER_HOST)
    if artifact.precision is not Precision.FLOAT32 and not _same_runtime(file_format, exported_with):
        tolerance = replace(tolerance, host=max(tolerance.host, OTHER_VERSION_HOST))
    with file_format.open(artifact.path) as runner:
        outputs = runner.run(golden.images)
        on_host = compare(recorded, outputs, golden.labels)
        if test is None:
            comparison = compare(golden.keras[golden.indices], outputs, golden.labels, tolerance.margin)
        else:
            comparison = compare(golden.keras, runner.run(test.images), test.labels, tolerance.margin)
    reasons = tuple(tolerance.judge(comparison, on_host))
    return Result(artifact, Status.FAIL if reasons else Status.PASS, reasons, comparison, on_host)


def _recheck(manifest: Manifest, golden: reference.Reference, test: Any) -> Check:
    """Recompute Keras's own predictions where TensorFlow and the model are there."""
    name = "reference.npz is what Keras computes"
    if not (manifest.folder / MODEL).is_file():
        return Check(name, Status.SKIPPED, f"{MODEL} is not here")
    path = manifest.check(MODEL)
    if missing := KERAS.missing():
        return Check(name, Status.SKIPPED, missing)
    with KERAS.open(path) as runner:
        if test is None:
            outputs, labels, before = runner.run(golden.images), golden.labels, golden.keras[golden.indices]
        else:
            outputs, labels, before = runner.run(test.images), test.labels, golden.keras
    found = compare(before, outputs, labels)
    limit = TOLERANCES[Precision.FLOAT32]
    good = found.largest_difference <= limit.host and found.largest_margin <= limit.margin
    detail = (
        f"largest difference {found.largest_difference:.1e} over {found.count} images, {len(found.flips)} change class"
    )
    return Check(name, Status.PASS if good else Status.FAIL, detail)


def _floor(manifest: Manifest) -> tuple[Check, ...]:
    """Hold the recipe's accuracy floor; it is set only for genuine MNIST trained as the recipe says."""
    floor, accuracy = manifest.about.get("accuracy_floor"), manifest.about.get("test_accuracy")
    if floor is None or accuracy is None:
        return ()
    status = Status.PASS if accuracy >= floor else Status.FAIL
    return (Check("Keras's accuracy reaches the recipe's floor", status, f"{accuracy:.4f}, floor {floor}"),)
