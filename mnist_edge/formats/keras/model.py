"""Keras's own `.keras` file, which `train` writes: read here as one more file to run, never exported."""

from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import ArtifactError, ConversionError, excerpt
from mnist_edge.core.optional import require_keras, silenced
from mnist_edge.formats.inspection import Kernel, Trace
from mnist_edge.formats.keras.signature import without_softmax
from mnist_edge.formats.runner import Images, Probabilities

BATCH = 1000
LOGITS = "logits"
LAYOUTS = {4: "HWIO", 2: "IO"}
DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, EOFError, ImportError)
"""What Keras raises on an archive of its form with other content."""


def scaled(images: Images) -> Probabilities:
    """Turn uint8 `[N, 28, 28]` into what the networks take: float32 `[N, 28, 28, 1]` in [0, 1]."""
    return images[..., None].astype(np.float32) / np.float32(255)


def predict(model: Any, images: Images) -> Probabilities:
    """Run a Keras model over uint8 `[N, 28, 28]` in batches of 1 000; float32 `[N, 10]`."""
    parts = [predict_pixels(model, scaled(images[start : start + BATCH])) for start in range(0, len(images), BATCH)]
    return np.concatenate(parts)


def predict_pixels(model: Any, pixels: Probabilities) -> Probabilities:
    """Run a Keras model once over numbers of any size, float32 `[N, 28, 28]` or `[N, 28, 28, 1]`."""
    with silenced():  # Keras warns of how inputs are nested, which is nothing to the user
        return np.asarray(model(pixels.reshape(-1, 28, 28, 1), training=False))


def load_model(path: Path) -> Any:
    """Load a `.keras` file in safe mode.

    Raises:
        ArtifactError: it is missing, damaged, or not 28×28×1 in and ten probabilities out.
        MissingRuntime: TensorFlow is not installed.
    """
    import zipfile
    import zlib

    keras = require_keras(f"reading {path.name}")
    if path.is_file() and not zipfile.is_zipfile(path):
        raise ArtifactError(f"{path} is not a Keras model: it is not a .keras zip file.")
    try:
        with silenced():
            model = keras.models.load_model(path, compile=False)
        check_shapes(model, str(path))
    except (*DAMAGED, zipfile.BadZipFile, zlib.error) as error:
        reason = excerpt(error)
        raise ArtifactError(f"{path} is not a Keras model that can be read ({reason}).") from error
    return model


def check_shapes(model: Any, name: str) -> None:
    """Raise ArtifactError where a Keras model does not take 28×28×1 and give ten numbers; `name` is for the message."""
    shapes = model.input_shape, model.output_shape
    if shapes != ((None, 28, 28, 1), (None, 10)):
        raise ArtifactError(f"{name} takes {shapes[0]} and gives {shapes[1]}, not (None, 28, 28, 1) and (None, 10).")


def trace(model: Any, images: Images) -> Trace:
    """Return the kernels (HWIO, IO) and outputs of a Keras model's layers, less those that only move numbers.

    A BatchNormalization is folded into the kernel before it, as converters do.
    """
    import keras

    folded = {
        layer.name: following
        for layer, following in pairwise(model.layers)
        if isinstance(following, keras.layers.BatchNormalization) and following.input._keras_history.operation is layer
    }
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense)]
    kernels = [
        Kernel(layer.name, np.asarray(layer.kernel) * _factor(folded.get(layer.name)), LAYOUTS[layer.kernel.ndim])
        for layer in layers
    ]
    outputs = {layer.name: layer.output for layer in model.layers if layer.name not in folded}
    with suppress(ConversionError):  # a Softmax inside a nested model: there is no tensor of logits to give
        outputs = {**outputs, LOGITS: without_softmax(model).output}
    with silenced():
        values = keras.Model(model.inputs[0], list(outputs.values()))(scaled(images), training=False)
    tensors = [("", scaled(images)), *zip(outputs, map(np.asarray, values), strict=True)]
    computed = (after for before, after in pairwise(tensors) if not np.array_equal(before[1].ravel(), after[1].ravel()))
    return Trace(tuple(kernels), tuple(computed))


def _factor(norm: Any) -> NDArray[np.float32]:
    """Return what a BatchNormalization multiplies each channel with; 1 where there is none."""
    if norm is None:
        return np.ones((), np.float32)
    gamma = np.ones((), np.float32) if norm.gamma is None else np.asarray(norm.gamma)
    return np.asarray(gamma / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon), np.float32)


class Runner:
    """A Keras model in TensorFlow."""

    batch = 1
    io_specs = None

    def __init__(self, path: Path) -> None:
        self._model = load_model(path)
        self._blank = np.zeros((1, 28, 28), np.uint8)

    def run(self, images: Images) -> Probabilities:
        """Take uint8 `[N, 28, 28]`, give float32 `[N, 10]`."""
        return predict(self._model, images)

    def invoke(self) -> None:
        """Run once on a blank image."""
        predict(self._model, self._blank)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._model
