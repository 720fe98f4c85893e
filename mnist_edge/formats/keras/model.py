"""Keras's own `.keras` file, which `train` writes: read here as one more file to run, never exported."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.optional import silenced
from mnist_edge.core.reading import reading
from mnist_edge.formats.keras.files import load_any
from mnist_edge.formats.keras.limits import AT_ONCE, largest_output
from mnist_edge.formats.runner import Images, Probabilities

BATCH = 1000


def scaled(images: Images) -> Probabilities:
    """Turn uint8 `[N, 28, 28]` into what the networks take: float32 `[N, 28, 28, 1]` in [0, 1]."""
    return images[..., None].astype(np.float32) / np.float32(255)


def predict(model: Any, images: Images) -> Probabilities:
    """Run a Keras model over uint8 `[N, 28, 28]` in batches of 1 000, or of what memory holds; float32 `[N, 10]`."""
    batch = max(1, min(BATCH, AT_ONCE // largest_output(model)))
    parts = [predict_pixels(model, scaled(images[start : start + batch])) for start in range(0, len(images), batch)]
    return np.concatenate(parts)


def predict_pixels(model: Any, pixels: Probabilities) -> Probabilities:
    """Run a Keras model once over numbers of any size, float32 `[N, 28, 28]` or `[N, 28, 28, 1]`.

    Raises:
        ArtifactError: a layer of the model fails.
    """
    # Keras warns of how inputs are nested, which is nothing to the user
    with silenced(), reading(ArtifactError, f"the Keras model {model.name!r} does not run"):
        return np.asarray(model(pixels.reshape(-1, 28, 28, 1), training=False))


def load_model(path: Path) -> Any:
    """Load a model in the form of the contract, in safe mode.

    Raises:
        ArtifactError: it is missing, damaged, or not 28×28×1 in and ten probabilities out.
        MissingRuntime: TensorFlow is not installed.
    """
    model = load_any(path)
    check_shapes(model, str(path))
    return model


def check_shapes(model: Any, name: str) -> None:
    """Raise ArtifactError where a Keras model does not take 28×28×1 and give ten numbers; `name` is for the message."""
    with reading(ArtifactError, f"{name} is not a Keras model of one input and one output"):
        shapes = model.input_shape, model.output_shape
    if shapes != ((None, 28, 28, 1), (None, 10)):
        raise ArtifactError(f"{name} takes {shapes[0]} and gives {shapes[1]}, not (None, 28, 28, 1) and (None, 10).")


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
