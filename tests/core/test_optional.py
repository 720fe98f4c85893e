"""A runtime that is missing, too old for NumPy or broken ends in one line that says what to install."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.commands import ROOT

from mnist_edge.core import optional
from mnist_edge.core.errors import MissingRuntime

RUN = "from mnist_edge.cli import main; import sys; main(sys.argv[1:])"


def package(folder: Path, module: str, name: str, version: str, code: str) -> None:
    """Write a package with its metadata, as pip unpacks one."""
    for parent in (folder / module, folder / f"{module}-{version}.dist-info"):
        parent.mkdir(parents=True)
    (folder / module / "__init__.py").write_text(code)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (folder / f"{module}-{version}.dist-info" / "METADATA").write_text(metadata)


@pytest.mark.parametrize(
    ("version", "code", "words"),
    [
        ("1.16.3", "import os; os.abort()", ("was built for NumPy 1", "'onnxruntime>=1.19'")),
        (
            "9.9",
            'raise ImportError("version `GLIBC_2.99\' not found")',
            ("GLIBC_2.99", "--force-reinstall onnxruntime"),
        ),
        ("9.9", "import none_such", ("No module named 'none_such'", "onnxruntime 9.9", "pip install")),
        ("9.9", "raise AttributeError('_ARRAY_API not found')", ("_ARRAY_API not found", "pip install")),
    ],
)
def test_a_broken_runtime_ends_in_one_line(
    version: str, code: str, words: tuple[str, ...], tmp_path: Path, exports: Path
) -> None:
    package(tmp_path, "onnxruntime", "onnxruntime", version, code)
    target = exports / "mlp" / "mlp-int8.onnx"
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {RUN}"
    command = [sys.executable, "-c", script, "predict", str(ROOT / "examples" / "seven.pgm"), "--artifact", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert all(word in line for word in words), line


def test_a_missing_package_names_its_extra_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional, "installed", lambda module: False)
    with pytest.raises(MissingRuntime) as error:
        optional.require("tensorflow", "tensorflow", "training")
    assert str(error.value).count("'mnist-edge[export]'") == 1
    assert optional.pip_install("tensorflow", "keras").count("mnist-edge[export]") == 1


@pytest.mark.parametrize(("asked", "used"), [(None, "1"), ("0", "0")])
def test_keras_runs_on_onednn_unless_the_user_says_no(
    asked: str | None, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", asked or "")  # pytest puts it back after the test
    if asked is None:
        del os.environ["TF_ENABLE_ONEDNN_OPTS"]
    optional.require_keras("this test")
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == used


def test_each_extra_brings_the_packages_that_are_said_to_be_in_it() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for name, extra in optional.EXTRAS.items():
        inside = extras[extra.removeprefix("mnist-edge[").removesuffix("]")]
        assert name in {Requirement(line).name for line in inside}


def mnist_edge(packages: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line where the packages of a folder come before the installed ones."""
    script = f"import sys; sys.path.insert(0, {str(packages)!r}); {RUN}"
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_broken_runtime_does_not_take_the_files_of_others_with_it(tmp_path: Path, exports: Path) -> None:
    package(tmp_path / "packages", "onnxruntime", "onnxruntime", "9.9", "raise ImportError('GLIBC_2.99 not found')")
    shutil.copytree(exports / "mlp", tmp_path / "mlp")
    done = mnist_edge(tmp_path / "packages", "verify", tmp_path / "mlp", "--images", 100, "--json")
    assert done.returncode == 1, done.stderr
    content = json.loads(done.stdout)
    assert not content["good"]
    for item in content["results"]:
        broken = item["file"].endswith(".onnx")
        assert item["status"] == ("SKIPPED" if broken else "PASS")
        assert not broken or "GLIBC_2.99 not found" in item["reasons"][0]
    (check,) = (item for item in content["checks"] if item["status"] == "FAIL")
    assert check["name"] == "every runtime that is installed loads"
    assert "mlp-int8.onnx" in check["detail"]
    assert ".tflite" not in check["detail"]
    done = mnist_edge(tmp_path / "packages", "bench", tmp_path / "mlp", "--runs", 10, "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert {Path(item["file"]).suffix for item in content["results"]} == {".tflite"}
    assert "GLIBC_2.99 not found" in content["skipped"]["mlp-int8.onnx"]
    done = mnist_edge(tmp_path / "packages", "export", "--model", "mlp", "--out", tmp_path, "--float32", "--json")
    assert done.returncode == 1, done.stderr
    assert "NOT WRITTEN  mlp-float32.onnx" in done.stderr
    assert "GLIBC_2.99 not found" in done.stderr


@pytest.mark.extra("a quarter of a minute or more")
def test_files_are_checked_where_tensorflow_is_broken(tmp_path: Path, exports: Path) -> None:
    package(tmp_path / "packages", "tensorflow", "tensorflow", "9.9", "raise ImportError('AVX is missing')")
    shutil.copytree(exports / "mlp", tmp_path / "mlp")
    done = mnist_edge(tmp_path / "packages", "verify", tmp_path / "mlp", "--images", 100)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("PASS") >= 4
    assert "AVX is missing" in done.stdout
    assert "not checked: model.keras" in done.stdout


def test_nothing_can_be_checked_where_the_only_runtime_is_broken(tmp_path: Path, exports: Path) -> None:
    for module, name in (("onnxruntime", "onnxruntime"), ("ai_edge_litert", "ai-edge-litert")):
        package(tmp_path, module, name, "9.9", "raise ImportError('GLIBC_2.99 not found')")
    done = mnist_edge(tmp_path, "verify", exports / "mlp", "--images", 100)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.count("GLIBC_2.99 not found") == 2
