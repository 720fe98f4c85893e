"""Keras models in every form in which people have them: HDF5, .keras, SavedModel, with layers of their own."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.commands import ROOT, Run

from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import ArtifactError, ConversionError, CustomCodeNeeded
from mnist_edge.core.optional import require_keras
from mnist_edge.formats import FORMATS
from mnist_edge.formats.keras.files import digest, load_any
from mnist_edge.formats.keras.model import load_model
from mnist_edge.formats.request import Request
from mnist_edge.training.store import weights_digest

IMAGES = np.random.default_rng(0).random((3, 28, 28, 1), np.float32)


def build(*layers: Any, head: str | None = "softmax", activation: str = "relu") -> Any:
    """Return a small network, with the given layers in front, and weights that a seed makes."""
    keras = require_keras("a test")
    keras.utils.set_random_seed(1)
    made = keras.layers
    last = [made.Conv2D(4, 3, strides=3, activation=activation), made.Flatten(), made.Dense(10, activation=head)]
    return keras.Sequential([keras.Input((28, 28, 1)), *layers, *last])


def rewrite(path: Path, change: Callable[[str], str]) -> Path:
    """Change the text of the architecture in an HDF5 or `.keras` file."""
    if h5py.is_hdf5(path):
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = change(file.attrs["model_config"])
        return path
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["config.json"] = change(content["config.json"].decode()).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def save_h5(model: Any, path: Path) -> Path:
    """Save a model as Keras 2 did, whatever the file is to be called."""
    model.save(path.with_suffix(".h5"))
    path.with_suffix(".h5").replace(path)
    return path


def outputs(model: Any) -> Any:
    return np.asarray(model(IMAGES, training=False))


@pytest.mark.parametrize("name", ["x.h5", "x.hdf5", "renamed.keras", "renamed"])
def test_hdf5_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    model = build()
    assert np.array_equal(outputs(load_model(save_h5(model, tmp_path / name))), outputs(model))


def test_a_zip_file_is_known_by_its_content(tmp_path: Path) -> None:
    model = build()
    model.save(tmp_path / "x.keras")
    (tmp_path / "x.keras").rename(tmp_path / "x.h5")
    assert np.array_equal(outputs(load_model(tmp_path / "x.h5")), outputs(model))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_the_words_of_keras_2(tmp_path: Path, suffix: str) -> None:
    """Arguments that Keras 3 dropped, an axis in a list, and the modules of Keras 2."""
    layers = require_keras("a test").layers
    recurrent = layers.Reshape((28, 28)), layers.LSTM(28, return_sequences=True), layers.Reshape((28, 28, 1))
    model = build(*recurrent, layers.DepthwiseConv2D(3), layers.BatchNormalization(), layers.SpatialDropout2D(0.1))
    path = tmp_path / f"x{suffix}"
    model.save(path)

    def keras2(text: str) -> str:
        config = json.loads(text)
        added = {
            "LSTM": {"time_major": False},
            "DepthwiseConv2D": {"groups": 1, "kernel_regularizer": None},
            "BatchNormalization": {"axis": [3]},
            "SpatialDropout2D": {"trainable": True, "noise_shape": None},
        }
        for layer in config["config"]["layers"]:
            layer["config"] |= added.get(layer["class_name"], {})
            if "module" in layer:
                layer["module"] = "tf_keras.layers"
        if "module" in config:
            config["module"] = "tf_keras.src.engine.sequential"
        return json.dumps(config)

    original = path.read_bytes()
    assert np.array_equal(outputs(load_model(rewrite(path, keras2))), outputs(model))
    assert path.read_bytes() != original


def test_a_functional_model_of_keras_2(tmp_path: Path) -> None:
    keras = require_keras("a test")
    image = keras.Input((28, 28, 1))
    model = keras.Model(image, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(image)))
    path = tmp_path / "x.keras"
    model.save(path)
    rewrite(path, lambda text: text.replace("keras.src.models.functional", "keras.src.engine.functional"))
    assert np.array_equal(outputs(load_model(path)), outputs(model))


def with_lambda(path: Path) -> None:
    layers = require_keras("a test").layers
    build(layers.Lambda(lambda x: x * 2, name="double")).save(path)


def with_operation(path: Path) -> None:
    build(require_keras("a test").layers.Rescaling(2.0)).save(path)
    rewrite(path, lambda text: text.replace('"Rescaling"', '"TFOpLambda"'))


def empty_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no model")


@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("x.keras", with_lambda, "has a Lambda (double): its code could do anything"),
        ("x.h5", with_lambda, "has a Lambda (double): its code could do anything"),
        ("x.h5", with_operation, "a TensorFlow operation between its layers (rescaling"),
        ("x.weights.h5", lambda path: build().save_weights(path), "holds weights without an architecture"),
        ("x.keras", empty_zip, "it is a zip file without config.json"),
        ("x.keras", lambda path: path.write_text("no model"), "neither a .keras zip file nor an HDF5 file"),
        (
            "x.h5",
            lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\nand no more"),
            "is not a Keras model that can be read",
        ),
        ("folder", lambda path: path.mkdir(), "is a folder without a saved_model.pb"),
        ("nowhere.keras", lambda path: None, "there is no file"),
    ],
)
def test_what_is_refused_says_why(tmp_path: Path, name: str, write: Callable[[Path], Any], words: str) -> None:
    write(tmp_path / name)
    with pytest.raises(ArtifactError) as caught:
        load_any(tmp_path / name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("head", ["softmax", None])
def test_a_saved_model_becomes_a_keras_model(tmp_path: Path, head: str | None) -> None:
    keras = require_keras("a test")
    layers = keras.layers
    model = build(layers.Lambda(lambda x: x * 2), layers.BatchNormalization(), head=head)
    model.export(tmp_path / "folder", verbose=False)
    loaded = load_model(tmp_path / "folder")
    assert np.allclose(outputs(loaded), outputs(model), atol=1e-6)
    last = loaded.layers[-1]
    assert isinstance(last, layers.Softmax) if head else last.activation is keras.activations.linear
    loaded.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert np.array_equal(outputs(again), outputs(loaded))
    assert weights_digest(again) == weights_digest(load_any(tmp_path / "folder" / "saved_model.pb"))
    kernels = [array.shape for array in again.get_weights() if array.ndim == 4]
    assert kernels == [(3, 3, 1, 4)]


def test_saved_models_of_other_weights_or_operators_differ(tmp_path: Path) -> None:
    models = {"relu": build(), "tanh": build(activation="tanh"), "other": build()}
    models["other"].layers[-1].bias.assign(np.arange(10))
    found = {}
    for name, model in models.items():
        model.export(tmp_path / name, verbose=False)
        found[name] = (weights_digest(load_any(tmp_path / name)), digest(tmp_path / name))
    assert len({item[0] for item in found.values()}) == len({item[1] for item in found.values()}) == 3


def test_a_saved_model_with_two_outputs_is_refused(tmp_path: Path) -> None:
    keras = require_keras("a test")
    image = keras.Input((28, 28, 1))
    flat = keras.layers.Flatten()(image)
    keras.Model(image, [keras.layers.Dense(10)(flat), keras.layers.Dense(2)(flat)]).export(
        tmp_path / "x", verbose=False
    )
    with pytest.raises(ArtifactError, match="has 1 inputs and 2 outputs, not one of each"):
        load_any(tmp_path / "x")


IN_ANOTHER_PROCESS = """
import sys, numpy as np
from pathlib import Path
from mnist_edge.formats.keras.model import load_model
np.save(sys.argv[2], load_model(Path(sys.argv[1]))(np.load(sys.argv[2]), training=False))
"""


def test_a_saved_model_with_a_loop_runs_in_another_process(tmp_path: Path) -> None:
    """There TensorFlow does not know the loop's body from the SavedModel itself."""
    keras = require_keras("a test")
    layers = keras.layers
    model = keras.Sequential([keras.Input((28, 28, 1)), layers.Reshape((28, 28)), layers.GRU(4), layers.Dense(10)])
    model.export(tmp_path / "folder", verbose=False)
    loaded = load_model(tmp_path / "folder")
    loaded.save(tmp_path / "model.keras")
    np.save(tmp_path / "values.npy", IMAGES)
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path / "model.keras"), str(tmp_path / "values.npy")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert np.allclose(np.load(tmp_path / "values.npy"), outputs(model), atol=1e-6)
    images = (IMAGES[..., 0] * 255).astype(np.uint8)
    with pytest.raises(ConversionError, match="cannot convert the loop in a SavedModel"):
        FORMATS["tflite"].export(loaded, tmp_path / "x.tflite", Request(Precision.FLOAT32, images, {}))
    with pytest.raises(ConversionError, match="no converter computes a loop in int8"):
        FORMATS["tflite"].export(loaded, tmp_path / "x.tflite", Request(Precision.INT8, images, {}))


