"""Keras models with layers and functions of their own, whose code `--custom` gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import Run

from mnist_edge.core.errors import ModelError
from mnist_edge.core.optional import require_keras
from mnist_edge.formats.keras.custom import register

OWN = """
import keras
import near

def twice(x):
    return x * near.TWO

@keras.saving.register_keras_serializable(package="theirs")
class Registered(keras.layers.Layer):
    def call(self, x):
        return x + 1.0

class Scale(keras.layers.Layer):
    def call(self, x):
        return x * 0.5
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with a Python file of a user's own, and a model in which its layers are."""
    (tmp_path / "near.py").write_text("TWO = 2.0\n")
    (tmp_path / "mine.py").write_text(OWN)
    return tmp_path


MAKE_OWN = """
import sys
sys.path.insert(0, sys.argv[1])
from mnist_edge.core.optional import require_keras
keras = require_keras("a test")
import mine
layers = keras.layers
model = keras.Sequential([
    keras.Input((28, 28, 1)), mine.Scale(), mine.Registered(), layers.Lambda(mine.twice), layers.Flatten(),
    layers.Dense(8, activation=mine.twice), layers.Dense(10, activation="softmax"),
])
model.save(sys.argv[1] + "/own.keras")
model.save(sys.argv[1] + "/own-hdf5.h5")
"""


def make_own(folder: Path) -> None:
    """Save the models in another process, so that Keras does not know the layers here."""
    done = subprocess.run([sys.executable, "-c", MAKE_OWN, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.extra("a quarter of a minute or more")
def test_a_model_with_layers_of_its_own_through_the_whole_chain(run: Run, own: Path, tmp_path: Path) -> None:
    make_own(own)
    out = ("--out", tmp_path / "out", "--format", "onnx", "--json")
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(own), os.environ.get("PYTHONPATH", "")])}
    for name in ("own.keras", "own-hdf5.h5"):  # its code is on the path, and not run unless it is asked for
        done = run("export", "--from", own / name, *out, "--float32", check=2, env=here)
        (line,) = done.stderr.splitlines()
        assert "which is not Keras's own. Give the Python file that defines it with --custom." in line
        run("export", "--from", own / name, "--custom", own / "mine.py", *out, "--float32")
    folder = tmp_path / "out" / "own"
    content = json.loads(run("verify", folder, "--json").stdout)
    assert {item["status"] for item in content["results"]} == {"PASS"}
    assert {item["status"] for item in content["checks"]} == {"SKIPPED"}
    assert all("with --custom" in item["detail"] for item in content["checks"])
    content = json.loads(run("verify", folder, "--custom", own / "mine.py", "--json").stdout)
    assert "PASS" in {item["status"] for item in content["checks"]}
    again = ("export", "--model", "own", *out, "--float16")
    (line,) = run(*again, check=2).stderr.splitlines()
    assert "with --custom" in line
    assert "Train again" not in line
    run(*again, "--custom", own / "mine.py")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import nothing_of_that_name", "fails when it is run (ModuleNotFoundError"),
        ("x = (", "fails when it is run (SyntaxError"),
        ("raise SystemExit(3)", "fails when it is run (SystemExit"),
        ("from keras.layers import Dense", "defines no Keras layer and no function"),
        (None, "there is no file"),
    ],
)
def test_a_file_of_custom_code_that_is_of_no_use(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "mine.py").write_text(content)
    with pytest.raises(ModelError) as caught:
        register(tmp_path / "mine.py")
    assert words in str(caught.value)


def test_custom_code_may_import_its_neighbours_and_is_run_once(own: Path) -> None:
    keras = require_keras("a test")
    note = "from pathlib import Path\nlog = Path(__file__ + '.log')\nlog.write_text(f'{log.exists()}')\n"
    (own / "mine.py").write_text(OWN.replace("Scale", "ScaleOnce") + note)
    register(own / "mine.py")
    register(own / "mine.py")
    assert (own / "mine.py.log").read_text() == "False"
    assert {"ScaleOnce", "twice"} <= {*keras.saving.get_custom_objects()}
