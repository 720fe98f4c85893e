"""The stage `verify`: every file against Keras's predictions, and against what the exporting host computed.

Reads only the manifest and its files; the dataset and TensorFlow are used where they are at hand.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mnist_edge.core.contract import Contract, Precision
from mnist_edge.core.errors import ArtifactError, BrokenRuntime, CustomCodeNeeded, FolderError, MissingRuntime
from mnist_edge.core.files import sha256
from mnist_edge.core.folder import MODEL, REFERENCE
from mnist_edge.core.manifest import Artifact, Manifest
from mnist_edge.core.metrics import compare
from mnist_edge.core.publish import reading_folder
from mnist_edge.core.reference import Reference
from mnist_edge.data.dataset import Dataset, load_local
from mnist_edge.formats import format_of
from mnist_edge.formats.base import Format
from mnist_edge.formats.first_look import SCAN, first_look
from mnist_edge.formats.keras import FORMAT as KERAS
from mnist_edge.formats.keras.model import predict
from mnist_edge.verify.artifact_check import ArtifactChecker
from mnist_edge.verify.counterparts import counterpart_checks
from mnist_edge.verify.diagnosis import KerasModel
from mnist_edge.verify.result import ArtifactResult, Check, Sample, Status, VerifyReport
from mnist_edge.verify.tolerances import QUANTIZED, SPREADS, Overrides, float_noise


def verify(
    folder: str | Path,
    dataset: Dataset | None = None,
    overrides: Overrides | None = None,
    images: int | None = None,
) -> VerifyReport:
    """Check that every file of an export folder gives Keras's predictions, and what the exporting host computed.

    Args:
        folder: an export folder, or an unpacked bundle.
        dataset: all its test images are used if the export was made with it. Where it is None, the one that
            `mnist_edge.data.dataset.load_local` finds; without any, the 1 000 golden images of the folder.
        overrides: tolerances of your own, by name: `{"int8.steps": 1}`.
        images: use only so many of the golden images, and no dataset.

    Raises:
        FolderError: no manifest, or no artifact.
        IntegrityError, ArtifactError: a file is not the one that the manifest lists.
        MissingRuntime: no artifact's runtime is installed and loads, so nothing could be checked.
    """
    with reading_folder(Path(folder)) as place:
        return _verify(place, dataset, overrides, images)


def _verify(folder: Path, dataset: Dataset | None, overrides: Overrides | None, images: int | None) -> VerifyReport:
    manifest = Manifest.read(folder)
    golden = Reference.read(manifest.check(REFERENCE))
    for artifact in manifest.artifacts:
        artifact.check()
    if not manifest.artifacts:
        raise FolderError(f"{folder} has no artifact to verify. Export one: mnist-edge export")
    if images is not None:
        golden = golden.subset(images)
    else:
        dataset = dataset or load_local()
    sample = _sample(golden, None if images is not None else dataset)
    for name in manifest.files:
        if (folder / name).is_file():
            manifest.check(name)
    keras_model, reason, broken = _keras_model(folder / MODEL, golden)
    checker = ArtifactChecker(golden, sample, keras_model, reason, overrides or {}, ours=True)
    results = tuple(checker.check(artifact) for artifact in manifest.artifacts)
    _refuse_if_all_skipped(results)
    checks = (_recheck(checker), _internals(results), *counterpart_checks(results, sample), *_floor(manifest))
    checks += (*_skipped_variants(results), *_runtimes_load(results, broken))
    return VerifyReport(manifest.model, manifest.about.dataset.name, manifest, sample, results, checks)


def verify_file(
    path: Path,
    reference_path: Path,
    dataset: Dataset | None = None,
    precision: Precision | None = None,
    overrides: Overrides | None = None,
) -> VerifyReport:
    """Check a file that need not be ours against the Keras outputs of a `reference.npz`.

    Args:
        path: a file of any known format.
        reference_path: of the export that the file is to match; `model.keras` in its folder finds more causes.
        dataset: as in `verify`.
        precision: how the file computes; found out where it is None.
        overrides: tolerances of your own, by name.

    Raises:
        ArtifactError: the file cannot be run.
        FolderError: the reference cannot be read.
        MissingRuntime: the format's runtime is not installed.
    """
    golden = Reference.read(reference_path)
    artifact = _foreign_artifact(path, precision)
    keras_model, reason, broken = _keras_model(reference_path.parent / MODEL, golden)
    ours = golden.sha256.get(path.name) == artifact.sha256
    sample = _sample(golden, dataset or load_local())
    checker = ArtifactChecker(golden, sample, keras_model, reason, overrides or {}, ours)
    results = (checker.check(artifact),)
    checks = [_recheck(checker), _internals(results), *_skipped_variants(results), *_runtimes_load(results, broken)]
    if not ours:
        detail = f"{reference_path.name} holds no outputs of this file"
        checks.append(Check("this runtime computes what the exporting host did", Status.SKIPPED, detail))
    return VerifyReport(path.name, f"that of {reference_path}", None, sample, results, tuple(checks))


def _foreign_artifact(path: Path, precision: Precision | None) -> Artifact:
    """Return a file as an artifact, with the contract that its own input and output make."""
    file_format = format_of(path)
    if not path.is_file():
        raise ArtifactError(f"there is no file {path}.")
    if missing := file_format.missing():
        raise MissingRuntime(missing)
    first_look(path, file_format)
    with file_format.open(path) as runner:
        specs = runner.io_specs
    if specs is None:
        raise ArtifactError(f"{path} does not say what it takes and gives, so it cannot be checked alone.")
    return Artifact(
        path=path,
        format=file_format.name,
        precision=precision or _precision(file_format, path),
        contract=Contract(*specs, layout="NHWC" if specs[0].shape[-1] == 1 else "NCHW"),
        bytes=path.stat().st_size,
        sha256=sha256(path),
    )


def _sample(golden: Reference, dataset: Dataset | None) -> Sample:
    """Return all test images where the dataset is the one of the reference, else the golden images."""
    if dataset is not None and dataset.test.digest == golden.test_sha256:
        test = dataset.test
        return Sample(f"all {len(test)} test images", test.images, test.labels, golden.keras)
    name = f"{len(golden.labels)} golden images of {REFERENCE}"
    return Sample(name, golden.images, golden.labels, golden.keras[golden.indices])


def _precision(file_format: Format, path: Path) -> Precision:
    """Return how a file computes: in int8, or by the bytes that a parameter takes in it.

    What a file says of itself may come from the file that it was made from, so it decides between quantized ones alone.
    """
    described = file_format.describe(path)
    stated = described.metadata.get("precision")
    each = described.sizes.get("weights", 0) / max(described.parameters, 1)
    if (described.runtime_operators and described.runtime_operators.int8) or each < 1.5:
        return Precision(stated) if stated in QUANTIZED else Precision.INT8
    return Precision.FLOAT16 if each < 3 else Precision.FLOAT32


def _refuse_if_all_skipped(results: tuple[ArtifactResult, ...]) -> None:
    if all(result.status is Status.SKIPPED for result in results):
        one_a_format = {result.artifact.format: result.reasons[0] for result in results}
        raise MissingRuntime("nothing could be checked: " + "; ".join(dict.fromkeys(one_a_format.values())))


def _runtimes_load(results: tuple[ArtifactResult, ...], no_keras: bool) -> tuple[Check, ...]:
    """Return the failed check of the installed runtimes that do not load; none where all do."""
    unchecked = [item.artifact.path.name for item in results if item.broken_runtime] + [MODEL] * no_keras
    if not unchecked:
        return ()
    return (Check("every runtime that is installed loads", Status.FAIL, f"not checked: {', '.join(unchecked)}"),)


def _skipped_variants(results: tuple[ArtifactResult, ...]) -> Iterator[Check]:
    """Yield a check for each variant, and reason, for which files were not run in it."""
    reasons = [(item.name, item.skipped) for result in results for item in result.variants if item.skipped]
    for (name, reason), count in Counter(reasons).items():
        yield Check(f"files give the same classes {name}", Status.SKIPPED, f"{count} of them were not run so: {reason}")


def _recheck(checker: ArtifactChecker) -> Check:
    """Compare Keras's recorded predictions with new ones, where TensorFlow and the model are there."""
    name = f"{REFERENCE} is what Keras computes"
    if checker.keras_model is None:
        return Check(name, Status.SKIPPED, checker.no_keras_reason)
    outputs = predict(checker.keras_model.model, checker.sample.images)
    comparison = compare(checker.sample.keras, outputs, checker.sample.labels)
    variation = checker.golden.keras_variation
    allowed, spread = float_noise(variation), SPREADS * variation.run_to_run
    origin = f"{SPREADS} × its own spread" if allowed == spread else "64 units in the last place"
    passed = comparison.largest_difference <= allowed
    detail = (
        f"largest difference {comparison.largest_difference:.1e} ({allowed:.1e} allowed, {origin}) "
        f"over {comparison.count} images, {len(comparison.flips)} change class"
    )
    return Check(name, Status.PASS if passed else Status.FAIL, detail)