@pytest.mark.extra("a quarter of a minute or more")
def test_a_saved_model_through_the_whole_chain(run: Run, tmp_path: Path) -> None:
    build().export(tmp_path / "v1.0", verbose=False)
    run("export", "--from", tmp_path / "v1.0", "--out", tmp_path / "out", "--float32", "--float16", "--json")
    content = json.loads(run("verify", tmp_path / "out" / "v1.0", "--json").stdout)
    assert {item["status"] for item in content["results"]} == {"PASS"}
    assert len(content["results"]) == 4
    run("export", "--model", "v1.0", "--out", tmp_path / "out", "--int8", "--head", "logits", "--json")


def as_theirs(text: str) -> str:
    """Put a layer of another library in the place of Rescaling."""
    text = text.replace('"module": "keras.layers", "class_name": "Rescaling"', '"module": null, "class_name": "Theirs"')
    return text.replace('"class_name": "Rescaling"', '"class_name": "Theirs"')


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_missing_layer_is_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    build(require_keras("a test").layers.Rescaling(2.0)).save(path)
    with pytest.raises(CustomCodeNeeded, match="needs Theirs, which is not Keras's own"):
        load_any(rewrite(path, as_theirs))


def test_a_layer_of_another_keras_is_named(tmp_path: Path) -> None:
    build(require_keras("a test").layers.Rescaling(2.0)).save(tmp_path / "x.keras")
    path = rewrite(tmp_path / "x.keras", lambda text: text.replace('"Rescaling"', '"Newer"'))
    with pytest.raises(ArtifactError, match=r"has no keras\.layers\.Newer; the Keras that saved it has"):
        load_any(path)
