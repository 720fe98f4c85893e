"""A folder that is exported into, again and with other data, stays whole."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import faults
from support.commands import Run

from mnist_edge.core.errors import DataError
from mnist_edge.core.manifest import Manifest
from mnist_edge.data.dataset import Dataset
from mnist_edge.export.inputs import load_inputs
from mnist_edge.verify.verify import verify


@pytest.mark.extra("a quarter of a minute or more")
def test_two_exports_in_two_processes_give_the_same_bytes(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "cnn", tmp_path / "cnn")
    (folder / "manifest.json").unlink()
    run("export", "--all", "--out", tmp_path)
    for path in folder.iterdir():
        if path.name != "manifest.json":
            assert path.read_bytes() == (exports / "cnn" / path.name).read_bytes(), path.name


@pytest.mark.extra("a quarter of a minute or more")
def test_a_second_export_adds_and_a_damaged_file_is_left_out(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mlp"
    folder.mkdir()
    for name in ("model.keras", "training.json"):
        shutil.copy(exports / "mlp" / name, folder)
    run("export", "--model", "mlp", "--out", tmp_path, "--int8", "--format", "onnx")
    table = run("export", "--model", "mlp", "--out", tmp_path, "--float32", "--format", "tflite").stdout
    assert "mlp-int8.onnx" in table
    assert "mlp-float32.tflite" in table
    run("verify", folder)
    with (folder / "mlp-int8.onnx").open("ab") as file:
        file.write(b"x")
    done = run("export", "--model", "mlp", "--out", tmp_path, "--int8", "--format", "tflite")
    assert "mlp-int8.onnx is damaged" in done.stderr
    assert {item.path.name for item in Manifest.read(folder).artifacts} == {"mlp-float32.tflite", "mlp-int8.tflite"}
    np.savez(folder / "reference.npz", images=np.zeros(1))  # as a version with another reference wrote it
    faults.resign(folder, "reference.npz")
    assert "Export again" in run("verify", folder, check=2).stderr
    done = run("export", "--model", "mlp", "--out", tmp_path, "--int8", "--format", "tflite")
    assert "mlp-float32.tflite is damaged, of another model or of another version" in done.stderr
    assert "mlp-int8.tflite is" not in done.stderr
    run("verify", folder, "--strict")
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_export_with_other_data_is_refused_and_changes_nothing(
    run: Run, exports: Path, fashion: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    before = {path.name: hashlib.sha256(path.read_bytes()).digest() for path in folder.iterdir()}
    done = run("export", "--model", "mlp", "--out", tmp_path, "--data", fashion, check=2)
    assert "was trained on MNIST" in done.stderr
    assert {path.name: hashlib.sha256(path.read_bytes()).digest() for path in folder.iterdir()} == before


def test_another_test_set_is_other_data(exports: Path, mnist: Dataset) -> None:
    other = replace(mnist, test=mnist.test.part(np.arange(9000)))
    with pytest.raises(DataError, match="was trained on MNIST, but"):
        load_inputs(exports / "mlp", other)


def test_the_whole_chain_works_with_fashion_mnist_and_says_what_it_is(run: Run, fashion: Path, tmp_path: Path) -> None:
    done = run("export", "--model", "mlp", "--out", tmp_path, "--data", fashion)
    assert "not MNIST" in done.stderr
    done = run("verify", tmp_path / "mlp", "--data", fashion)
    assert "all 10000 test images (not MNIST" in " ".join(done.stdout.split())
    assert "floor" not in done.stdout
    done = run("verify", tmp_path / "mlp")  # MNIST is in the cache, but it is not this model's data
    assert "1000 golden images" in " ".join(done.stdout.split())
    run("bench", tmp_path / "mlp", "--runs", 25)


def test_files_that_stay_keep_the_versions_and_host_of_their_export(
    run: Run, exports: Path, tmp_path: Path, mnist: Dataset
) -> None:
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-int8.onnx")
    manifest = Manifest.read(folder)
    (artifact,) = manifest.artifacts
    old = replace(artifact, versions={**artifact.versions, "onnxruntime": "1.15.0"}, host={"cpu": "another"})
    replace(manifest, artifacts=(old,)).write()
    run("export", "--model", "mlp", "--out", tmp_path, "--float32", "--format", "onnx")
    kept = {item.path.name: item for item in Manifest.read(folder).artifacts}
    assert kept["mlp-int8.onnx"].versions["onnxruntime"] == "1.15.0"
    assert kept["mlp-int8.onnx"].host == {"cpu": "another"}
    assert kept["mlp-float32.onnx"].versions == Manifest.read(folder).about.versions
    allowed = {
        result.artifact.path.name: item.tolerance.origin
        for result in verify(folder, mnist).results
        for item in result.tolerances
        if item.tolerance.name == "host"
    }
    assert "another version of the runtime" in allowed["mlp-int8.onnx"]
    assert "another version of the runtime" not in allowed["mlp-float32.onnx"]


@pytest.mark.extra("a quarter of a minute or more")
def test_another_seed_than_the_models_is_refused(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mlp"
    folder.mkdir()
    for name in ("model.keras", "training.json"):
        shutil.copy(exports / "mlp" / name, folder)
    before = sorted(path.name for path in folder.iterdir())
    done = run("export", "--model", "mlp", "--seed", 7, "--out", tmp_path, check=2)
    assert (
        "was trained with seed 0, not with seed 7. Train it first: mnist-edge train --model mlp --seed 7" in done.stderr
    )
    assert sorted(path.name for path in folder.iterdir()) == before
    done = run("export", "--from", folder / "model.keras", "--seed", 7, "--out", tmp_path, check=2)
    assert "leave out --seed" in done.stderr
    run("export", "--model", "mlp", "--seed", 0, "--float32", "--format", "onnx", "--out", tmp_path)
