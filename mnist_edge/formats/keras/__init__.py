"""Keras's own `.keras` file, which `train` writes: it can be run and traced, and is never exported."""

from pathlib import Path
from typing import Any

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

    def scan(self, path: Path) -> None:
        """Read all of the HDF5 in a file, which can crash its library."""
        import io
        import zipfile

        import h5py

        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = [name for name in archive.namelist() if name.endswith(".h5")]
                contents: list[Any] = [io.BytesIO(archive.read(name)) for name in members]
        else:
            contents = [path]
        for content in contents:
            with h5py.File(content) as file:
                dict(file.attrs)
                file.visititems(_read)

    def trace(self, path: Path, images: Images) -> Trace:
        """Return each layer's kernel and output, and the output before its activation where that is a Relu."""
        model = load_model(path)
        with reading(ArtifactError, f"{path} does not run layer by layer"):
            return LayerTracer(model).trace(scaled(images))

    def open(self, path: Path, *, threads: int = 1, batch: int = 1, variant: str | None = None) -> Runner:
        """Load a model in safe mode; TensorFlow sets its own threads, and images go in by the thousand."""
        return Runner(path)


def _read(name: str, item: Any) -> None:
    """Read a group's or an array's attributes, and its numbers."""
    dict(item.attrs)
    if hasattr(item, "shape"):
        item[()]


FORMAT = Keras()
