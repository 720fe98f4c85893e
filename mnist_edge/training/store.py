"""The stored model: `model.keras` with `training.json`, written and read as one."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge.core.errors import ArtifactError, FolderError, ModelError
from mnist_edge.core.files import atomic_write, write_json
from mnist_edge.core.folder import BENCH, MANIFEST, MODEL, REFERENCE, REPORT, TRAINING, VERIFY
from mnist_edge.core.manifest import Manifest
from mnist_edge.formats.keras.model import load_model

SCHEMA = 1


@dataclass(frozen=True)
class Trained:
    """A trained Keras model and the record that goes into `training.json`."""

    model: Any
    record: dict[str, Any]


def weights_digest(model: Any) -> str:
    """SHA-256 over the weight arrays of a Keras model, in order, with their dtypes and shapes."""
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save(trained: Trained, folder: Path) -> list[str]:
    """Write `model.keras` and `training.json`; the manifest and what was exported from the earlier model go first.

    Returns:
        The names of the files that were removed because they came from the earlier model.
    """
    stale = []
    if (folder / MANIFEST).is_file():
        try:
            stale = [path for artifact in Manifest.read(folder).artifacts for path in artifact.paths]
        except FolderError:
            stale = []  # a damaged manifest names nothing that can be trusted
        told = (REFERENCE, VERIFY, BENCH, f"{REPORT}.html", f"{REPORT}.md")
        stale = [path for path in (*stale, *(folder / name for name in told)) if path.is_file()]
        (folder / MANIFEST).unlink()
    for path in stale:
        path.unlink()
    with atomic_write(folder / MODEL) as temporary:
        trained.model.save(temporary)
    write_json(folder / TRAINING, trained.record)
    return [path.name for path in stale]


def holds(folder: Path, trained: Trained) -> bool:
    """Return whether a folder has this very model already, trained on the same data."""
    try:
        record = load(folder).record
    except ModelError:
        return False
    return all(record[key] == trained.record[key] for key in ("weights_sha256", "dataset"))


def load(folder: Path) -> Trained:
    """Read back what `save` wrote.

    Raises:
        ModelError: a file is missing or damaged, or the two are not of one training run.
    """
    again = f"Train again: mnist-edge train --model {folder.resolve().name} --out {folder.parent}"
    try:
        record = json.loads((folder / TRAINING).read_text(encoding="utf-8"))
        if record["schema"] != SCHEMA:
            raise ModelError(f"{folder / TRAINING} has schema {record['schema']}, this version reads {SCHEMA}. {again}")
        expected = record["weights_sha256"]
        _ = record["floor"], record["dataset"]["train_sha256"], record["split"]["validation_share"]  # what export reads
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / TRAINING} cannot be read ({type(error).__name__}: {error}). {again}") from error
    try:
        model = load_model(folder / MODEL)
    except ArtifactError as error:
        raise ModelError(f"{error} {again}") from error
    if weights_digest(model) != expected:
        raise ModelError(f"{folder / MODEL} does not hold the weights that {TRAINING} tells of. {again}")
    return Trained(model, record)
