"""Loads a Keras model from whatever Keras has ever saved it as; safe mode stays on."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mnist_edge.core.errors import ArtifactError, CustomCodeNeeded
from mnist_edge.core.files import sha256
from mnist_edge.core.optional import require_keras, silenced
from mnist_edge.core.reading import check_file_size, check_size, reading, reason
from mnist_edge.core.text import flat, one_line
from mnist_edge.core.typed_json import MOST_BYTES as JSON_BYTES
from mnist_edge.core.typed_json import parse
from mnist_edge.formats.base import MOST_BYTES
from mnist_edge.formats.keras.custom import register
from mnist_edge.formats.keras.keras2 import LAMBDA_CODE, as_keras3, parts
from mnist_edge.formats.keras.limits import check_outputs, check_weights
from mnist_edge.formats.keras.saved_model import frozen_graph, load_saved_model

HDF5 = b"\x89HDF\r\n\x1a\n"
CONFIG, ATTRIBUTE = "config.json", "model_config"  # where a .keras file and an HDF5 file hold the architecture
SAVED_MODEL = "saved_model.pb"
AS_SAVED_MODEL = "save it as a SavedModel (Keras 3: model.export('folder'), Keras 2: model.save('folder'))"
UNKNOWN = re.compile(r"Could not locate (?:class|function) '([^']+)'|Unknown [\w ]+: '([^']+)'")
NEWER = re.compile(r"Could not deserialize '(keras\.[\w.]+)' because it is not")


def load_any(path: Path, custom: Path | None = None) -> Any:
    """Return the Keras model in a `.keras` or HDF5 file, or in a SavedModel folder.

    Args:
        path: of Keras 2 or 3; what it is, its content says, not its name.
        custom: a Python file with the model's own layers and functions, which is run.

    Raises:
        ArtifactError: it is missing, damaged, or holds no model that can be loaded.
        CustomCodeNeeded: it has layers or functions that are not Keras's own.
        MissingRuntime: TensorFlow is not installed.
    """
    keras = require_keras(f"reading {path.name}")
    frozen_graph()
    if custom is not None:
        register(custom)
    path = path.parent if path.name == SAVED_MODEL else path
    if path.is_dir():
        if not (path / SAVED_MODEL).is_file():
            raise ArtifactError(
                f"{path} is a folder without a {SAVED_MODEL}, so it is no SavedModel. Give a model file."
            )
        return load_saved_model(path)
    with reading(ArtifactError, f"{path} is not a Keras model that can be read", explain=_explain):
        try:
            with _readable(path) as file, silenced():
                model = keras.models.load_model(file, compile=False, safe_mode=True)
            check_outputs(model)
            return model
        except ImportError as error:  # of a module that the file names
            raise ValueError(str(error)) from error
        except (ValueError, TypeError) as error:
            if unknown := UNKNOWN.search(str(error)):
                name = flat(unknown[1] or unknown[2])
                raise CustomCodeNeeded(
                    f"{path} needs {name}, which is not Keras's own. Give the Python file that defines it with "
                    "--custom."
                ) from error
            raise


def _explain(error: Exception) -> str:
    """Return why Keras does not read a file, in one line."""
    import keras

    if newer := NEWER.search(str(error)):
        return f"Keras {keras.__version__} has no {newer[1]}; the Keras that saved it has"
    inner = one_line(str(error).rpartition("Exception encountered: ")[2])
    return reason(error) if isinstance(error, RecursionError | MemoryError) or not inner else inner


@contextmanager
def _readable(path: Path) -> Iterator[Path]:
    """Yield a file that Keras 3 reads: this one, or a copy with the ending and the words that Keras 3 expects."""
    import tempfile  # inside functions, like all of the standard library that running a file can do without
    import zipfile
    from copy import deepcopy

    import keras
    from keras.src.legacy.saving.saving_utils import model_from_config

    if not path.is_file():
        raise ArtifactError(f"there is no file {path}.")
    check_file_size(ArtifactError, path, MOST_BYTES)
    with path.open("rb") as content:
        hdf5 = content.read(len(HDF5)) == HDF5
    if not hdf5 and not zipfile.is_zipfile(path):
        raise ArtifactError(
            f"{path} is not a Keras model: it is neither a .keras zip file nor an HDF5 file nor a SavedModel folder."
        )
    config = _config_of_hdf5(path) if hdf5 else _config_of_zip(path)
    _check(config, path)
    newer = as_keras3(config)
    build = model_from_config if hdf5 else keras.saving.deserialize_keras_object
    check_weights(lambda: build(deepcopy(newer)), path.stat().st_size if hdf5 else _unpacked(path))  # build changes it
    if newer == config and path.suffix in ((".h5", ".hdf5") if hdf5 else (".keras",)):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"model{'.h5' if hdf5 else '.keras'}"
        (_rewrite_hdf5 if hdf5 else _rewrite_zip)(path, copy, json.dumps(newer))
        yield copy


def _config_of_hdf5(path: Path) -> Any:
    """Return the architecture in an HDF5 file. Raises ArtifactError where it holds weights alone."""
    import h5py

    with h5py.File(path) as file:
        config = file.attrs.get(ATTRIBUTE)
    if config is None:
        raise ArtifactError(
            f"{path} holds weights without an architecture. Build the model, model.load_weights(…), and save the whole "
            "of it: model.save('my.keras')."
        )
    return parse(config)


def _config_of_zip(path: Path) -> Any:
    """Return the architecture in a `.keras` file. Raises ArtifactError where the zip file has none."""
    from mnist_edge.core.archives import open_zip

    with open_zip(path, MOST_BYTES) as archive:
        if CONFIG not in archive.namelist():
            raise ArtifactError(
                f"{path} is not a Keras model: it is a zip file without {CONFIG}. Unpack it, if a model is in it."
            )
        check_size(archive.getinfo(CONFIG).file_size, JSON_BYTES, CONFIG)
        return parse(archive.read(CONFIG))


def _unpacked(path: Path) -> int:
    """Return the bytes of what is packed in a `.keras` file."""
    from mnist_edge.core.archives import open_zip

    with open_zip(path, MOST_BYTES) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _rewrite_hdf5(path: Path, copy: Path, config: str) -> None:
    import shutil

    import h5py

    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs[ATTRIBUTE] = config


def _rewrite_zip(path: Path, copy: Path, config: str) -> None:
    import zipfile

    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for name in source.namelist():
            target.writestr(zipfile.ZipInfo(name), config if name == CONFIG else source.read(name))


def _check(config: Any, path: Path) -> None:
    """Raise ArtifactError where an architecture holds code, or operations that Keras 3 does not have."""
    for part in parts(config):
        kind, inner = part["class_name"], part.get("config")
        name = inner.get("name", kind) if isinstance(inner, dict) else kind
        if kind == LAMBDA_CODE or (kind == "Lambda" and isinstance(inner, dict) and _is_code(inner.get("function"))):
            raise ArtifactError(
                f"{path} has a Lambda ({name}): its code could do anything when it is loaded, so it is refused. Use a "
                f"layer of Keras's or a class of your own in its place, or {AS_SAVED_MODEL}, and give that."
            )
        if kind in ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"):
            raise ArtifactError(
                f"{path} has a TensorFlow operation between its layers ({name}), which Keras 3 does not read. With the "
                f"Keras that made it, {AS_SAVED_MODEL}, and give that folder."
            )


def _is_code(function: Any) -> bool:
    """Return whether the function of a Lambda is stored as code, not by its name."""
    return isinstance(function, list) or (isinstance(function, dict) and function.get("class_name") == LAMBDA_CODE)


def digest(path: Path) -> str:
    """Return the SHA-256 of a model file; of a folder, that of its files' names and digests."""
    if path.is_file():
        return sha256(path)
    import hashlib

    total = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        total.update(f"{file.relative_to(path).as_posix()} {sha256(file)}\n".encode())
    return total.hexdigest()
