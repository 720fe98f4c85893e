"""The code that `snippet` prints runs the file that it was printed for, in its own language, on golden images."""

import http.server
import io
import json
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from conftest import Run
from debian13 import Debian13
from numpy.typing import NDArray

from mnist_edge import tolerance
from mnist_edge.artifact import Manifest
from mnist_edge.data import Dataset
from mnist_edge.reference import Reference
from mnist_edge.snippet import snippet

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parent.parent
CHROMIUM = Path("/usr/bin/chromium")
LANGUAGES = ("python", "js", "node", "cpp", "c")
SOURCES = {"python": "digit.py", "js": "digit.js", "node": "digit.mjs", "cpp": "digit.cpp", "c": "digit.c"}
EVERY_TENTH = slice(None, None, 10)
# beside the default files: each with the ends that it has and the formats it exists in
VARIANTS = """
import sys
from pathlib import Path
from mnist_edge import data
from mnist_edge.artifact import Ends, Precision
from mnist_edge.export import export
int8, float32 = Precision.INT8, Precision.FLOAT32
for ends, precision, formats in (
    (Ends(head="logits", full_integer=True), int8, ("tflite",)),
    (Ends(full_integer=True), int8, ("tflite",)),
    (Ends(batch=None), float32, ("onnx", "tflite")),
    (Ends(batch=4, head="logits"), float32, ("onnx", "tflite")),
):
    export(Path(sys.argv[1]), data.load(), [(name, precision) for name in formats], ends)
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
    **{("model.keras", language): "Give the .onnx or .tflite file" for language in LANGUAGES},
}
CASES = [
    *((name, language) for name in ONNX for language in LANGUAGES),
    *((name, "python") for name in (*TFLITE, *FULL_INTEGER)),
    *((name, "js") for name in TFLITE if (name, "js") not in REFUSED),
]


@pytest.fixture(scope="module")
def files(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Finds a file: the default ones among `exports`, those with other ends in a folder exported here."""
    folder = tmp_path_factory.mktemp("variants") / "mlp"
    folder.mkdir()
    for name in ("model.keras", "training.json"):
        shutil.copy(exports / "mlp" / name, folder)
    done = subprocess.run([sys.executable, "-c", VARIANTS, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return lambda name: (folder if name.startswith("mlp-") else exports / "cnn") / name


def npm(package: Path, folder: Path) -> Path:
    """Install what a lock file lists into `folder`, and give its `node_modules`."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not here: apt-get install npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(package / name, folder)
    done = subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm could not install {package.name}: {done.stderr[-300:]}")
    return folder / "node_modules"


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the Node example installs."""
    folder = tmp_path_factory.mktemp("node")
    yield npm(ROOT / "examples" / "node", folder)
    shutil.rmtree(folder)


class Browser:
    """A page of headless Chromium, and the folder that a server on loopback gives it."""

    def __init__(self, page: "Page", folder: Path, address: str) -> None:
        self.page, self.folder, self.address = page, folder, address
        self.asked: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))

    def classify(self, code: str, images: NDArray[np.uint8]) -> list[list[float]]:
        """Load the printed module in a page with the import map that it asks for, and call it image by image."""
        (self.folder / SOURCES["js"]).write_text(code, encoding="utf-8")
        (maps,) = re.findall(r"<script type=\"importmap\">.*?</script>", code.replace("\n//", "\n"), flags=re.S)
        (self.folder / "index.html").write_text(f"<!doctype html>{maps}", encoding="utf-8")
        self.page.goto(f"{self.address}/index.html")
        per_call = 4 if "batch4" in code else 1
        calls = images.reshape(-1, per_call * 784).tolist()
        rows: Any = self.page.evaluate(
            """async (calls) => {
                const { classify } = await import("./digit.js");
                const rows = [];
                for (const call of calls) rows.push(Array.from(await classify(Uint8Array.from(call))));
                return rows;
            }""",
            calls,
        )
        return [row[start : start + 10] for row in rows for start in range(0, len(row), 10)]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a log, and lets nothing be cached."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def end_headers(self) -> None:
        """Every test has its own digit.js."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, on a folder with onnxruntime-web and LiteRT.js."""
    sync = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if not CHROMIUM.is_file():
        pytest.skip("Chromium is not here: apt-get install chromium")
    folder = tmp_path_factory.mktemp("browser")
    npm(ROOT / "mnist_edge" / "web", folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        opened = Browser(chromium.new_page(), folder, f"http://127.0.0.1:{server.server_port}")
        yield opened
        chromium.close()
    server.shutdown()
    server.server_close()
    shutil.rmtree(folder)
    assert opened.asked
    assert [url for url in opened.asked if not url.startswith((opened.address, "blob:", "data:"))] == []


def compiled(debian: Debian13, folder: Path, code: str, source: str, pixels: bytes) -> str:
    """Compile with the command that the code itself names, under the sanitizers, and run it."""
    (command,) = re.findall(rf"^// ((?:cc|c\+\+) {re.escape(source)} .*)$", code, flags=re.M)
    flags = "-std=c11 -pedantic $CFLAGS" if source.endswith(".c") else "-std=c++17 -pedantic $CXXFLAGS"
    built = debian.run(command.replace(source, f"{flags} {source}"), folder)
    assert built.returncode == 0, built.stderr
    ran = debian.run("./digit", folder, stdin=pixels)
    assert ran.returncode == 0, ran.stderr[-2000:]
    cut = debian.run("./digit", folder, stdin=pixels[:-1])
    assert cut.returncode == 1
    assert "the last image is not whole" in cut.stderr
    assert "Sanitizer" not in cut.stderr
    return ran.stdout


def run_as_printed(command: list[str], folder: Path, pixels: bytes) -> str:
    """Run an interpreted program."""
    done = subprocess.run(command, cwd=folder, input=pixels, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout.decode()


def outputs(
    code: str, language: str, file: Path, images: NDArray[np.uint8], folder: Path, request: pytest.FixtureRequest
) -> NDArray[np.float64]:
    """Run the printed code beside its file, as it is, and give what it makes of the images, `[N, 10]`."""
    source, pixels = SOURCES[language], images.tobytes()
    if language == "js":
        browser: Browser = request.getfixturevalue("browser")
        shutil.copy(file, browser.folder)
        return np.array(browser.classify(code, images))
    shutil.copy(file, folder)
    (folder / source).write_text(code, encoding="utf-8")
    if language == "python":
        printed = run_as_printed([sys.executable, source], folder, pixels)
    elif language == "node":
        (folder / "node_modules").symlink_to(request.getfixturevalue("node_modules"))
        printed = run_as_printed(["node", source], folder, pixels)
    else:
        printed = compiled(request.getfixturevalue("debian13"), folder, code, source, pixels)
    return np.array([[float(number) for number in line.split()] for line in printed.splitlines()])


@pytest.mark.parametrize(("name", "language"), CASES)
def test_printed_code_gives_the_recorded_outputs(
    name: str, language: str, files: Callable[[str], Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = files(name)
    golden = Reference.read(path.parent / "reference.npz")
    images, expected = golden.images[EVERY_TENTH], golden.outputs[name][EVERY_TENTH]
    (artifact,) = (item for item in Manifest.read(path.parent).artifacts if item.path.name == name)
    whole = artifact.contract.output.dtype != "float32"
    limits = tolerance.limits(artifact.precision, golden.yardstick, np.ones(1), whole, same_runtime=True)
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


@pytest.mark.parametrize("name", ["mlp-int8.onnx", "mlp-int8.tflite"])
def test_without_a_manifest_the_contract_in_the_file_gives_the_same_code(
    name: str, exports: Path, run: Run, tmp_path: Path
) -> None:
    shutil.copy(exports / "mlp" / name, tmp_path)
    assert run("snippet", tmp_path / name).stdout == run("snippet", exports / "mlp" / name).stdout


@pytest.mark.parametrize("name", ["mlp-int8.onnx", "mlp-float32.onnx", "mlp-int8.tflite", "mlp-float32.tflite"])
def test_without_a_contract_the_files_own_ends_are_used_and_the_code_says_so(
    name: str, exports: Path, run: Run, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    import onnx

    content = (exports / "mlp" / name).read_bytes()
    bare = tmp_path / "foreign" / f"it's\n\"{name}"
    bare.parent.mkdir()
    if name.endswith(".onnx"):
        proto = onnx.load_from_string(content)
        del proto.metadata_props[:]
        bare.write_bytes(proto.SerializeToString())
    else:
        bare.write_bytes(content[: content.index(b"PK\x03\x04")])
    code = run("snippet", bare).stdout
    assert "does not say what its numbers mean" in code
    golden = Reference.read(exports / "mlp" / "reference.npz")
    found = outputs(code, "python", bare, golden.images[:100], tmp_path, request)
    assert np.abs(found - golden.outputs[name][:100]).max() <= 1e-6


def test_a_file_name_is_no_url(exports: Path, browser: "Browser", tmp_path: Path) -> None:
    golden = Reference.read(exports / "mlp" / "reference.npz")
    for name in ("mlp-int8.onnx", "mlp-int8.tflite"):
        odd = tmp_path / f"50%25 a#b?c:{name}"
        shutil.copy(exports / "mlp" / name, odd)
        shutil.copy(odd, browser.folder)
        found = np.array(browser.classify(snippet(odd, "js"), golden.images[:5]))
        assert np.abs(found - golden.outputs[name][:5]).max() <= 1e-2


UINT8_ENDS = """
import sys
import numpy as np
import tensorflow as tf
from mnist_edge import data
network = tf.keras.models.load_model(sys.argv[1], compile=False)
image = tf.keras.Input(batch_shape=(1, *network.input_shape[1:]), name="image")
converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(image, network(image)))
images = data.load().train.images[:100].reshape(-1, 1, *network.input_shape[1:])
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([one.astype(np.float32) / 255] for one in images)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.uint8
open(sys.argv[2], "wb").write(converter.convert())
"""


def test_uint8_outputs_become_probabilities(
    exports: Path, mnist: Dataset, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    file = tmp_path / "foreign" / "uint8.tflite"
    file.parent.mkdir()
    command = [sys.executable, "-c", UINT8_ENDS, str(exports / "mlp" / "model.keras"), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    images = mnist.test.images[:50]
    js, python = (outputs(snippet(file, one), one, file, images, tmp_path, request) for one in ("js", "python"))
    assert np.abs(js - python).max() <= 1 / 256 + 1e-6
    assert np.abs(js.sum(axis=1) - 1).max() < 0.05
    assert (js.argmax(axis=1) == mnist.test.labels[:50]).mean() > 0.9


def with_contract(file: Path, content: bytes, change: Callable[[dict[str, Any]], object]) -> None:
    """Write a `.tflite` file whose own contract was changed."""
    told = json.loads(zipfile.ZipFile(io.BytesIO(content)).read("mnist-edge.json"))
    change(told["contract"])
    file.write_bytes(content[: content.index(b"PK\x03\x04")])
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("mnist-edge.json", json.dumps(told))


def test_a_file_that_is_not_what_it_says_is_refused(exports: Path, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mlp"
    shutil.copytree(exports / "mlp", folder)
    file = folder / "mlp-int8.tflite"

    def refused(path: Path) -> str:
        done = run("snippet", path, check=2)
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    manifest = json.loads((folder / "manifest.json").read_text())
    entry = next(item for item in manifest["artifacts"] if item["file"] == file.name)
    entry["contract"]["input"] |= {"dtype": "int8", "scale": 0.5, "zero_point": -128}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "not one step a grey level" in refused(file)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "was changed" in refused(file)
    (folder / "manifest.json").unlink()
    file.write_bytes(content.replace(b'"dtype": "uint8"', b'"dtype": "int16"'))
    assert "mnist-edge.json cannot be read" in refused(file)
    with_contract(file, content, lambda told: told["input"].update(dtype="int16"))
    assert "breaks the contract" in refused(file)
    with_contract(file, content, lambda told: told.pop("output"))
    assert "the contract in" in refused(file)
    assert "there is no file" in refused(folder / "none.onnx")
    assert "endings" in refused(folder / "training.json")
