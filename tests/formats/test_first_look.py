"""A file that is not known here is opened in a process of its own first: it may crash its runtime, or never end."""

import json
import os
import shutil
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import faults
from support.commands import Run

from mnist_edge import predict
from mnist_edge.core import known_files
from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.files import sha256
from mnist_edge.core.reference import Reference
from mnist_edge.deploy.snippets import snippet
from mnist_edge.formats import FORMATS, first_look
from mnist_edge.formats.base import Format
from mnist_edge.verify.result import Status
from mnist_edge.verify.verify import verify

IMAGE = np.zeros((28, 28), np.uint8)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which no file is known."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mnist-edge" / known_files.FOLDER


@pytest.fixture
def crashing(exports: Path, tmp_path: Path) -> Path:
    """A folder whose one file crashes its runtime, and whose manifest and reference were made to fit."""
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-int8.tflite")
    path = folder / "mlp-int8.tflite"
    scale, content = struct.pack("<f", 1 / 255), path.read_bytes()
    assert scale in content
    path.write_bytes(content.replace(scale, struct.pack("<f", float("nan"))))
    golden = Reference.read(folder / "reference.npz")
    golden.sha256[path.name] = sha256(path)
    golden.write(folder / "reference.npz")
    for name in ("reference.npz", path.name):
        faults.resign(folder, name)
    return path


def network(path: Path, nodes: list[Any], constants: dict[str, Any]) -> Path:
    """Write an ONNX file that gives `y` for an image `x`."""
    graph = helper.make_graph(
        [*nodes],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 28, 28])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A file with a loop of 2⁶² rounds."""
    number = [helper.make_tensor_value_info("i", TensorProto.INT64, [])]
    flag, flag_out = (helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("c", "c_out"))
    row, row_out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 10]) for name in ("v", "v_out"))
    steps = [helper.make_node("Identity", ["c"], ["c_out"]), helper.make_node("Tanh", ["v"], ["v_out"])]
    body = helper.make_graph(steps, "body", [*number, flag, row], [flag_out, row_out])
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["rows"]),
        helper.make_node("Loop", ["rounds", "yes", "rows"], ["y"], body=body),
    ]
    weights = np.ones((784, 10), np.float32)
    return network(
        tmp_path / "endless.onnx",
        nodes,
        {"shape": np.array([1, 784]), "weights": weights, "rounds": np.array(2**62), "yes": np.array(True)},
    )


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files at which a child has looked, filled as it does."""
    looks: list[Path] = []
    ask = first_look._ask_child

    def count(path: Path, file_format: Format, step: str) -> first_look.Answer | None:
        looks.append(path)
        return ask(path, file_format, step)

    monkeypatch.setattr(first_look, "_ask_child", count)
    return looks


def test_a_file_that_crashes_its_runtime_ends_in_one_line(crashing: Path, run: Run) -> None:
    for act in (lambda: predict(IMAGE, crashing), lambda: snippet(crashing, "python")):
        with pytest.raises(ArtifactError, match=r"the runtime crashes on it \(SIG"):
            act()
    (result,) = verify(crashing.parent, images=10).results
    assert result.status is Status.FAIL
    assert "the runtime crashes on it" in result.reasons[0]
    for command in ("bench", "inspect"):
        done = run(command, crashing.parent, check=2)
        assert "the runtime crashes on it" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_file_that_never_ends_is_not_opened(endless: Path) -> None:
    with pytest.raises(ArtifactError, match="does not come to an end"):
        predict(IMAGE, endless)


