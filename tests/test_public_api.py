"""The public API: what a notebook types, with the page that shows it; imports are lazy and in any order."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.commands import ROOT

import mnist_edge
from mnist_edge.core.errors import ArtifactError, PictureError, UnsupportedPrecision
from mnist_edge.core.optional import require_keras
from mnist_edge.data.dataset import Dataset
from mnist_edge.export import ExportOptions
from mnist_edge.training.recipes import find_recipe

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


def python(code: str) -> str:
    """Run code in a process of its own, and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "first", ["import mnist_edge.verify.verify, mnist_edge.bench.benchmark, mnist_edge.export", ""]
)
def test_names_are_functions_whatever_was_imported_before(first: str) -> None:
    code = f"{first}\nfrom mnist_edge import *\nimport mnist_edge, mnist_edge.predict.picture\n"
    code += "print(*(callable(getattr(mnist_edge, name)) and globals()[name].__name__ for name in mnist_edge.__all__))"
    assert python(code).split() == mnist_edge.__all__


def test_importing_the_package_imports_nothing_else() -> None:
    names = python("import sys, mnist_edge; print(*sys.modules)").split()
    assert not {"numpy", "click", "tensorflow"} & set(names)
    assert [name for name in names if name.startswith("mnist_edge")] == ["mnist_edge"]


def test_the_page_runs(mnist: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of docs/python.md, one after the other, with the smallest recipe and one epoch."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(255 - np.kron(mnist.test.images[0], np.ones((4, 4), np.uint8))).save("photo.png")
    code = "".join(re.findall(r"(?ms)^```python\n(.*?)^```", PAGE))
    assert code.count("train(") == 1
    code = code.replace('train("cnn", dataset)', 'train("mlp", dataset, schedule=Schedule(epochs=1))')
    code = "from mnist_edge.training.trainer import Schedule\n" + code.replace("runs=1000", "runs=25")
    names: dict[str, object] = {}
    exec(compile(code, "docs/python.md", "exec"), names)
    assert isinstance(names["folder"], Path)
    assert (names["folder"] / "manifest.json").is_file()
    probabilities = names["probabilities"]
    assert isinstance(probabilities, np.ndarray)
    assert probabilities.shape == (10000, 10)
    assert probabilities.dtype == np.float32


def test_export_takes_a_model_in_memory_and_loads_none(
    mnist: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = require_keras("a test")
    loads: list[object] = []
    load = keras.models.load_model

    def counted(*arguments: object, **options: object) -> object:
        loads.append(arguments)
        return load(*arguments, **options)

    monkeypatch.setattr(keras.models, "load_model", counted)
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    options = ExportOptions(formats=("onnx",), max_drop=50)
    folder = mnist_edge.export(model, tmp_path / "tiny", ["int8"], mnist, options)
    assert loads == []
    again = mnist_edge.export(folder / "model.keras", tmp_path / "again", ["float32"], mnist, ExportOptions(("onnx",)))
    assert len(loads) == 1
    keras_rows = model(mnist.test.images[:50, ..., None] / np.float32(255)).numpy().argmax(axis=1)
    for file in (folder / "tiny-int8.onnx", again / "again-float32.onnx", again):
        agree = mnist_edge.predict(mnist.test.images[:50], file).argmax(axis=1) == keras_rows
        assert agree.mean() >= 0.9, file


def test_errors_are_raised(exports: Path, mnist: Dataset, tmp_path: Path) -> None:
    artifact = exports / "mlp" / "mlp-int8.onnx"
    for wrong in (None, 3, [[0, 1]]):
        with pytest.raises(PictureError, match="give a uint8 array, or the path of a picture"):
            mnist_edge.predict(wrong, exports / "mlp")  # type: ignore[arg-type]
    with pytest.raises(PictureError, match=r"images are float32 \[1, 28, 28\]; give uint8"):
        mnist_edge.predict(np.zeros((1, 28, 28), np.float32), artifact)
    with pytest.raises(PictureError, match=r"there is no picture nowhere\.png"):
        mnist_edge.predict("nowhere.png", artifact)
    with pytest.raises(ArtifactError, match="none of the endings"):
        mnist_edge.predict(mnist.test.images[:1], tmp_path / "file.txt")
    options = ExportOptions(formats=("onnx",))
    with pytest.raises(UnsupportedPrecision, match="no int16x8 in ONNX"):
        mnist_edge.export(find_recipe("mlp").build(), tmp_path / "mlp", ["int16x8"], mnist, options)
    with pytest.raises(UnsupportedPrecision, match="there is no precision 'int4'"):
        mnist_edge.export(find_recipe("mlp").build(), tmp_path / "mlp", ["int4"], mnist)
    assert mnist_edge.predict(mnist.test.images[0], artifact).shape == (1, 10)
