"""Runs a Python file of the user's own that defines the layers and functions of a Keras model."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from mnist_edge.core.errors import ModelError
from mnist_edge.core.optional import require_keras
from mnist_edge.core.text import one_line

_registered: dict[Path, ModuleType] = {}


def register(path: Path) -> None:
    """Run a Python file, once, and let Keras find its layers and functions from now on.

    Raises:
        ModelError: it is not there, fails, or defines no layer and no function.
        MissingRuntime: TensorFlow is not installed.
    """
    path = path.resolve()
    if path in _registered:
        return
    keras = require_keras(f"running {path.name}")
    if not path.is_file():
        raise ModelError(f"there is no file {path}. --custom takes the Python file with the model's own layers.")
    module = _run(path)
    objects = _objects(keras, module)
    if not objects:
        raise ModelError(f"{path} defines no Keras layer and no function, so it is of no use to a model.")
    keras.saving.get_custom_objects().update(objects)
    _registered[path] = module


def registered() -> tuple[Path, ...]:
    """Return the Python files that were run, for a process that has to run them too."""
    return tuple(_registered)


def _run(path: Path) -> ModuleType:
    """Return the module that a Python file makes; it may import its neighbours. Raises ModelError."""
    import importlib.util

    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} is not a Python file. --custom takes the one with the model's own layers.")
    module = importlib.util.module_from_spec(spec)
    with _neighbours(path.parent):
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # the user's own code
            raise ModelError(f"{path} fails when it is run ({type(error).__name__}: {one_line(error)}).") from error
    return module


@contextmanager
def _neighbours(folder: Path) -> Iterator[None]:
    """Let the block import the Python files of a folder, as a script there could."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _objects(keras: ModuleType, module: ModuleType) -> dict[str, Any]:
    """Return a module's layers, functions and other classes that a model can hold, less Keras's own."""
    kinds = keras.layers.Layer, keras.Initializer, keras.regularizers.Regularizer, keras.constraints.Constraint
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, FunctionType) or (isinstance(value, type) and issubclass(value, kinds))
        if not value.__module__.startswith(("keras.", "tensorflow."))
    }
