"""The stage `export`: `model.keras` and `training.json` in, artifacts, `reference.npz` and the manifest out."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge import __version__
from mnist_edge.core import reference
from mnist_edge.core.contract import LABELS, IOOptions, Precision
from mnist_edge.core.errors import ArtifactError, DataError, FolderError, UnsupportedPrecision
from mnist_edge.core.files import sha256
from mnist_edge.core.folder import MANIFEST, MODEL, REFERENCE, TRAINING
from mnist_edge.core.host import Host
from mnist_edge.core.manifest import Artifact, Manifest
from mnist_edge.core.optional import versions
from mnist_edge.data.dataset import Dataset, balanced, split
from mnist_edge.export.keras_variation import measuring
from mnist_edge.formats import FORMATS, runtime_versions
from mnist_edge.formats.base import Quantization, Request, TuningResult
from mnist_edge.formats.keras.model import predict
from mnist_edge.training import store

CALIBRATION_PER_CLASS, CALIBRATION_SEED = 50, 0
GOLDEN_PER_CLASS, GOLDEN_SEED = 100, 0
HELD_OUT_PER_CLASS = 1000


@dataclass(frozen=True)
class Exported:
    """The new manifest, the earlier artifacts left out of it (damaged, or foreign), and those written now."""

    manifest: Manifest
    left_out: tuple[str, ...]
    written: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """What an export starts from: the Keras model, the record of its training, and indices of training images.

    `calibration` is the representative dataset, class-balanced; `held_out` are other training images, the validation
    split where there is one, on which a choice may be made without looking at test images.
    """

    model: Any
    record: dict[str, Any]
    calibration: NDArray[np.int64]
    held_out: NDArray[np.int64]


def source(folder: Path, dataset: Dataset) -> Source:
    """Load the trained model of a folder and choose its calibration and held-out images.

    Raises:
        ModelError: the folder's model cannot be used.
        DataError: the dataset is not the one that the model was trained on.
    """
    trained = store.load(folder)
    known = trained.record["dataset"]
    if known["train_sha256"] != dataset.train.digest:
        raise DataError(
            f"the model in {folder} was trained on {known['name']}, but {dataset.source} is {dataset.name}. "
            "Give the data it was trained on with --data, or train again."
        )
    parts = trained.record["split"]
    chosen, validation = split(len(dataset.train), parts["validation_share"], parts["random_state"])
    calibration = balanced(dataset.train.labels, chosen, CALIBRATION_PER_CLASS, CALIBRATION_SEED)
    rest = validation if len(validation) else np.setdiff1d(chosen, calibration)
    held_out = balanced(dataset.train.labels, rest, HELD_OUT_PER_CLASS, CALIBRATION_SEED)
    return Source(trained.model, trained.record, calibration, held_out)


def possible(
    precisions: Iterable[Precision], formats: Collection[str], io: IOOptions
) -> tuple[list[tuple[str, Precision]], list[str]]:
    """Pair formats and precisions.

    Args:
        precisions: what is wanted.
        formats: names of formats; where it is empty, every one that exports and is for machines like this one.
        io: the ends that are wanted.

    Returns:
        The pairs that work, and the reasons why others do not.

    Raises:
        UnsupportedPrecision: none works.
    """
    pairs, refused = [], []
    for name, file_format in FORMATS.items():
        asked = name in formats if formats else file_format.platform is None
        if not asked or not file_format.precisions:
            continue
        for precision in precisions:
            try:
                file_format.contract(precision, io)
                pairs.append((name, precision))
            except UnsupportedPrecision as error:
                refused.append(str(error))
    if not pairs:
        raise UnsupportedPrecision(" ".join(dict.fromkeys(refused)))
    return pairs, refused


def export(
    folder: Path,
    dataset: Dataset,
    wanted: Iterable[tuple[str, Precision]],
    io: IOOptions | None = None,
    progress: Callable[[str], None] = lambda name: None,
    tuned: Mapping[str, TuningResult] | None = None,
) -> Exported:
    """Export the trained model of a folder; artifacts that are there already and still whole stay.

    Args:
        folder: holds `model.keras` and `training.json`; its name is the model's.
        dataset: the one it was trained on, for calibration and the reference.
        wanted: (format's name, precision) of each file to write.
        io: batch, head and dtype of the ends; the default ones where it is None.
        progress: told each file's name before it is converted.
        tuned: how to quantize int8, by the format's name or that of its twin; the default where it has none.

    Raises:
        ModelError, DataError: as `source` says.
        ConversionError, UnsupportedPrecision, MissingRuntime: as the formats say.
    """
    io = io or IOOptions()
    start = source(folder, dataset)
    record = start.record
    calibration = dataset.train.images[start.calibration]
    artifacts, outputs, left_out = _earlier(folder, record["weights_sha256"])
    model = folder.resolve().name
    written = []
    staging = Path(tempfile.mkdtemp(dir=folder, prefix=".exporting-"))
    with _removed(staging), measuring(folder / MODEL, start.model, calibration) as measured:
        golden = balanced(dataset.test.labels, np.arange(len(dataset.test)), GOLDEN_PER_CLASS, GOLDEN_SEED)
        for format_name, precision in wanted:
            file_format = FORMATS[format_name]
            path = staging / f"{model}-{precision}{io.tag}{file_format.suffix}"
            progress(path.name)
            written.append(path.name)
            tuning = (tuned or {}).get(twin(format_name), TuningResult(Quantization(), ()))
            request = Request(
                precision=precision,
                calibration=calibration,
                metadata=_metadata(model, precision, record, file_format.packages),
                io=io,
                quantization=tuning.quantization,
            )
            before = {*staging.iterdir()}
            contract = file_format.export(start.model, path, request)
            with file_format.open(path) as runner:
                outputs[path.name] = runner.run(dataset.test.images[golden])
            artifacts[path.name] = Artifact(
                path=folder / path.name,
                format=format_name,
                precision=precision,
                contract=contract,
                bytes=path.stat().st_size,
                sha256=sha256(path),
                quantization=asdict(tuning) if precision is Precision.INT8 else None,
                companions={other.name: _entry(other) for other in sorted({*staging.iterdir()} - before - {path})},
            )
        recorded = reference.Reference(
            images=dataset.test.images[golden],
            labels=dataset.test.labels[golden],
            indices=golden,
            test_sha256=dataset.test.digest,
            keras=predict(start.model, dataset.test.images),
            outputs=outputs,
            sha256={name: artifact.sha256 for name, artifact in artifacts.items()},
            keras_variation=measured(),
        )
        recorded.write(staging / REFERENCE)
        manifest = Manifest(
            folder=folder,
            model=model,
            artifacts=tuple(sorted(artifacts.values(), key=_order)),
            files={path.name: _entry(path) for path in (folder / MODEL, folder / TRAINING, staging / REFERENCE)},
            about=_about(dataset, start, recorded),
        )
        (folder / MANIFEST).unlink(missing_ok=True)
        for path in staging.iterdir():
            path.replace(folder / path.name)
        manifest.write()
    return Exported(manifest, tuple(name for name in left_out if name not in written), tuple(written))


def twin(format_name: str) -> str:
    """Return the format whose quantization a format takes over: its target's twin, or itself."""
    target = FORMATS[format_name].platform
    return target.counterpart_format if target else format_name


def _entry(path: Path) -> dict[str, Any]:
    """Return what the manifest says of a file."""
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}