def test_a_busy_machine_has_more_time(endless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for load, seconds in ((0.0, 6), (3.0 * (os.cpu_count() or 1), 18)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert first_look._seconds(endless) == seconds


def test_a_file_that_takes_all_memory_is_not_opened(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Cast", ["most"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Sub", ["whole", "whole"], ["nothing"]),
        helper.make_node("Add", ["nothing", "size"], ["many"]),
        helper.make_node("ConstantOfShape", ["many"], ["large"]),
        helper.make_node("ReduceSum", ["large"], ["sum"], keepdims=1),
        helper.make_node("Add", ["sum", "row"], ["y"]),
    ]
    path = network(tmp_path / "large.onnx", nodes, {"size": np.array([2**32]), "row": np.zeros((1, 10), np.float32)})
    with pytest.raises(ArtifactError, match=r"needs more than .* MiB of memory"):
        predict(IMAGE, path)


def test_a_file_is_looked_at_once_for_each_release_of_its_runtime(
    exports: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, file_format = exports / "mlp" / "mlp-int8.tflite", FORMATS["tflite"]
    looks = counted(monkeypatch)
    for _ in range(2):
        predict(IMAGE, path)
        first_look.first_look(path, file_format, step="describe")
    assert len(looks) == 1
    assert cache.stat().st_mode & 0o777 == 0o700
    cache.chmod(0o777)  # now others can have written there
    predict(IMAGE, path)
    assert len(looks) == 2
    cache.chmod(0o700)
    monkeypatch.setattr(first_look, "version_beside", lambda package: "99.0")
    predict(IMAGE, path)
    assert len(looks) == 3


def test_where_nothing_can_be_remembered_it_is_looked_at_each_time(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    looks = counted(monkeypatch)
    for _ in range(2):
        predict(IMAGE, exports / "mlp" / "mlp-int8.tflite")
    assert len(looks) == 2


def test_too_many_known_files_are_forgotten(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_files, "MOST", 3)
    for key in "abcd":
        known_files.remember(key)
    assert [path.name for path in cache.iterdir()] == ["d"]
    assert known_files.is_known("d")
    assert not known_files.is_known("a")


def test_the_process_gets_no_secrets_and_nothing_of_the_working_directory(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that stands for the runtime writes down what it was given."""
    folder = tmp_path / "packages"
    (folder / "ai_edge_litert").mkdir(parents=True)
    code = (
        f"import json, os, sys\nopen({str(tmp_path / 'seen')!r}, 'w').write(json.dumps([dict(os.environ), sys.path]))\n"
    )
    (folder / "ai_edge_litert" / "__init__.py").write_text(f"{code}os.abort()\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("MY_TOKEN", "secret")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with pytest.raises(ArtifactError, match="SIGABRT"):
        first_look.first_look(exports / "mlp" / "mlp-int8.tflite", FORMATS["tflite"])
    environment, path = json.loads((tmp_path / "seen").read_text())
    assert set(environment) <= {*first_look.KEPT, "LC_CTYPE", "ORT_DISABLE_TELEMETRY", "MNIST_EDGE_PARENT"}
    assert "" not in path


def test_a_keras_model_is_scanned(exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = counted(monkeypatch)
    path = exports / "mlp" / "model.keras"
    for _ in range(2):
        first_look.first_look(path, FORMATS["keras"], step=first_look.SCAN)
    assert len(looks) == 1
    (tmp_path / "h5py.py").write_text("import os; os.abort()")
    monkeypatch.syspath_prepend(tmp_path)
    shutil.copy(path, tmp_path / "copy.keras")
    with zipfile.ZipFile(tmp_path / "copy.keras", "a") as archive:
        archive.writestr("other", "")
    with pytest.raises(ArtifactError, match="SIGABRT"):
        first_look.first_look(tmp_path / "copy.keras", FORMATS["keras"], step=first_look.SCAN)


def test_a_file_larger_than_any_model_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(10**10)
    with pytest.raises(ArtifactError, match="10,000 MB, and the limit is 200 MB"):
        predict(IMAGE, tmp_path / "large.onnx")


def test_the_process_ends_with_its_parent(endless: Path) -> None:
    picture = Path(__file__).parents[2] / "examples" / "seven.png"
    code = f"from mnist_edge import predict; predict({str(picture)!r}, {str(endless)!r})"
    parent = subprocess.Popen([sys.executable, "-c", code])

    listed = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    while not (started := listed.read_text().split()):
        time.sleep(0.02)
    (child,) = started
    time.sleep(0.2)  # it asks for that early, but not first of all
    parent.kill()
    parent.wait()
    for _ in range(100):
        if ended := _has_ended(child):
            break
        time.sleep(0.02)
    assert ended


def _has_ended(process: str) -> bool:
    """Say whether a process is gone, or nothing but its exit code is left."""
    try:
        return not Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return True
