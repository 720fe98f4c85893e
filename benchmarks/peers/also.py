"""Files of others, named by `--also`: `.tflite` in LiteRT, `.onnx` in ONNX Runtime, with the range that they take."""

from pathlib import Path

from peers import litert, onnx_runtime
from peers.network import Bytes, Call
from peers.scales import RANGES, find_range


def _open(path: Path, ends: tuple[float, float]) -> Call:
    return litert.open_call(path, ends) if path.suffix == ".tflite" else onnx_runtime.open_call(path, ends)


def open_call(path: Path, name: str = "0..1") -> Call:
    """Return the call of a file whose input takes pixels in the range of that name."""
    return _open(path, RANGES[name])


def range_of(path: Path, images: Bytes, labels: Bytes) -> str:
    """Return the range that reads most of these training images right."""
    return find_range(lambda ends: _open(path, ends), images, labels)
