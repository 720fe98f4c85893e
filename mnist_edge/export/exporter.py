"""The stage `export`: `model.keras` and `training.json` in, artifacts, `reference.npz` and the manifest out."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge import __version__
from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import ArtifactError, ConversionError, FolderError, UnsupportedPrecision
from mnist_edge.core.folder import MANIFEST, MODEL, REFERENCE, TRAINING
from mnist_edge.core.host import Host
from mnist_edge.core.manifest import About, Artifact, DatasetRecord, FileEntry, Manifest
from mnist_edge.core.reference import KerasVariation, Reference
from mnist_edge.data.dataset import balanced
from mnist_edge.export.artifact_writer import ArtifactWriter, Written
from mnist_edge.export.inputs import CALIBRATION_PER_CLASS, CALIBRATION_SEED, ExportInputs
from mnist_edge.export.keras_variation import measuring
from mnist_edge.export.plan import ExportPlan
from mnist_edge.export.tuning import NOT_TUNED, Tuned
from mnist_edge.formats import FORMATS, runtime_versions
from mnist_edge.formats.first_look import remember
from mnist_edge.formats.keras.model import predict

GOLDEN_PER_CLASS, GOLDEN_SEED = 100, 0


@dataclass(frozen=True)
class Exported:
    """The new manifest, the names of earlier files that it leaves out, and of those that were written now.

    A file is left out that is damaged, or that came from another model or another version. `failed` holds the reason
    for each file that could not be written, `losses` what int8 loses, of each file that loses more than noise.
    """

    manifest: Manifest
    left_out: tuple[str, ...]
    written: tuple[str, ...]
    failed: Mapping[str, str]
    losses: Mapping[str, str]

    @property
    def failure_text(self) -> str:
        """Return which files could not be written, and why."""
        return " ".join(f"{name} could not be written: {reason}" for name, reason in self.failed.items())


def export_files(
    inputs: ExportInputs,
    plan: ExportPlan,
    tuned: Tuned = NOT_TUNED,
    on_progress: Callable[[str], None] = lambda name: None,
) -> Exported:
    """Export the trained model of a folder; whole files of earlier exports stay.

    A file that cannot be converted does not take the others with it.

    Args:
        inputs: the model, its folder and its data.
        plan: the files to write.
        tuned: how to quantize int8, by format; the default where a format is missing in it.
        on_progress: called with each file's name before it is converted.

    Raises:
        ConversionError: no file could be written.
        MissingRuntime: as the formats say.
    """
    folder, test = inputs.folder, inputs.dataset.test
    golden = balanced(test.labels, np.arange(len(test)), GOLDEN_PER_CLASS, GOLDEN_SEED)
    artifacts, outputs, left_out = _earlier(folder, inputs.record["weights_sha256"])
    writer = ArtifactWriter(inputs, plan.io, tuned, golden)
    written: dict[str, Written] = {}
    failed: dict[str, str] = {}
    staging = Path(tempfile.mkdtemp(dir=folder, prefix=".exporting-"))
    with (
        _removed(staging),
        measuring(folder / MODEL, inputs.model, inputs.calibration_images, inputs.held_out_images) as variation,
    ):
        for format_name, precision in plan.pairs:
            name = f"{inputs.name}-{precision}{plan.io.tag}{FORMATS[format_name].suffix}"
            on_progress(name)
            try:
                written[name] = writer.write(format_name, precision, staging / name)
            except (ConversionError, UnsupportedPrecision, ArtifactError) as error:
                failed[name] = str(error)
        artifacts |= {name: item.artifact for name, item in written.items()}
        outputs |= {name: item.outputs for name, item in written.items()}
        if not written:
            raise ConversionError(" ".join(dict.fromkeys(failed.values())))
        reference = _reference(inputs, golden, artifacts, outputs, variation())
        reference.write(staging / REFERENCE)
        manifest = Manifest(
            folder=folder,
            model=inputs.name,
            artifacts=tuple(sorted(artifacts.values(), key=_order)),
            files={path.name: FileEntry.of(path) for path in (folder / MODEL, folder / TRAINING, staging / REFERENCE)},
            about=_about(inputs, reference),
        )
        (folder / MANIFEST).unlink(missing_ok=True)
        for path in staging.iterdir():
            path.replace(folder / path.name)
        manifest.write()
    for item in written.values():
        remember(FORMATS[item.artifact.format], item.artifact.sha256)
    losses = {name: item.loss for name, item in written.items() if item.loss is not None}
    still_out = tuple(name for name in left_out if name not in written)
    return Exported(manifest, still_out, tuple(written), failed, losses)


def _reference(
    inputs: ExportInputs,
    golden: Any,
    artifacts: dict[str, Artifact],
    outputs: dict[str, Any],
    variation: KerasVariation,
) -> Reference:
    """Return the golden images with the outputs of Keras and of every file."""
    test = inputs.dataset.test
    return Reference(
        images=test.images[golden],
        labels=test.labels[golden],
        indices=golden,
        test_sha256=test.digest,
        keras=predict(inputs.model, test.images),
        outputs=outputs,
        sha256={name: artifact.sha256 for name, artifact in artifacts.items()},
        keras_variation=variation,
    )


def _order(artifact: Artifact) -> tuple[int, int, int, str]:
    """Return the key that sorts by format, by precision, and default input and output first."""
    name = artifact.path.name
    return list(FORMATS).index(artifact.format), list(Precision).index(artifact.precision), len(name), name


def _about(inputs: ExportInputs, reference: Reference) -> About:
    record, calibration = inputs.record, inputs.calibration
    return About(
        mnist_edge=__version__,
        dataset=DatasetRecord(**record["dataset"]),
        weights_sha256=record["weights_sha256"],
        test_accuracy=float((reference.keras.argmax(axis=1) == inputs.dataset.test.labels).mean()),
        accuracy_floor=record["floor"],
        calibration={
            "images": len(calibration),
            "per_class": CALIBRATION_PER_CLASS,
            "seed": CALIBRATION_SEED,
            "indices_sha256": hashlib.sha256(calibration.astype("<i8").tobytes()).hexdigest(),
        },
        versions=runtime_versions(),
        host=asdict(Host.read()),
    )


@contextmanager
def _removed(folder: Path) -> Iterator[None]:
    """Remove a folder at the end, whatever happens."""
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _earlier(folder: Path, weights: str) -> tuple[dict[str, Artifact], dict[str, Any], tuple[str, ...]]:
    """Return the whole artifacts of earlier exports of this model, their outputs, and the names of the others."""
    try:
        manifest = Manifest.read(folder)
    except FolderError:
        return {}, {}, ()
    names = tuple(artifact.path.name for artifact in manifest.artifacts)
    try:
        outputs = Reference.read(manifest.check(REFERENCE)).outputs
    except (FolderError, ArtifactError):
        return {}, {}, names
    if manifest.about.weights_sha256 != weights:
        return {}, {}, names
    whole = {}
    for artifact in manifest.artifacts:
        with suppress(ArtifactError):
            artifact.check()
            whole[artifact.path.name] = artifact
    kept_outputs = {name: outputs[name] for name in whole if name in outputs}
    return whole, kept_outputs, tuple(name for name in names if name not in whole)
