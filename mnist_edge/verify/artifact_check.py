"""The verdict on one artifact, against Keras and the exporting host, in other variants, and inside the network."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import ArtifactError, BrokenRuntime, MissingRuntime
from mnist_edge.core.folder import REFERENCE
from mnist_edge.core.manifest import Artifact
from mnist_edge.core.metrics import Comparison, compare, logit_margins, mcnemar_interval
from mnist_edge.core.optional import versions
from mnist_edge.core.reference import Reference
from mnist_edge.formats import FORMATS
from mnist_edge.formats.base import Format
from mnist_edge.formats.first_look import first_look
from mnist_edge.formats.runner import Runner
from mnist_edge.verify.diagnosis import GoldenOutputs, InternalCheck, KerasModel, check_internals, diagnose, of_runtime
from mnist_edge.verify.result import ArtifactResult, Sample, Status
from mnist_edge.verify.tolerances import (
    Overrides,
    ToleranceResult,
    accuracy_budget,
    judge,
    overridden,
    tolerances_of,
    variant_margin,
)
from mnist_edge.verify.variants import Usual, VariantResult, run_variants

VARIANT_EVERY = 5  # one in five of the golden images is run in the variants too
CHANGED = "it was changed after the export and entered into the manifest again"


@dataclass(frozen=True)
class ArtifactChecker:
    """Checks artifacts against one reference.

    `keras_model` is None where it is not at hand; `no_keras_reason` then says why. `ours` says whether `golden` has to
    hold the outputs of every artifact.
    """

    golden: Reference
    sample: Sample
    keras_model: KerasModel | None
    no_keras_reason: str
    overrides: Overrides
    ours: bool

    def check(self, artifact: Artifact) -> ArtifactResult:
        """Return the verdict on an artifact; one that cannot be run gets a verdict too."""
        file_format = FORMATS.get(artifact.format)
        if file_format is None:
            return ArtifactResult(artifact, Status.SKIPPED, (f"this version knows no format {artifact.format}",))
        if missing := file_format.missing():
            return ArtifactResult(artifact, Status.SKIPPED, (missing,))
        try:
            first_look(artifact.path, file_format, artifact.sha256)
            with file_format.open(artifact.path) as runner:
                return self._run(artifact, file_format, runner)
        except ArtifactError as error:
            return ArtifactResult(artifact, Status.FAIL, (str(error),))
        except MissingRuntime as error:
            broken = isinstance(error, BrokenRuntime)
            return ArtifactResult(artifact, Status.SKIPPED, (str(error),), broken_runtime=broken)

    def _changed(self, artifact: Artifact) -> bool:
        """Return whether a file is not the one whose outputs the exporting host recorded."""
        return self.golden.sha256.get(artifact.path.name) != artifact.sha256

    def _run(self, artifact: Artifact, file_format: Format, runner: Runner) -> ArtifactResult:
        golden, sample = self.golden, self.sample
        outputs, on_golden = self._outputs(runner)
        recorded = golden.outputs.get(artifact.path.name) if self.ours else None
        on_host = None if recorded is None else compare(recorded, on_golden, golden.labels)
        comparison = compare(sample.keras, outputs, sample.labels)
        interval = mcnemar_interval(comparison)
        tolerances = self._tolerances(artifact, file_format, comparison, on_host)
        mismatches = artifact.contract.mismatches(runner.io_specs) if runner.io_specs else []
        note, changed = self._recorded(artifact, on_host)
        some = slice(None, None, VARIANT_EVERY)
        margin = variant_margin(artifact.precision, golden.keras_variation)
        usual = Usual(golden.images[some], on_golden[some], golden.keras[golden.indices][some])
        variants = tuple(run_variants(file_format, artifact, usual, margin))
        internal_check = InternalCheck(not_compared=self.no_keras_reason)
        if self.keras_model is not None:
            internal_check = check_internals(self.keras_model, file_format, artifact, on_golden)
        reasons = [
            *mismatches,
            *(str(result) for result in tolerances if not result.passed),
            *changed,
            *(_variant_reason(variant) for variant in variants if not variant.passed),
            *(f"inside, it is not Keras's network: {fault}" for fault in internal_check.faults),
        ]
        diagnosis = None
        if reasons:
            keras = golden.keras[golden.indices]
            input_range = file_format.input_range(artifact.path)
            differs = any(not item.passed for item in tolerances if item.tolerance.name != "host")
            by_runtime = tuple(of_runtime(variants, file_format)) if differs else ()
            failed = GoldenOutputs(artifact.contract, golden.images, keras, on_golden, input_range, by_runtime)
            diagnosis = diagnose(failed, runner, self.keras_model, internal_check)
        return ArtifactResult(
            artifact=artifact,
            status=Status.FAIL if reasons else Status.PASS,
            reasons=tuple(reasons),
            notes=tuple(note),
            tolerances=tolerances,
            comparison=comparison,
            interval=interval,
            budget=accuracy_budget(artifact.precision, comparison.drop, interval, self.overrides),
            on_host=on_host,
            variants=variants,
            internal_check=internal_check,
            diagnosis=diagnosis,
            outputs=outputs,
            footprint=file_format.platform.footprint(artifact.path) if file_format.platform else None,
        )

    def _outputs(self, runner: Runner) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the outputs of a file on the sample and on the golden images."""
        golden, sample = self.golden, self.sample
        outputs = runner.run(sample.images)
        if sample.images is golden.images:
            return outputs, outputs
        # in a larger batch an image has other neighbours, and floats may then differ in the last bit
        return outputs, outputs[golden.indices] if runner.batch == 1 else runner.run(golden.images)

    def _tolerances(
        self, artifact: Artifact, file_format: Format, comparison: Comparison, on_host: Comparison | None
    ) -> tuple[ToleranceResult, ...]:
        variation = self.golden.keras_variation
        tolerances = tolerances_of(
            artifact.precision,
            variation,
            logit_margins(self.sample.keras),
            artifact.contract.output.dtype == "int8",
            _same_runtime(file_format, artifact),
        )
        tolerances = overridden(tolerances, artifact.precision, self.overrides)
        return judge(tolerances, comparison, on_host, variation.logit_step)

    def _recorded(self, artifact: Artifact, on_host: Comparison | None) -> tuple[list[str], list[str]]:
        """Return a note and a reason that follow from the recorded outputs of a file."""
        if self.ours and on_host is None:
            return [], [f"{REFERENCE} has no outputs of it: export again"]
        if on_host is None or not self._changed(artifact):
            return [], []
        if on_host.largest_difference == 0:
            return [f"{CHANGED}: no output affected, all {on_host.count} golden images give what was recorded"], []
        return [], [f"{CHANGED}, and gives other outputs than the exporting host recorded"]


def _variant_reason(variant: VariantResult) -> str:
    if variant.error:
        return f"it does not run {variant.name}: {variant.error}"
    return (
        f"{variant.name}, {len(variant.flips)} images change class, one at a margin of {max(variant.margins):.3f} "
        f"(rounding may change it up to {variant.allowed:.2g})"
    )


def _same_runtime(file_format: Format, artifact: Artifact) -> bool:
    """Return whether the installed packages of a format have the versions that exported a file."""
    here = versions(file_format.packages)
    return all(artifact.versions.get(package) == version for package, version in here.items())
