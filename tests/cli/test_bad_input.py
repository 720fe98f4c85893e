"""Folders and files that are damaged or of another kind end in one line and exit code 2, and say which file it is."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import faults
from support.commands import Run

from mnist_edge.core.errors import FolderError
from mnist_edge.core.folder import MANIFEST
from mnist_edge.core.manifest import Manifest
from mnist_edge.core.reference import Reference


@pytest.fixture
def folder(exports: Path, tmp_path: Path) -> Path:
    """An export of `mlp` with one file, and without Keras's model."""
    made = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-int8.onnx")
    (made / "model.keras").unlink()
    return made


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("images", lambda array: array[:, :14]),
        ("images", lambda array: array[0]),
        ("images", lambda array: array.astype(np.float32)),
        ("labels", lambda array: array[:5]),
        ("labels", lambda array: array + 10),
        ("labels", lambda array: array[:, None]),
        ("indices", lambda array: array + 10_000),
        ("indices", lambda array: array.astype(np.float64)),
        ("keras", lambda array: array[:, :9]),
        ("keras", lambda array: array[:, 0]),
        ("output/mlp-int8.onnx", lambda array: array[:, :9]),
        ("output/mlp-int8.onnx", lambda array: array[:5]),
        ("about", lambda array: np.array("[]")),
        ("about", lambda array: np.array(str(array).replace('"step": ', '"step": -'))),
        ("about", lambda array: np.array(str(array).replace('"step": ', '"step": "x", "z": '))),
        ("about", lambda array: np.array(str(array).replace('"step": ', '"step": 0.0, "z": '))),
    ],
)
def test_a_reference_of_another_form(name: str, change: Callable[[Any], Any], folder: Path, tmp_path: Path) -> None:
    Reference.read(folder / "reference.npz")
    with np.load(folder / "reference.npz") as content:
        arrays = dict(content)
    arrays[name] = change(arrays[name])
    np.savez_compressed(tmp_path / "other.npz", **arrays)
    with pytest.raises(FolderError, match=r"other\.npz cannot be read"):
        Reference.read(tmp_path / "other.npz")


def test_verify_says_it_in_one_line(folder: Path, run: Run, tmp_path: Path) -> None:
    with np.load(folder / "reference.npz") as content:
        arrays = dict(content)
    np.savez_compressed(tmp_path / "other.npz", **{**arrays, "keras": arrays["keras"][:, :9]})
    done = run("verify", folder / "mlp-int8.onnx", "--reference", tmp_path / "other.npz", check=2)
    assert "keras is float32 [10000, 9], not float32 [10000, 10]" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("model",), {}),
        (("about",), {}),
        (("about", "dataset"), None),
        (("about", "dataset", "name"), 1),
        (("about", "versions"), {"onnx": 1}),
        (("about", "test_accuracy"), "high"),
        (("files", "reference.npz"), "x"),
        (("files", "reference.npz", "bytes"), "1"),
        (("files", "reference.npz", "sha256"), None),
        (("artifacts", 0, "file"), ""),
        (("artifacts", 0, "bytes"), None),
        (("artifacts", 0, "sha256"), 1),
        (("artifacts", 0, "contract", "input", "name"), 1),
        (("artifacts", 0, "contract", "input", "shape"), [1, "28); system(", 28]),
        (("artifacts", 0, "contract", "input", "shape"), []),
        (("artifacts", 0, "contract", "output", "scale"), "1); import os; os.abort(); ("),
        (("artifacts", 0, "contract", "output", "zero_point"), "0"),
        (("artifacts", 0, "contract", "output", "meaning"), None),
    ],
)
def test_a_manifest_with_a_value_of_another_kind(place: tuple[Any, ...], value: object, folder: Path) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    assert place[-1] in inner if isinstance(inner, dict) else inner[place[-1]]
    inner[place[-1]] = value
    (folder / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(FolderError, match=r"manifest\.json is damaged"):
        Manifest.read(folder)


def test_a_keras_file_with_other_content_in_its_archive(exports: Path, run: Run, tmp_path: Path) -> None:
    content = bytearray((exports / "mlp" / "model.keras").read_bytes())
    for place in range(100, len(content), 97):
        content[place] ^= 0x55
    (tmp_path / "x.keras").write_bytes(content)
    done = run("predict", "x.png", "--artifact", tmp_path / "x.keras", check=2)
    assert "x.keras is not a Keras model" in done.stderr
    assert len(done.stderr.splitlines()) == 1


FAILS_ON_BRIGHT = """
import sys
import tensorflow as tf
@tf.function(input_signature=[tf.TensorSpec((1, 28, 28, 1), tf.float32)])
def look_up(image):
    row = tf.cast(tf.reduce_max(image) * 1000, tf.int32)
    return tf.gather(tf.constant([[float(number)] * 10 for number in range(20)]), row[None])
converter = tf.lite.TFLiteConverter.from_concrete_functions([look_up.get_concrete_function()])
open(sys.argv[1], "wb").write(converter.convert())
"""


def test_a_file_that_loads_and_then_fails_on_an_image(folder: Path, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.tflite"
    done = subprocess.run([sys.executable, "-c", FAILS_ON_BRIGHT, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    Image.fromarray(Reference.read(folder / "reference.npz").images[0]).save(tmp_path / "x.png")
    for command in (
        ("predict", tmp_path / "x.png", "--artifact", path),
        ("verify", path, "--reference", folder / "reference.npz"),
    ):
        done = run(*command, check=None)
        assert done.returncode in (1, 2)
        told = "".join((done.stdout + done.stderr).split())  # a table may break the line anywhere
        assert "x.tflitedoesnotrun(gatherindexoutofbounds" in told


def test_what_cannot_be_written_is_named_before_the_work(folder: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "here.xml").mkdir()
    (folder / "verify.json").unlink(missing_ok=True)
    done = run("verify", folder, "--images", "10", "--junit", tmp_path / "here.xml", check=2)
    assert f"--junit {tmp_path / 'here.xml'} is a folder; give a file." in done.stderr
    assert not (folder / "verify.json").exists()  # it is said before the work


def test_a_limit_that_holds_for_nothing_is_said(folder: Path, run: Run) -> None:
    reference = ("--reference", folder / "reference.npz")
    done = run(
        "verify", folder / "mlp-int8.onnx", *reference, "--tolerance", "float32.steps=1", "--tolerance", "drop=9"
    )
    assert done.stderr == "Note: --tolerance float32.steps limits nothing here: no file was checked that it is for.\n"


@pytest.mark.extra("a quarter of a minute or more")
def test_kernels_without_a_difference_are_not_infinite(exports: Path, run: Run, tmp_path: Path) -> None:
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-float32.onnx")
    shown = " ".join(run("verify", folder, "--images", "20", "--layers").stdout.split())
    assert "in 1 files, every kernel to the last bit" in shown
    assert " inf" not in shown
    run("report", folder, "--out", tmp_path)
    assert "inf dB" not in (tmp_path / "report.html").read_text()
