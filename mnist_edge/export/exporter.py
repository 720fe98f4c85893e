"""The stage `export`: `model.keras` and `training.json` in, artifacts, `reference.npz` and the manifest out."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge import __version__
from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import ArtifactError, ConversionError, MissingRuntime, UnsupportedPrecision
from mnist_edge.core.files import temporary_folder
from mnist_edge.core.folder import MODEL, REFERENCE, TRAINING
from mnist_edge.core.host import Host
from mnist_edge.core.manifest import About, Artifact, DatasetRecord, FileEntry, Manifest
from mnist_edge.core.publish import changing, publish
from mnist_edge.core.reference import KerasVariation, Reference
from mnist_edge.data.dataset import balanced
from mnist_edge.export.artifact_writer import ArtifactWriter, Written
from mnist_edge.export.earlier import Earlier
from mnist_edge.export.inputs import CALIBRATION_PER_CLASS, CALIBRATION_SEED, ExportInputs
from mnist_edge.export.keras_variation import measuring
from mnist_edge.export.plan import ExportPlan
from mnist_edge.export.tuning import NOT_TUNED, Tuned
from mnist_edge.formats import FORMATS, runtime_versions
from mnist_edge.formats.first_look import remember
from mnist_edge.formats.keras.model import predict
from mnist_edge.training import store

GOLDEN_PER_CLASS, GOLDEN_SEED = 100, 0


@dataclass(frozen=True)
class Exported:
    """The new manifest, the names of earlier files that it leaves out, and of those that were written now.

    A file is left out that is damaged, or that came from another model or another version. `failed` holds the reason
    for each file that could not be written, `losses` what int8 loses, of each file that loses more than noise.
    `removed` are the names of files that came from another model, which this one has replaced.
    """

    manifest: Manifest
    left_out: tuple[str, ...]
    written: tuple[str, ...]
    failed: Mapping[str, str]
    losses: Mapping[str, str]
    removed: tuple[str, ...]

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
    """
    with changing(inputs.folder), temporary_folder(inputs.folder) as staging:
        return _export_files(inputs, plan, tuned, on_progress, staging)


def _export_files(
    inputs: ExportInputs, plan: ExportPlan, tuned: Tuned, on_progress: Callable[[str], None], staging: Path
) -> Exported:
    """Export as `export_files` says; all new files are gathered in `staging`, and published together."""
    folder, test = inputs.folder, inputs.dataset.test
    golden = balanced(test.labels, np.arange(len(test)), GOLDEN_PER_CLASS, GOLDEN_SEED)
    keras = predict(inputs.model, test.images)
    about = _about(inputs, keras)
    removed: tuple[str, ...] = ()
    earlier = Earlier()
    if inputs.stored:
        earlier = Earlier.read(folder, about)
    else:
        removed = store.derived(folder)
        store.write(store.Trained(inputs.model, inputs.record), staging)
    model = (folder if inputs.stored else staging) / MODEL
    writer = ArtifactWriter(inputs, plan.io, tuned, golden)
    with _keras_variation(earlier, inputs, model, staging) as variation:
        written, failed = _written(inputs.name, plan, writer, on_progress, staging)
        artifacts = {**earlier.artifacts, **{name: item.artifact for name, item in written.items()}}
        outputs = {**earlier.outputs, **{name: item.outputs for name, item in written.items()}}
        digests = {name: artifact.sha256 for name, artifact in artifacts.items()}
        reference = Reference(
            images=test.images[golden],
            labels=test.labels[golden],
            indices=golden,
            test_sha256=test.digest,
            keras=keras,
            outputs=outputs,
            sha256=digests,
            keras_variation=variation(),
        )
    reference.write(staging / REFERENCE)
    manifest = Manifest(
        folder=staging,
        model=inputs.name,
        artifacts=tuple(sorted(artifacts.values(), key=_order)),
        files={path.name: FileEntry.of(path) for path in (model, model.with_name(TRAINING), staging / REFERENCE)},
        about=about,
    )
    manifest.write()
    kept = [path.name for artifact in manifest.artifacts for path in artifact.paths]
    kept += [MODEL, TRAINING]
    new = {path.name for path in staging.iterdir()}
    removed = tuple(name for name in removed if name not in new)
    publish(folder, staging, [name for name in kept if name not in new], removed)
    for item in written.values():
        remember(FORMATS[item.artifact.format], item.artifact.sha256)
    losses = {name: item.loss for name, item in written.items() if item.loss is not None}
    still_out = tuple(name for name in earlier.left_out if name not in written)
    return Exported(replace(manifest, folder=folder), still_out, tuple(written), failed, losses, removed)


def _written(
    model: str, plan: ExportPlan, writer: ArtifactWriter, on_progress: Callable[[str], None], staging: Path
) -> tuple[dict[str, Written], dict[str, str]]:
    """Write the files of a plan into `staging`; return those that could be, and why the others could not.

    Raises:
        ConversionError: none could be written.
    """
    written: dict[str, Written] = {}
    failed: dict[str, str] = {}
    for format_name, precision in plan.pairs:
        name = f"{model}-{precision}{plan.io.tag}{FORMATS[format_name].suffix}"
        on_progress(name)
        try:
            written[name] = writer.write(format_name, precision, staging / name)
        except (ConversionError, UnsupportedPrecision, ArtifactError, MissingRuntime) as error:
            failed[name] = str(error)
    if not written:
        raise ConversionError(" ".join(dict.fromkeys(failed.values())))
    return written, failed


def _keras_variation(
    earlier: Earlier, inputs: ExportInputs, model: Path, staging: Path
) -> AbstractContextManager[Callable[[], KerasVariation]]:
    """Return what gives Keras's variation: the one that an earlier export measured, or a measurement that begins."""
    if (known := earlier.keras_variation) is not None:
        return nullcontext(lambda: known)
    return measuring(model, inputs, staging)


def _order(artifact: Artifact) -> tuple[int, int, int, str]:
    """Return the key that sorts by format, by precision, and default input and output first."""
    name = artifact.path.name
    return list(FORMATS).index(artifact.format), list(Precision).index(artifact.precision), len(name), name


def _about(inputs: ExportInputs, keras: Any) -> About:
    """Return what the manifest says of the model, whose outputs on the test images are `keras`."""
    record, calibration = inputs.record, inputs.calibration
    return About(
        mnist_edge=__version__,
        dataset=DatasetRecord(**record["dataset"]),
        weights_sha256=record["weights_sha256"],
        test_accuracy=float((keras.argmax(axis=1) == inputs.dataset.test.labels).mean()),
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
