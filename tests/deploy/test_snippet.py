"""The code that `snippet` prints runs the file that it was printed for, in its own language, on golden images."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.commands import Run
from support.printed import SOURCES, App, outputs

from mnist_edge.core.manifest import Manifest
from mnist_edge.core.reference import Reference
from mnist_edge.data.dataset import Dataset
from mnist_edge.deploy.snippets import snippet
from mnist_edge.verify import tolerances as tolerance

pytestmark = pytest.mark.extra("another runtime")

EVERY_TENTH = slice(None, None, 10)
# beside the default files: each with the input and output that it has and the formats it exists in
VARIANTS = """
import sys
from pathlib import Path
from mnist_edge.data import dataset as data
from mnist_edge.core.contract import IOOptions, Precision
from mnist_edge.export import export_folder
from mnist_edge.export.inputs import load_inputs
from mnist_edge.export.plan import ExportPlan
int8, float32 = Precision.INT8, Precision.FLOAT32
for io, precision, formats in (
    (IOOptions(head="logits", full_integer=True), int8, ("tflite",)),
    (IOOptions(full_integer=True), int8, ("tflite",)),
    (IOOptions(batch=None), float32, ("onnx", "tflite")),
    (IOOptions(batch=4, head="logits"), float32, ("onnx", "tflite")),
):
    pairs = tuple((name, precision) for name in formats)
    export_folder(load_inputs(Path(sys.argv[1]), data.load_mnist()), ExportPlan(pairs, io))
"""
ONNX = (
    "cnn-int8.onnx",
    "cnn-float32.onnx",
    "mlp-float32-anybatch.onnx",
    "mlp-float32-logits-batch4.onnx",
)
TFLITE = tuple(name.replace(".onnx", ".tflite") for name in ONNX)
FULL_INTEGER = ("mlp-int8-io8.tflite", "mlp-int8-logits-io8.tflite")
REFUSED = {
    ("mlp-int8-io8.tflite", "js"): "no int8 tensors",
    ("mlp-float32-anybatch.tflite", "js"): "free batch",
    ("cnn-int8.tflite", "node"): "LiteRT.js needs a browser",
    ("cnn-int8.tflite", "cpp"): "TFLite library for C++",
    ("cnn-int8.tflite", "c"): "TFLite library for C,",
    **{("model.keras", language): "Give the .onnx or .tflite file" for language in SOURCES},
}
CASES = [
    *((name, language) for name in ONNX for language in SOURCES),
    *((name, "python") for name in (*TFLITE, *FULL_INTEGER)),
    *((name, "js") for name in TFLITE if (name, "js") not in REFUSED),
]


@pytest.fixture(scope="module")
def files(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Finds a file: the default ones among `exports`, those with another input and output in a folder exported here."""
    folder = tmp_path_factory.mktemp("variants") / "mlp"
    folder.mkdir()
    for name in ("model.keras", "training.json"):
        shutil.copy(exports / "mlp" / name, folder)
    done = subprocess.run([sys.executable, "-c", VARIANTS, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return lambda name: (folder if name.startswith("mlp-") else exports / "cnn") / name


@pytest.mark.parametrize(("name", "language"), CASES)
def test_printed_code_gives_the_recorded_outputs(
    name: str, language: str, files: Callable[[str], Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = files(name)
    golden = Reference.read(path.parent / "reference.npz")
    images, expected = golden.images[EVERY_TENTH], golden.outputs[name][EVERY_TENTH]
    (artifact,) = (item for item in Manifest.read(path.parent).artifacts if item.path.name == name)
    whole = artifact.contract.output.dtype != "float32"
    limits = tolerance.tolerances_of(artifact.precision, golden.keras_variation, np.ones(1), whole)
    (limit,) = (item.allowed for item in limits if item.name == "host")
    limit = min(limit, 1e-6) if language == "python" else limit  # the very runtime that recorded
    code = snippet(path, language)
    assert "mnist_edge" not in code
    assert ("ORT_DISABLE_TELEMETRY" in code) == (name.endswith(".onnx") and language != "js")
    found = outputs(code, language, path, images, tmp_path, request)
    assert found.shape == (100, 10)
    print(f"{name} {language}: {np.abs(found - expected).max():.2g} of {limit:.2g}")
    assert np.abs(found - expected).max() <= limit
    assert np.array_equal(found.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize(("name", "language"), REFUSED)
def test_what_does_not_exist_is_refused_with_its_reason(
    name: str, language: str, files: Callable[[str], Path], run: Run
) -> None:
    done = run("snippet", files(name), "--lang", language, check=2)
    assert REFUSED[name, language] in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout


def test_a_file_name_is_no_url(exports: Path, app: App, tmp_path: Path) -> None:
    golden = Reference.read(exports / "mlp" / "reference.npz")
    for name in ("mlp-int8.onnx", "mlp-int8.tflite"):
        odd = tmp_path / f"50%25 a#b?c:{name}"
        shutil.copy(exports / "mlp" / name, odd)
        shutil.copy(odd, app.folder)
        found = np.array(app.classify(snippet(odd, "js"), golden.images[:5]))
        assert np.abs(found - golden.outputs[name][:5]).max() <= 1e-2


UINT8_ENDS = """
import sys
import numpy as np
import tensorflow as tf
from mnist_edge.data import dataset as data
network = tf.keras.models.load_model(sys.argv[1], compile=False)
image = tf.keras.Input(batch_shape=(1, *network.input_shape[1:]), name="image")
converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(image, network(image)))
images = data.load_mnist().train.images[:100].reshape(-1, 1, *network.input_shape[1:])
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([one.astype(np.float32) / 255] for one in images)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.uint8
open(sys.argv[2], "wb").write(converter.convert())
"""


def test_uint8_outputs_become_probabilities(
    exports: Path, mnist: Dataset, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file = tmp_path / "uint8.tflite"
    command = [sys.executable, "-c", UINT8_ENDS, str(exports / "mlp" / "model.keras"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    images = mnist.test.images[:50]
    js, python = (outputs(snippet(file, one), one, file, images, tmp_path, request) for one in ("js", "python"))
    assert np.abs(js - python).max() <= 1 / 256 + 1e-6
    assert np.abs(js.sum(axis=1) - 1).max() < 0.05
    assert (js.argmax(axis=1) == mnist.test.labels[:50]).mean() > 0.9
