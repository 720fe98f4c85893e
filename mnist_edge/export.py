"""The stage `export`: `model.keras` and `training.json` in, artifacts, `reference.npz` and the manifest out."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge import __version__, reference, training
from mnist_edge.artifact import LABELS, Artifact, Manifest, Precision
from mnist_edge.data import Dataset, balanced, split
from mnist_edge.errors import ArtifactError, DataError, FolderError
from mnist_edge.files import sha256
from mnist_edge.formats import FORMATS, runtime_versions
from mnist_edge.formats.keras import predict
from mnist_edge.host import Host
from mnist_edge.imports import versions

CALIBRATION_PER_CLASS, CALIBRATION_SEED = 50, 0
GOLDEN_PER_CLASS, GOLDEN_SEED = 100, 0


@dataclass(frozen=True)
class Exported:
    """The new manifest, and the names of earlier artifacts left out of it: damaged, or of another model."""

    manifest: Manifest
    left_out: tuple[str, ...]


def export(
    folder: Path,
    dataset: Dataset,
    wanted: Iterable[tuple[str, Precision]],
    progress: Callable[[str], None] = lambda name: None,
) -> Exported:
    """Export the trained model of a folder; artifacts that are there already and still whole stay.

    Args:
        folder: holds `model.keras` and `training.json`; its name is the model's.
        dataset: the one it was trained on, for calibration and the reference.
        wanted: (format's name, precision) of each file to write.
        progress: told each file's name before it is converted.

    Raises:
        ModelError: the folder's model cannot be used.
        DataError: the dataset is not the one that the model was trained on.
        ConversionError, UnsupportedPrecision, MissingRuntime: as the formats say.
    """
    trained = training.load(folder)
    record = trained.record
    if record["dataset"]["train_sha256"] != dataset.train.digest:
        raise DataError(
            f"the model in {folder} was trained on {record['dataset']['name']}, "
            f"but {dataset.source} is {dataset.name}. Give the data it was trained on with --data, or train again."
        )
    recipe = record["recipe"]
    chosen, _ = split(len(dataset.train), recipe["validation"], recipe["random_state"])
    calibration = balanced(dataset.train.labels, chosen, CALIBRATION_PER_CLASS, CALIBRATION_SEED)
    golden = _golden(dataset, trained.model)
    earlier, left_out = _earlier(folder, record["weights_sha256"])
    model = folder.resolve().name
    artifacts = {artifact.path.name: artifact for artifact in earlier.artifacts} if earlier else {}
    outputs = {
        name: earlier_outputs for name, earlier_outputs in _outputs(folder, earlier).items() if name in artifacts
    }

    staging = Path(tempfile.mkdtemp(dir=folder, prefix=".exporting-"))
    try:
        for format_name, precision in wanted:
            file_format = FORMATS[format_name]
            path = staging / f"{model}-{precision}{file_format.suffix}"
            progress(path.name)
            metadata = _metadata(model, precision, record, file_format.packages)
            file_format.export(trained.model, path, precision, dataset.train.images[calibration], metadata)
            with file_format.open(path) as runner:
                outputs[path.name] = runner.run(golden.images)
            contract = file_format.contract(precision)
            artifacts[path.name] = Artifact(
                folder / path.name, format_name, precision, contract, path.stat().st_size, sha256(path)
            )
        replace(golden, outputs=outputs).write(staging / reference.NAME)
        (folder / Manifest.NAME).unlink(missing_ok=True)
        for path in staging.iterdir():
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    about = {
        "mnist_edge": __version__,
        "dataset": record["dataset"],
        "weights_sha256": record["weights_sha256"],
        "test_accuracy": float((golden.keras.argmax(axis=1) == dataset.test.labels).mean()),
        "accuracy_floor": record["floor"],
        "calibration": {
            "images": len(calibration),
            "per_class": CALIBRATION_PER_CLASS,
            "seed": CALIBRATION_SEED,
            "indices_sha256": hashlib.sha256(calibration.astype("<i8").tobytes()).hexdigest(),
        },
        "versions": runtime_versions(),
        "host": asdict(Host.read()),
    }
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        for name in (training.MODEL, training.RECORD, reference.NAME)
    }
    ordered = sorted(
        artifacts.values(), key=lambda item: (list(FORMATS).index(item.format), list(Precision).index(item.precision))
    )
    manifest = Manifest(folder, model, tuple(ordered), files, about)
    manifest.write()
    return Exported(manifest, left_out)


def _golden(dataset: Dataset, model: Any) -> reference.Reference:
    test = dataset.test
    indices = balanced(test.labels, np.arange(len(test)), GOLDEN_PER_CLASS, GOLDEN_SEED)
    return reference.Reference(
        images=test.images[indices],
        labels=test.labels[indices],
        indices=indices,
        test_sha256=test.digest,
        keras=predict(model, test.images),
        outputs={},
    )


def _metadata(model: str, precision: Precision, record: dict[str, Any], packages: tuple[str, ...]) -> dict[str, str]:
    """Give what a file tells of itself; nothing here changes from one export of a model to the next."""
    return {
        "model": model,
        "precision": precision,
        "labels": " ".join(LABELS),
        "dataset": record["dataset"]["name"],
        "weights_sha256": record["weights_sha256"],
        "mnist_edge": __version__,
        "versions": ", ".join(f"{name} {version}" for name, version in versions(packages).items()),
    }


def _earlier(folder: Path, weights: str) -> tuple[Manifest | None, tuple[str, ...]]:
    """Give the manifest that is there, less the artifacts that are damaged or came from other weights."""
    try:
        manifest = Manifest.read(folder)
        manifest.check(reference.NAME)
    except (FolderError, ArtifactError):
        return None, ()
    if manifest.about.get("weights_sha256") != weights:
        return None, tuple(artifact.path.name for artifact in manifest.artifacts)
    whole, left_out = [], []
    for artifact in manifest.artifacts:
        try:
            artifact.check()
            whole.append(artifact)
        except ArtifactError:
            left_out.append(artifact.path.name)
    return replace(manifest, artifacts=tuple(whole)), tuple(left_out)


def _outputs(folder: Path, earlier: Manifest | None) -> dict[str, Any]:
    return reference.Reference.read(folder / reference.NAME).outputs if earlier else {}
