"""What a peer gets of a network: files to convert, and digits to calibrate with and to be checked on."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Call = Callable[[Bytes], NDArray[np.float32]]
Files = tuple[Path, ...]


@dataclass(frozen=True)
class Network:
    """Our files of a network; `stock_tflite` is what TensorFlow's converter makes of the Keras model by default.

    `digits` is an npz with uint8 `calibration` `[N, 28, 28]`, and `train` and `test` with their labels.
    """

    name: str
    float_onnx: Path
    float_tflite: Path
    int8_onnx: Path
    int8_tflite: Path
    stock_tflite: Path
    digits: Path

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self), default=str), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Network":
        """Return what `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(content.pop("name"), **{name: Path(value) for name, value in content.items()})

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the digits."""
        with np.load(self.digits) as content:
            return {name: content[name] for name in content.files}

    @cached_property
    def calibration(self) -> NDArray[np.float32]:
        """Return the calibration images, float32 in [0, 1] `[N, 28, 28]`."""
        return self.arrays["calibration"].astype(np.float32) / np.float32(255)


def unit(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pixels as float32 in [0, 1]."""
    pixels = image.astype(np.float32)
    pixels *= np.float32(1 / 255)
    return pixels


def accuracy(call: Call, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> float:
    """Return the part of the images whose largest probability is that of their label."""
    return float(np.mean([call(image).argmax() == label for image, label in zip(images, labels, strict=True)]))
