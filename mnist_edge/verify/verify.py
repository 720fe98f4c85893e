"""The stage `verify`: does every file give Keras's predictions, and does this runtime compute what the host did?

Reads only the manifest and its files; the dataset and TensorFlow are used where they are at hand.
"""

from pathlib import Path

from mnist_edge.core import reference
from mnist_edge.core.contract import Contract, Precision
from mnist_edge.core.errors import ArtifactError, FolderError, MissingRuntime
from mnist_edge.core.files import sha256
from mnist_edge.core.folder import MODEL, REFERENCE
from mnist_edge.core.manifest import Artifact, Manifest
from mnist_edge.core.metrics import compare
from mnist_edge.data.dataset import Dataset
from mnist_edge.formats import format_of
from mnist_edge.formats.base import Format
from mnist_edge.formats.keras import FORMAT as KERAS
from mnist_edge.formats.keras.model import predict
from mnist_edge.verify.artifact_check import ArtifactChecker
from mnist_edge.verify.counterparts import counterpart_checks
from mnist_edge.verify.crash_probe import crash
from mnist_edge.verify.diagnosis import KerasModel
from mnist_edge.verify.known_faults import SAME
from mnist_edge.verify.result import ArtifactResult, Check, Sample, Status, VerifyReport
from mnist_edge.verify.tolerances import QUANTIZED, SPREADS, Given


def verify(
    folder: Path, dataset: Dataset | None = None, given: Given | None = None, images: int | None = None
) -> VerifyReport:
    """Check every artifact of a folder against Keras's recorded predictions.

    Args:
        folder: an export folder, or a bundle of one without `model.keras`.
        dataset: where it is the one exported with, all its test images are used; else the golden images.
        given: limits that the user has set, by name.
        images: how many of the golden images to use, where all of them take too long; the dataset is then not used.

    Raises:
        FolderError: no manifest, or no artifact.
        IntegrityError, ArtifactError: a file is not the one that the manifest lists.
        MissingRuntime: no artifact's runtime is installed, so nothing could be checked.
    """
    manifest = Manifest.read(folder)
    golden = reference.Reference.read(manifest.check(REFERENCE))
    for artifact in manifest.artifacts:
        artifact.check()
    if not manifest.artifacts:
        raise FolderError(f"{folder} has no artifact to verify. Export one: mnist-edge export")
    if images is not None:
        golden, dataset = golden.subset(images), None
    sample = _sample(golden, dataset)
    for name in manifest.files:
        if (folder / name).is_file():
            manifest.check(name)
    keras_model, why = _keras_model(folder / MODEL, golden)
    suite = ArtifactChecker(
        golden, sample, keras_model, why, given or {}, manifest.about.get("versions", {}), ours=True
    )
    results = tuple(suite.check(artifact) for artifact in manifest.artifacts)
    _refuse_if_all_skipped(results)
    name = manifest.about["dataset"]["name"]
    checks = (_recheck(suite), _looks(results), *counterpart_checks(results, sample), *_floor(manifest))
    return VerifyReport(manifest.model, name, manifest, sample, results, checks)


def verify_file(
    path: Path, reference_path: Path, dataset: Dataset | None, precision: Precision | None, given: Given | None = None
) -> VerifyReport:
    """Check a file that need not be ours against the Keras outputs of a `reference.npz`.

    Args:
        path: a file of any known format.
        reference_path: of the export whose Keras model the file is to match; `model.keras` beside it finds more causes.
        dataset: as in `verify`.
        precision: how the file computes; None finds out.
        given: limits that the user has set, by name.

    Raises:
        ArtifactError: the file cannot be run.
        FolderError: the reference cannot be read.
        MissingRuntime: the format's runtime is not installed.
    """
    file_format = format_of(path)
    if not path.is_file():
        raise ArtifactError(f"there is no file {path}.")
    if missing := file_format.missing():
        raise MissingRuntime(missing)
    if dead := crash(path):
        raise ArtifactError(f"{path}: {dead}.")
    golden = reference.Reference.read(reference_path)
    with file_format.open(path) as runner:
        specs = runner.io_specs
    if specs is None:
        raise ArtifactError(f"{path} does not tell what it takes and gives, so it cannot be checked alone.")
    digest = sha256(path)
    artifact = Artifact(
        path=path,
        format=file_format.name,
        precision=precision or _precision(file_format, path),
        contract=Contract(*specs, layout="NHWC" if specs[0].shape[-1] == 1 else "NCHW"),
        bytes=path.stat().st_size,
        sha256=digest,
    )
    keras_model, why = _keras_model(reference_path.parent / MODEL, golden)
    ours = golden.sha256.get(path.name) == digest
    suite = ArtifactChecker(golden, _sample(golden, dataset), keras_model, why, given or {}, {}, ours)
    results = (suite.check(artifact),)
    checks = [_recheck(suite), _looks(results)]
    if not ours:
        detail = f"{reference_path.name} holds no outputs of this file"
        checks.append(Check("this runtime computes what the exporting host did", Status.SKIPPED, detail))
    return VerifyReport(path.name, f"that of {reference_path}", None, suite.sample, results, tuple(checks))


