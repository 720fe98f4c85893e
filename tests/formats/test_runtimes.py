"""The default files load and pass on runtimes from 2023 to today; the matrix in the README is written here."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import Run, install

pytestmark = pytest.mark.extra("another runtime")

ROOT = Path(__file__).parents[2]
MATRIX = ROOT / "benchmarks" / "results" / "runtimes.md"
FILES = ("cnn-float32.tflite", "cnn-int8.tflite", "cnn-float32.onnx", "cnn-int8.onnx")
ENVIRONMENTS = {
    "onnxruntime 1.15.0": ("onnxruntime==1.15.0", "numpy<2"),
    "onnxruntime, newest": ("onnxruntime", "numpy"),
    "tflite-runtime 2.14.0": ("tflite-runtime==2.14.0", "numpy<2"),
    "ai-edge-litert 1.0.1": ("ai-edge-litert==1.0.1", "numpy<2"),
    "ai-edge-litert, newest": ("ai-edge-litert", "numpy"),
}
TENSORFLOW = "TensorFlow's interpreter"
# the two other runtimes are hidden, so that the third in order is taken
HIDE = (
    "import sys; sys.modules['ai_edge_litert'] = sys.modules['tflite_runtime'] = sys.modules['onnxruntime'] = None\n"
    "from mnist_edge.cli import main; main(sys.argv[1:])"
)

Row = dict[str, str]


@pytest.fixture(scope="module")
def folder(run: Run, exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`cnn` with the default files alone."""
    target = tmp_path_factory.mktemp("default") / "cnn"
    target.mkdir()
    for name in ("model.keras", "training.json"):
        shutil.copy(exports / "cnn" / name, target)
    run("export", "--out", target.parent)
    return target


@pytest.fixture(scope="module")
def rows() -> dict[str, tuple[str, Row]]:
    """What each runtime said: its version, and a verdict for each file."""
    return {}


def verdicts(command: list[str], folder: Path, cache: Path) -> tuple[Row, dict[str, str]]:
    """Run `verify --json` and give the verdicts and the versions that it names."""
    env = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    env.pop("MNIST_EDGE_DATA", None)
    done = subprocess.run(
        [*command, "verify", str(folder), "--json"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(done.stdout)
    return {item["file"]: item["status"] for item in content["results"]}, content["versions"]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the runtimes of 2023 have wheels for Python 3.11")
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_default_files_pass_on(name: str, folder: Path, rows: dict[str, tuple[str, Row]], tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    command = [python, "-m", "pip", "install", "-q", str(ROOT), *ENVIRONMENTS[name]]
    done = install(command)
    if done.returncode:
        pytest.skip(f"pip could not install {name}: {done.stderr.strip().splitlines()[-1]}")
    found, versions = verdicts([python, "-m", "mnist_edge"], folder, tmp_path)
    package = ENVIRONMENTS[name][0].partition("==")[0]
    rows[f"{package} {versions[package]}"] = (f"numpy {versions['numpy']}", found)
    suffix = ".onnx" if package == "onnxruntime" else ".tflite"
    assert {file: status for file, status in found.items() if file.endswith(suffix)} == {
        file: "PASS" for file in FILES if file.endswith(suffix)
    }


def test_default_files_pass_on_tensorflows_interpreter(
    folder: Path, rows: dict[str, tuple[str, Row]], tmp_path: Path
) -> None:
    found, versions = verdicts([sys.executable, "-W", "ignore", "-c", HIDE], folder, tmp_path)
    rows[f"tensorflow {versions['tensorflow']}"] = (f"numpy {versions['numpy']}", found)
    assert found == {file: "PASS" if file.endswith(".tflite") else "SKIPPED" for file in FILES}


def test_the_docs_show_the_matrix(rows: dict[str, tuple[str, Row]]) -> None:
    if len(rows) != len(ENVIRONMENTS) + 1:
        pytest.skip("not every runtime was tried in this run")
    lines = ["| runtime | beside it | " + " | ".join(f"`{file}`" for file in FILES) + " |", "|---" * 6 + "|"]
    for runtime, (numpy, found) in rows.items():
        cells = [found[file] if found[file] != "SKIPPED" else "–" for file in FILES]
        lines.append(f"| {runtime} | {numpy} | " + " | ".join(cells) + " |")
    text = "\n".join(lines) + "\n"
    if not os.environ.get("MNIST_EDGE_CI"):
        MATRIX.write_text(text, encoding="utf-8")
    page = (ROOT / "docs" / "raspberry-pi.md").read_text(encoding="utf-8")
    for line in lines[2:]:
        runtime = line.split("|")[1].split()[0]
        assert [cell for cell in lines if runtime in cell]
        assert runtime in page
