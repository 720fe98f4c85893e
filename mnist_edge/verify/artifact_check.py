"""The verdict on one artifact: what it gives beside Keras and the exporting host, in other variants, and inside."""

from collections.abc import Mapping
from dataclasses import dataclass

from mnist_edge.core import reference
from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.folder import REFERENCE
from mnist_edge.core.manifest import Artifact
from mnist_edge.core.metrics import Interval, compare, logit_margins
from mnist_edge.core.optional import versions
from mnist_edge.formats import FORMATS
from mnist_edge.formats.base import Format
from mnist_edge.formats.runner import Runner
from mnist_edge.verify.crash_probe import crash
from mnist_edge.verify.diagnosis import InternalCheck, KerasModel, Suspect, check_internals, diagnose
from mnist_edge.verify.result import ArtifactResult, Sample, Status
from mnist_edge.verify.tolerances import Given, judge, limits, path_margin
from mnist_edge.verify.variants import VariantResult, run_variants

PATH_EVERY = 5  # one in five of the golden images goes through the other variants too


@dataclass(frozen=True)
class ArtifactChecker:
    """What all artifacts are checked with.

    `keras_model` is Keras's model where it is at hand; else `no_keras_reason` says why not. `exported_with` maps
    packages to the exporting host's versions. `ours` tells whether `golden` has to hold the outputs of every artifact.
    """

    golden: reference.Reference
    sample: Sample
    keras_model: KerasModel | None
    no_keras_reason: str
    given: Given
    exported_with: Mapping[str, str]
    ours: bool

    def check(self, artifact: Artifact) -> ArtifactResult:
        """Come to a verdict on one artifact; one that cannot be run is a verdict too, no error."""
        file_format = FORMATS.get(artifact.format)
        if file_format is None:
            return ArtifactResult(artifact, Status.SKIPPED, (f"this version knows no format {artifact.format}",))
        if missing := file_format.missing():
            return ArtifactResult(artifact, Status.SKIPPED, (missing,))
        changed = self.golden.sha256.get(artifact.path.name) != artifact.sha256
        if changed and (dead := crash(artifact.path)):
            return ArtifactResult(artifact, Status.FAIL, (dead,))
        try:
            with file_format.open(artifact.path) as runner:
                return self._run(artifact, file_format, runner, changed)
        except ArtifactError as error:
            return ArtifactResult(artifact, Status.FAIL, (str(error),))

    def _run(self, artifact: Artifact, file_format: Format, runner: Runner, changed: bool) -> ArtifactResult:
        golden, sample = self.golden, self.sample
        outputs = runner.run(sample.images)
        # a fixed batch gives an image other neighbours, and floats may then differ in the last bit
        within = len(sample) > len(golden.labels) and runner.batch == 1
        on_golden = outputs[golden.indices] if within else runner.run(golden.images)
        recorded = golden.outputs.get(artifact.path.name) if self.ours else None
        on_host = None if recorded is None else compare(recorded, on_golden, golden.labels)
        comparison = compare(sample.keras, outputs, sample.labels)
        allowed = limits(
            artifact.precision,
            golden.keras_variation,
            logit_margins(sample.keras),
            artifact.contract.output.dtype == "int8",
            _same_runtime(file_format, self.exported_with),
            self.given,
        )
        findings = judge(allowed, comparison, on_host, golden.keras_variation.logit_step)
        mismatches = artifact.contract.mismatches(runner.io_specs) if runner.io_specs else []
        reasons = [*mismatches, *(str(finding) for finding in findings if not finding.passed)]
        notes = []
        if self.ours and recorded is None:
            reasons.append(f"{REFERENCE} has no outputs of it: export again")
        elif on_host is not None and changed:
            origin = "it was changed after the export and entered into the manifest again"
            if on_host.largest_difference == 0:
                notes.append(f"{origin}: no output affected, all {on_host.count} golden images give what was recorded")
            else:
                reasons.append(f"{origin}, and gives other outputs than the exporting host recorded")
        any_batch = artifact.contract.input.shape[0] is None
        margin = path_margin(artifact.precision, golden.keras_variation)
        some = slice(None, None, PATH_EVERY)
        variants = tuple(
            run_variants(file_format, artifact.path, any_batch, golden.images[some], on_golden[some], margin)
        )
        reasons += [_path_reason(path) for path in variants if not path.passed]
        internal_check = InternalCheck(unseen=self.no_keras_reason)
        if self.keras_model is not None:
            internal_check = check_internals(self.keras_model, file_format, artifact.path)
        reasons += [f"inside, it is not Keras's network: {cause}" for cause in internal_check.causes]
        diagnosis = None
        if reasons:
            suspect = Suspect(artifact.contract, golden.images, golden.keras[golden.indices], on_golden)
            diagnosis = diagnose(suspect, runner, self.keras_model, internal_check)
        return ArtifactResult(
            artifact=artifact,
            status=Status.FAIL if reasons else Status.PASS,
            reasons=tuple(reasons),
            notes=tuple(notes),
            findings=findings,
            comparison=comparison,
            interval=Interval.of(comparison),
            on_host=on_host,
            variants=variants,
            internal_check=internal_check,
            diagnosis=diagnosis,
            outputs=outputs,
            footprint=file_format.platform.footprint(artifact.path) if file_format.platform else None,
        )


def _path_reason(path: VariantResult) -> str:
    if path.error:
        return f"it does not run {path.name}: {path.error}"
    return (
        f"{path.name}, {len(path.flips)} images change class, one at a margin of {max(path.margins):.3f} "
        f"(rounding may change it up to {path.allowed:.2g})"
    )


def _same_runtime(file_format: Format, exported_with: Mapping[str, str]) -> bool:
    """Return whether what is installed of a format's packages has the versions of the exporting host."""
    here = versions(file_format.packages)
    return all(exported_with.get(package) == version for package, version in here.items())