def _sample(golden: reference.Reference, dataset: Dataset | None) -> Sample:
    """Take all test images where the dataset is the one of the reference, else the golden images."""
    if dataset is not None and dataset.test.digest == golden.test_sha256:
        test = dataset.test
        return Sample(f"all {len(test)} test images", test.images, test.labels, golden.keras)
    name = f"{len(golden.labels)} golden images of {REFERENCE}"
    return Sample(name, golden.images, golden.labels, golden.keras[golden.indices])


def _precision(file_format: Format, path: Path) -> Precision:
    """Find out how a file computes: in int8, or by the bytes that a parameter takes in it.

    What a file says of itself may be of the file that it was made from, so it decides between the quantized ones alone.
    """
    described = file_format.describe(path)
    said = described.metadata.get("precision")
    each = described.sizes.get("weights", 0) / max(described.parameters, 1)
    if (described.runtime_operators and described.runtime_operators.int8) or each < 1.5:
        return Precision(said) if said in QUANTIZED else Precision.INT8
    return Precision.FLOAT16 if each < 3 else Precision.FLOAT32


def _refuse_if_all_skipped(results: tuple[ArtifactResult, ...]) -> None:
    if all(result.status is Status.SKIPPED for result in results):
        raise MissingRuntime("nothing could be checked: " + "; ".join(dict.fromkeys(r.reasons[0] for r in results)))


def _recheck(suite: ArtifactChecker) -> Check:
    """Recompute Keras's own predictions where TensorFlow and the model are there."""
    name = f"{REFERENCE} is what Keras computes"
    if suite.keras_model is None:
        return Check(name, Status.SKIPPED, suite.no_keras_reason)
    outputs = predict(suite.keras_model.model, suite.sample.images)
    found = compare(suite.sample.keras, outputs, suite.sample.labels)
    limit = SPREADS * suite.golden.keras_variation.run_to_run
    good = found.largest_difference <= limit
    detail = (
        f"largest difference {found.largest_difference:.1e} ({limit:.1e} allowed, {SPREADS} × its own spread) over "
        f"{found.count} images, {len(found.flips)} change class"
    )
    return Check(name, Status.PASS if good else Status.FAIL, detail)


def _looks(results: tuple[ArtifactResult, ...]) -> Check:
    """Sum up what was seen inside the files."""
    name = "kernels and layers are Keras's"
    looks = {
        result.artifact.path.name: result.internal_check for result in results if result.internal_check is not None
    }
    if faulty := [file for file, look in looks.items() if look.causes]:
        return Check(name, Status.FAIL, f"not in {', '.join(faulty)}")
    unseen = {file: look.unseen for file, look in looks.items() if look.unseen}
    if unseen or not looks:
        reasons = dict.fromkeys(unseen.values())
        where = "" if len(unseen) == len(looks) else f"{', '.join(unseen)}: "
        return Check(name, Status.SKIPPED, where + "; ".join(map(str, reasons)))
    worst = min(look.worst_kernel for look in looks.values() if look.worst_kernel is not None)
    told = f"the worst kernel {worst:.0f} dB over its error" if worst < float("inf") else "every kernel to the last bit"
    if unlike := [file for file, look in looks.items() if (look.worst_kernel or 0) < SAME and not look.same_network]:
        return Check(name, Status.SKIPPED, f"kernels differ, and no known fault says how: {', '.join(unlike)}")
    if worst < SAME:
        told = "up to the last layer; the converter rewrote kernels on the way, BatchNorm for instance"
    return Check(name, Status.PASS, f"in {len(looks)} files, {told}")


def _keras_model(path: Path, golden: reference.Reference) -> tuple[KerasModel | None, str]:
    """Return Keras's model where it and TensorFlow are here, else why not."""
    if not path.is_file():
        return None, f"{MODEL} is not here"
    if missing := KERAS.missing():
        return None, missing
    return KerasModel(path, golden.images), ""


def _floor(manifest: Manifest) -> tuple[Check, ...]:
    """Hold the recipe's accuracy floor; it is set only for genuine MNIST trained as the recipe says."""
    floor, accuracy = manifest.about.get("accuracy_floor"), manifest.about.get("test_accuracy")
    if floor is None or accuracy is None:
        return ()
    status = Status.PASS if accuracy >= floor else Status.FAIL
    return (Check("Keras's accuracy reaches the recipe's floor", status, f"{accuracy:.4f}, floor {floor}"),)
