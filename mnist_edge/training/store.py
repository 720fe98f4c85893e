"""The stored model: `model.keras` with `training.json`, written and read as one."""

import hashlib
import math
import shlex
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge.core.errors import ArtifactError, CustomCodeNeeded, FolderError, HostError, ModelError
from mnist_edge.core.files import temporary_folder, write_json
from mnist_edge.core.folder import BENCH, MANIFEST, MODEL, REFERENCE, REPORT, TRAINING, VERIFY
from mnist_edge.core.manifest import DatasetRecord, Manifest
from mnist_edge.core.publish import changing, publish, settled
from mnist_edge.core.reading import read_bytes, reading
from mnist_edge.core.typed_json import MOST_BYTES, parse, read_json, strict_json
from mnist_edge.data.dataset import Dataset
from mnist_edge.formats.first_look import SCAN, first_look
from mnist_edge.formats.keras import FORMAT as KERAS
from mnist_edge.formats.keras.model import load_model


@dataclass(frozen=True)
class Trained:
    """A trained Keras model and its record, which `training.json` holds; `dataset` is None where it was read from disk.

    `folder` is where both are stored, None where they are not yet. The record has the recipe, seed, split, dataset,
    history, the test report under `test`, and the versions.
    """

    model: Any
    record: dict[str, Any]
    dataset: Dataset | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class SplitRecord:
    """How many training images were trained on and held out, as scikit-learn's `train_test_split` splits them."""

    training: int
    validation: int
    validation_share: float | None
    random_state: int | None

    def check(self) -> None:
        """Raise ValueError where training images cannot be split like this."""
        share, state = self.validation_share, self.random_state
        if not (share is None or 0 < share < 1) or not (state is None or 0 <= state < 2**32):
            raise ValueError(f"no training images are split by {share} with seed {state}")


@dataclass(frozen=True)
class QuantizationRecord:
    """The quantization that a model brings along: the range of each layer (formats/keras/ranges.py).

    `source_sha256` is of the weights before quantization-aware fine-tuning.
    """

    ranges: tuple[tuple[float, float], ...]
    source_sha256: str

    def check(self) -> None:
        """Raise ValueError where no layer can have such a range."""
        for low, high in self.ranges:
            if not (math.isfinite(low) and math.isfinite(high) and low <= 0 < high):
                raise ValueError(f"no layer can have the range from {low} to {high}")


@dataclass(frozen=True)
class StoredRecord:
    """What an export needs of `training.json`.

    `structure_sha256` is of models that were taken over, `quantization` of models that were fine-tuned for int8.
    """

    weights_sha256: str
    dataset: DatasetRecord
    split: SplitRecord
    floor: float | None
    seed: int | None = None
    structure_sha256: str | None = None
    quantization: QuantizationRecord | None = None


def weights_digest(model: Any) -> str:
    """SHA-256 over the weight arrays of a Keras model, in order, with their dtypes and shapes."""
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save(trained: Trained, folder: Path) -> list[str]:
    """Write `model.keras` and `training.json`; the manifest and what was exported from the earlier model go with that.

    Returns:
        The names of the files that were removed because they came from the earlier model.
    """
    with changing(folder), temporary_folder(folder) as staging:
        write(trained, staging)
        removed = derived(folder)
        publish(folder, staging, remove=(MANIFEST, *removed))
    return list(removed)


def check_clock() -> None:
    """Raise HostError where the clock is wrong by decades: a `.keras` file is a zip archive, from 1980 on."""
    if (year := time.localtime().tm_year) < 1980:
        raise HostError(f"the clock of this machine says {year}, and a .keras file has no such date. Set the clock.")


def write(trained: Trained, folder: Path) -> None:
    """Write `model.keras` and `training.json` into a folder that nobody reads yet. Raises HostError as `train` does."""
    check_clock()
    trained.model.save(folder / MODEL)
    write_json(folder / TRAINING, trained.record)


def derived(folder: Path) -> tuple[str, ...]:
    """Return the names of the files in a folder that came from its model, but for the manifest, which lists them."""
    if not (folder / MANIFEST).is_file():
        return ()
    try:
        names = [path.name for artifact in Manifest.read(folder).artifacts for path in artifact.paths]
    except FolderError:
        names = []  # a damaged manifest names nothing that can be trusted
    names += [REFERENCE, VERIFY, BENCH, f"{REPORT}.html", f"{REPORT}.md"]
    return tuple(name for name in names if (folder / name).is_file())


def holds(folder: Path, trained: Trained) -> bool:
    """Return whether a finished export of this very model, trained on the same data, is in a folder."""
    try:
        Manifest.read(folder).check(MODEL)
    except (FolderError, ArtifactError):
        return False
    return records(folder, trained)


def records(folder: Path, trained: Trained) -> bool:
    """Return whether the record in a folder is of this very model, also where no export of it was finished."""
    try:
        record = _record(settled(folder))
    except ModelError:
        return False
    keys = ("weights_sha256", "dataset", "structure_sha256")
    return all(record.get(key) == trained.record.get(key) for key in keys)


def fine_tuned_from(folder: Path, trained: Trained) -> bool:
    """Return whether a folder holds this very model after quantization-aware fine-tuning."""
    try:
        record = _record(settled(folder))
    except ModelError:
        return False
    quantization = record["quantization"]
    same = all(record.get(key) == trained.record.get(key) for key in ("dataset", "pixel_range"))
    return same and quantization is not None and quantization["source_sha256"] == trained.record["weights_sha256"]


def load(folder: Path) -> Trained:
    """Return what `save` wrote.

    Raises:
        ModelError: a file is missing or damaged, or the two are not of one training run.
    """
    place = settled(folder)
    record = _record(place)
    try:
        first_look(place / MODEL, KERAS, step=SCAN)
        model = load_model(place / MODEL)
    except CustomCodeNeeded:
        raise
    except ArtifactError as error:
        raise ModelError(f"{error} {_advice(folder)}") from error
    if weights_digest(model) != record["weights_sha256"]:
        raise ModelError(f"{folder / MODEL} does not hold the weights that {TRAINING} records. {_advice(folder)}")
    return Trained(model, record, folder=folder)


def _record(folder: Path) -> dict[str, Any]:
    """Return what `training.json` holds, with that checked which is used. Raises ModelError where it is damaged."""
    path = folder / TRAINING
    checked = read_json(path, StoredRecord, _advice(folder), ModelError)
    with reading(ModelError, f"{path} is damaged", _advice(folder)):
        checked.split.check()
        if checked.quantization is not None:
            checked.quantization.check()
        record: dict[str, Any] = strict_json(parse(read_bytes(path, MOST_BYTES)))
    return record | asdict(checked)


def _advice(folder: Path) -> str:
    model, out = shlex.quote(folder.resolve().name), shlex.quote(str(folder.parent))
    return f"Train again: mnist-edge train --model {model} --out {out}"