def _order(artifact: Artifact) -> tuple[int, int, int, str]:
    """Sort by format, precision, and the default ends first."""
    name = artifact.path.name
    return list(FORMATS).index(artifact.format), list(Precision).index(artifact.precision), len(name), name


def _about(dataset: Dataset, start: Source, golden: reference.Reference) -> dict[str, Any]:
    record = start.record
    return {
        "mnist_edge": __version__,
        "dataset": record["dataset"],
        "weights_sha256": record["weights_sha256"],
        "test_accuracy": float((golden.keras.argmax(axis=1) == dataset.test.labels).mean()),
        "accuracy_floor": record["floor"],
        "calibration": {
            "images": len(start.calibration),
            "per_class": CALIBRATION_PER_CLASS,
            "seed": CALIBRATION_SEED,
            "indices_sha256": hashlib.sha256(start.calibration.astype("<i8").tobytes()).hexdigest(),
        },
        "versions": runtime_versions(),
        "host": asdict(Host.read()),
    }


@contextmanager
def _removed(folder: Path) -> Iterator[None]:
    """Remove a folder at the end, whatever happens."""
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _metadata(model: str, precision: Precision, record: dict[str, Any], packages: tuple[str, ...]) -> dict[str, str]:
    """Return what a file tells of itself; nothing here changes from one export of a model to the next."""
    return {
        "model": model,
        "precision": precision,
        "labels": " ".join(LABELS),
        "dataset": record["dataset"]["name"],
        "weights_sha256": record["weights_sha256"],
        "mnist_edge": __version__,
        "versions": ", ".join(f"{name} {version}" for name, version in versions(packages).items()),
    }


def _earlier(folder: Path, weights: str) -> tuple[dict[str, Artifact], dict[str, Any], tuple[str, ...]]:
    """Return the artifacts that are there and whole, their recorded outputs, and the names of the others.

    The others are damaged, came from other weights, or were written by a version with another `reference.npz`.
    """
    try:
        manifest = Manifest.read(folder)
    except FolderError:
        return {}, {}, ()
    names = tuple(artifact.path.name for artifact in manifest.artifacts)
    try:
        outputs = reference.Reference.read(manifest.check(REFERENCE)).outputs
    except (FolderError, ArtifactError):
        return {}, {}, names
    if manifest.about.get("weights_sha256") != weights:
        return {}, {}, names
    whole = {}
    for artifact in manifest.artifacts:
        with suppress(ArtifactError):
            artifact.check()
            whole[artifact.path.name] = artifact
    return (
        whole,
        {name: outputs[name] for name in whole if name in outputs},
        tuple(name for name in names if name not in whole),
    )
