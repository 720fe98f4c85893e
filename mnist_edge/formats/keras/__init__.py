"""Keras's own `.keras` file, which `train` writes: it can be run and traced, and is never exported."""

from pathlib import Path

from mnist_edge.core.contract import Contract as Contract
from mnist_edge.core.contract import IOOptions as IOOptions
from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.optional import installed, pip_install
from mnist_edge.core.reading import reading
from mnist_edge.formats.base import Format
from mnist_edge.formats.inspection import Description, Trace
from mnist_edge.formats.keras.model import Runner, load_model, scaled
from mnist_edge.formats.keras.trace import LayerTracer
from mnist_edge.formats.runner import Images


class Keras(Format):
    """The `.keras` format."""

    name = "keras"
    suffix = ".keras"
    unsupported = dict.fromkeys(Precision, "mnist-edge train writes it, nothing is converted")
    packages = ("tensorflow", "keras")

    def missing(self) -> str | None:
        """Return what has to be installed before `open` works; None where it works."""
        if installed("tensorflow") and installed("keras"):
            return None
        return f"TensorFlow is not installed. Install it: {pip_install('tensorflow')}"

    def describe(self, path: Path) -> Description:
        """Raise ArtifactError: Keras has a summary of its own."""
        raise ArtifactError(f"{path} is a Keras model: keras.models.load_model(…).summary() tells of it.")

    def trace(self, path: Path, images: Images) -> Trace:
        """Return each layer's kernel and output, and the output before its activation where that is a Relu."""
        model = load_model(path)
        with reading(ArtifactError, f"{path} does not run layer by layer"):
            return LayerTracer(model).trace(scaled(images))

    def open(self, path: Path, *, threads: int = 1, batch: int = 1, variant: str | None = None) -> Runner:
        """Load a model in safe mode; TensorFlow sets its own threads, and images go in by the thousand."""
        return Runner(path)


FORMAT = Keras()