def _internals(results: tuple[ArtifactResult, ...]) -> Check:
    """Return the verdict on the kernels and layers of all files."""
    name = "kernels and layers are Keras's"
    checks = {item.artifact.path.name: item.internal_check for item in results if item.internal_check is not None}
    if faulty := [file for file, check in checks.items() if check.faults]:
        return Check(name, Status.FAIL, f"not in {', '.join(faulty)}")
    not_compared = {file: check.not_compared for file, check in checks.items() if check.not_compared}
    if not_compared or not checks:
        reasons = "; ".join(map(str, dict.fromkeys(not_compared.values())))
        files = "" if len(not_compared) == len(checks) else f"{', '.join(not_compared)}: "
        return Check(name, Status.SKIPPED, files + reasons)
    other = [file for file, check in checks.items() if not check.same_kernels and not check.same_network]
    if other:
        unexplained = "" if any(checks[file].possible for file in other) else ", and no known fault says how"
        return Check(name, Status.SKIPPED, f"kernels differ in {', '.join(other)}{unexplained}")
    worst = min((check.worst_kernel for check in checks.values() if check.worst_kernel is not None), default=0.0)
    detail = (
        "every kernel to the last bit" if worst == float("inf") else f"the worst kernel {worst:.0f} dB over its error"
    )
    if not all(check.same_kernels for check in checks.values()):
        detail = "up to the last layer; the converter rewrote kernels on the way, BatchNorm for instance"
    return Check(name, Status.PASS, f"in {len(checks)} files, {detail}")


def _keras_model(path: Path, golden: Reference) -> tuple[KerasModel | None, str, bool]:
    """Return Keras's model where it and TensorFlow are here, else why not, and whether TensorFlow is broken."""
    if not path.is_file():
        return None, f"{MODEL} is not here", False
    if missing := KERAS.missing():
        return None, missing, False
    first_look(path, KERAS, step=SCAN)
    keras_model = KerasModel(path, golden.images)
    try:
        _ = keras_model.model
    except (BrokenRuntime, CustomCodeNeeded) as error:
        return None, str(error), isinstance(error, BrokenRuntime)
    return keras_model, "", False


def _floor(manifest: Manifest) -> tuple[Check, ...]:
    """Return the check of the accuracy floor, which only a recipe trained on genuine MNIST has."""
    floor, accuracy = manifest.about.accuracy_floor, manifest.about.test_accuracy
    if floor is None or accuracy is None:
        return ()
    status = Status.PASS if accuracy >= floor else Status.FAIL
    return (Check("Keras's accuracy reaches the recipe's floor", status, f"{accuracy:.4f}, floor {floor}"),)
