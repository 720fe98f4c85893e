"""A changed file is noticed by its digest; one that was entered into the manifest again, by what it computes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from support import faults
from support.commands import Run

from mnist_edge.core.errors import IntegrityError
from mnist_edge.verify.result import ArtifactResult, Status
from mnist_edge.verify.verify import verify


@pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(
    "name", ["mlp-int8.tflite", "mlp-float32.onnx", "reference.npz", "model.keras", "training.json"]
)
def test_one_bit_anywhere_is_noticed(exports: Path, tmp_path: Path, name: str, place: float) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    content = bytearray((folder / name).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{name} was changed"):
        verify(folder, images=1000)


def changed(exports: Path, target: Path, name: str, change: Callable[[Path], None]) -> ArtifactResult:
    """Change the one artifact of a copied folder, sign the manifest again, and verify without Keras's model."""
    folder = faults.only(exports / "mlp", target / "mlp", name)
    (folder / "model.keras").unlink()
    change(folder / name)
    faults.resign(folder, name)
    (result,) = verify(folder, images=1000).results
    return result


def one_weight(graph: Any, arrays: dict[str, Any]) -> None:
    """Change one weight by so little that no tolerance against Keras or another host notices."""
    arrays["Gemm_1_bias"][4] += 2e-6


def test_a_change_under_every_tolerance_fails_when_signed_again(exports: Path, tmp_path: Path) -> None:
    name = "mlp-float32.onnx"
    result = changed(exports, tmp_path, name, lambda path: faults.edit_onnx(path, one_weight))
    assert result.status is Status.FAIL
    assert all(finding.passed for finding in result.tolerances)
    assert result.reasons == (
        "it was changed after the export and entered into the manifest again, "
        "and gives other outputs than the exporting host recorded",
    )
    assert str(result.diagnosis).startswith("cause unknown")


def rename_producer(path: Path) -> None:
    """Change what no runtime computes with."""
    proto = onnx.load(path)
    proto.producer_name = "somebody else"
    onnx.save(proto, path)


def test_a_change_without_effect_says_so(exports: Path, tmp_path: Path) -> None:
    result = changed(exports, tmp_path, "mlp-float32.onnx", rename_producer)
    assert result.status is Status.PASS
    (note,) = result.notes
    assert "no output affected" in note


@pytest.mark.parametrize("name", ["mlp-int8.tflite", "mlp-int8.onnx", "mlp-float32.tflite"])
@pytest.mark.parametrize("seed", range(6))
def test_one_bit_signed_again_fails_or_affects_no_output(exports: Path, tmp_path: Path, name: str, seed: int) -> None:
    """A runtime may refuse such a file, compute something else, or crash; the report says which."""
    rng = np.random.default_rng(seed)

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)

    result = changed(exports, tmp_path, name, flip)
    if result.status is Status.PASS:
        assert result.on_host is not None
        assert result.on_host.largest_difference == 0
        assert "no output affected" in result.notes[0]
    else:
        assert result.status is Status.FAIL
        assert result.reasons


def test_a_file_that_crashes_its_runtime_is_a_failure_of_that_file(exports: Path, run: Run, tmp_path: Path) -> None:
    """Indices of tensors far outside of the file: the interpreter reads what is not there."""
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-float32.tflite")
    path = folder / "mlp-float32.tflite"
    content = bytearray(path.read_bytes())
    content[0:4] = (2**31 - 16).to_bytes(4, "little")
    path.write_bytes(content)
    faults.resign(folder, path.name)
    assert "FAIL  mlp-float32.tflite:" in run("verify", folder, check=1).stdout


@pytest.mark.extra("a quarter of a minute or more")
def test_other_labels_in_the_manifest_fail(exports: Path, run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    for entry in content["artifacts"]:
        entry["contract"]["labels"] = [*"1234567890"]
    path.write_text(json.dumps(content))
    assert "likely cause: labels shifted" in " ".join(run("verify", folder, check=1).stdout.split())


def not_a_number(graph: Any, arrays: dict[str, Any]) -> None:
    """Let one weight be no number."""
    arrays["Gemm_1_weight"][0, 0] = np.nan


def test_a_network_of_nan_fails_and_its_json_is_json(exports: Path, run: Run, tmp_path: Path) -> None:
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-float32.onnx")
    faults.edit_onnx(folder / "mlp-float32.onnx", not_a_number)
    faults.record(folder, "mlp-float32.onnx")
    printed = run("verify", folder, "--layers", "--matrix", "--json", check=1).stdout

    def refuse(name: str) -> None:
        raise AssertionError(name)

    content = json.loads(printed, parse_constant=refuse)
    assert content["results"][0]["status"] == "FAIL"
    (check,) = [item for item in content["checks"] if item["name"] == "kernels and layers are Keras's"]
    assert check["status"] != "PASS"


def test_the_matrix_of_files_of_which_none_ran(exports: Path, run: Run, tmp_path: Path) -> None:
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-float32.onnx")
    (folder / "mlp-float32.onnx").write_bytes(b"none")
    faults.resign(folder, "mlp-float32.onnx")
    assert "FAIL  mlp-float32.onnx" in run("verify", folder, "--matrix", "--layers", check=1).stdout
