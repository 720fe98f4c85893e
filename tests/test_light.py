"""On a board: the base install and one runtime, no TensorFlow, no dataset."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.commands import install

from mnist_edge.data.dataset import Dataset

pytestmark = pytest.mark.extra("another runtime")

ROOT = Path(__file__).parent.parent
HEAVY = {"tensorflow", "keras", "tf2onnx", "onnx", "scikit-learn"}


@pytest.fixture(scope="module", params=["tflite", "onnx"])
def light(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A fresh virtual environment with `mnist-edge[tflite]` or `mnist-edge[onnx]`, installed from this checkout."""
    folder = tmp_path_factory.mktemp(request.param)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    target = f"{ROOT}[{request.param}]"
    command = [str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), target]
    done = install(command)
    if done.returncode:
        pytest.skip(f"pip could not install {target}: {done.stderr.strip().splitlines()[-1]}")
    return request.param, python


def test_import_verify_bench_and_predict_without_tensorflow(
    light: tuple[str, Path], exports: Path, mnist: Dataset, tmp_path: Path
) -> None:
    extra, python = light
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    env.pop("MNIST_EDGE_DATA", None)

    def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [python, *map(str, arguments)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    listed = json.loads(run("-m", "pip", "list", "--format", "json").stdout)
    installed = {item["name"].lower() for item in listed}
    assert not HEAVY & installed
    run("-c", "import mnist_edge")

    content = json.loads(run("-m", "mnist_edge", "verify", exports / "cnn", "--json").stdout)
    assert content["images"] == 1000
    for item in content["results"]:
        mine = item["file"].endswith(f".{extra}")
        assert item["status"] == ("PASS" if mine else "SKIPPED")
        assert mine or "pip install" in item["reasons"][0]
    assert {item["status"] for item in content["checks"]} == {"SKIPPED", "PASS"}
    run("-m", "mnist_edge", "verify", exports / "cnn", "--strict", code=1)
    assert f"cnn-int8.{extra}" in run("-m", "mnist_edge", "bench", exports / "cnn", "--runs", 25).stdout

    picture = tmp_path / "seven.png"
    Image.fromarray(255 - mnist.test.images[0]).resize((300, 300)).save(picture)
    assert "seven.png: 7 (" in run("-m", "mnist_edge", "predict", picture).stdout

    other = "onnx" if extra == "tflite" else "tflite"
    refused = run("-m", "mnist_edge", "predict", picture, "--artifact", exports / "cnn" / f"cnn-int8.{other}", code=2)
    assert "pip install" in refused.stderr
    refused = run("-m", "mnist_edge", "train", "--data", tmp_path / "none", code=2)
    assert len(refused.stderr.splitlines()) == 1


def test_with_no_runtime_at_all_nothing_is_called_checked(
    light: tuple[str, Path], exports: Path, tmp_path: Path
) -> None:
    extra, python = light
    package = {"tflite": "ai-edge-litert", "onnx": "onnxruntime"}[extra]
    subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", package], check=True)
    assert f"cnn-int8.{extra}" in subprocess.run(
        [python, "-m", "mnist_edge", "snippet", exports / "cnn" / f"cnn-int8.{extra}"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    ).stdout  # fmt: skip
    Image.new("L", (20, 20), 255).save(tmp_path / "x.png")
    for stage in ("verify", "bench"):
        done = subprocess.run(
            [python, "-m", "mnist_edge", stage, exports / "cnn"],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert done.returncode == 2
        assert "pip install" in done.stderr
        assert len(done.stderr.splitlines()) == 1
