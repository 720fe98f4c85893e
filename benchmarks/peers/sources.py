"""Brings together what the peers convert: our files of a network, and digits."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from mnist_edge.core.optional import silenced
from mnist_edge.data import dataset as data
from peers.network import Network

STOCK = """
import sys, keras, tensorflow
converter = tensorflow.lite.TFLiteConverter.from_keras_model(keras.models.load_model(sys.argv[1]))
open(sys.argv[2], "wb").write(converter.convert())
"""


def prepare(name: str, exports: Path, work: Path, images: int) -> Network:
    """Return a network with all files that the peers need; what `exports` lacks is exported into `work`."""
    source, folder = exports / name, work / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("model.keras", "training.json"):
        if (source / file).is_file() and not (folder / file).is_file():
            shutil.copy(source / file, folder)
    wanted = [f"{name}-{precision}.{suffix}" for precision in ("float32", "int8") for suffix in ("onnx", "tflite")]
    if not all((source / file).is_file() or (folder / file).is_file() for file in wanted):
        command = [sys.executable, "-m", "mnist_edge", "export", "--model", name, "--out", str(work)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    files = [source / file if (source / file).is_file() else folder / file for file in wanted]
    stock, digits = folder / "stock.tflite", folder / "digits.npz"
    if not stock.is_file():
        command = [sys.executable, "-c", STOCK, str(keras_file(source, folder)), str(stock)]
        subprocess.run(command, check=True, capture_output=True)
    dataset = data.load_mnist()
    train, test = dataset.train, dataset.test
    np.savez(
        digits,
        calibration=train.images[:500],
        train=train.images[:500],
        train_labels=train.labels[:500],
        test=test.images[:images],
        test_labels=test.labels[:images],
    )
    float_onnx, float_tflite, int8_onnx, int8_tflite = (file.resolve() for file in files)
    return Network(name, float_onnx, float_tflite, int8_onnx, int8_tflite, stock.resolve(), digits.resolve())


def keras_file(source: Path, folder: Path) -> Path:
    """Return the Keras model of a network: that of its exports, else the one beside what was exported here."""
    return source / "model.keras" if (source / "model.keras").is_file() else folder / "model.keras"


def keras_accuracy(path: Path, images: int) -> float:
    """Return how many of the test images the Keras network reads right."""
    from mnist_edge.formats import FORMATS

    test = data.load_mnist().test
    with silenced(), FORMATS["keras"].open(path) as runner:
        return float((runner.run(test.images[:images]).argmax(axis=1) == test.labels[:images]).mean())
