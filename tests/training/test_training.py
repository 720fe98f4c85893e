"""Training: accuracy, repeatability, what is written, and what an interruption leaves."""

import json
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from support.commands import MODELS, Run

from mnist_edge.core.errors import HostError, ModelError
from mnist_edge.data.dataset import Dataset
from mnist_edge.training import store
from mnist_edge.training.recipes import RECIPES
from mnist_edge.training.trainer import train


@pytest.mark.parametrize("name", MODELS)
def test_each_recipe_reaches_its_floor_with_seed_0(exports: Path, name: str) -> None:
    record = json.loads((exports / name / "training.json").read_text())
    assert record["seed"] == 0
    assert record["floor"] == RECIPES[name].floor
    assert record["test"]["accuracy"] >= RECIPES[name].floor
    assert len(record["history"]["accuracy"]) == RECIPES[name].epochs
    assert ("val_accuracy" in record["history"]) == (RECIPES[name].validation is not None)
    confusion = np.array(record["test"]["confusion"])
    assert confusion.sum() == 10_000
    assert confusion.trace() / 10_000 == pytest.approx(record["test"]["accuracy"])
    assert record["test"]["report"]["7"]["support"] == 1028
    assert {"macro avg", "weighted avg"} <= set(record["test"]["report"])


def test_a_clock_before_1980_is_told_before_the_training(mnist: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    beginning = time.gmtime(0)
    monkeypatch.setattr(time, "localtime", lambda seconds=0: beginning)
    with pytest.raises(HostError, match="says 1970, and a"):
        train("mlp", mnist)


@pytest.mark.parametrize("name", MODELS)
def test_the_model_file_has_no_optimizer_state(exports: Path, name: str) -> None:
    path = exports / name / "model.keras"
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    assert not config.get("compile_config")
    assert path.stat().st_size < RECIPES[name].parameters * 4 + 60_000


@pytest.mark.extra("a quarter of a minute or more")
def test_one_seed_gives_the_same_weights_and_another_others(run: Run, mnist: Dataset, tmp_path: Path) -> None:
    digests = []
    for out, seed in (("a", 7), ("b", 7), ("c", 8)):
        done = run("train", "--model", "mlp", "--epochs", 1, "--seed", seed, "--out", tmp_path / out, "--json")
        record = json.loads(done.stdout)
        assert record["floor"] is None  # one epoch is not the recipe, so its floor does not apply
        digests.append(record["weights_sha256"])
    assert digests[0] == digests[1] != digests[2]


def test_train_shows_layers_report_and_confusion_matrix(run: Run, mnist: Dataset, tmp_path: Path) -> None:
    done = run("train", "--model", "mlp-wide", "--epochs", 1, "--batch-size", 512, "--out", tmp_path)
    for expected in ("Total params: 407,050", "Test loss", "precision", "f1-score", "macro avg", "weighted avg"):
        assert expected in done.stdout
    assert "Confusion matrix" in done.stdout
    assert "epoch 1/1 accuracy" in done.stderr
    assert "Next: mnist-edge export --model mlp-wide" in done.stderr


def test_retraining_removes_what_the_earlier_model_left(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    done = run("train", "--model", "mlp", "--epochs", 1, "--out", tmp_path)
    assert "Removed what the earlier model had left" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["model.keras", "training.json"]
    assert "not a finished export" in run("verify", folder, check=2).stderr


def test_ctrl_c_leaves_everything_as_it_was(exports: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "cnn", tmp_path / "cnn")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    command = [sys.executable, "-m", "mnist_edge", "train", "--epochs", "50", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while not process.stderr.readline().startswith("epoch 1/50"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "no half-written file is left" in errors
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_model_that_is_not_the_recorded_one_is_refused(exports: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    shutil.copy(exports / "cnn" / "model.keras", folder / "model.keras")
    with pytest.raises(ModelError, match=r"does not hold the weights that training\.json records"):
        store.load(folder)
    (folder / "model.keras").write_bytes(b"PK half a model")
    with pytest.raises(ModelError, match="not a Keras model"):
        store.load(folder)
    (folder / "training.json").write_text("{")
    with pytest.raises(ModelError, match=r"training\.json is damaged"):
        store.load(folder)
