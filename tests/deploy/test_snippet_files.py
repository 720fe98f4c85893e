"""`snippet` for files without a manifest or a contract, and for files that are not what they say."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import Run
from support.printed import outputs

from mnist_edge.core.reference import Reference


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
    bare = tmp_path / f"it's\n\"{name}"
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
    place = content.rindex(b"PK\x03\x04") + 80  # in the JSON that is zipped onto the file
    file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    assert "mnist-edge.json cannot be read" in refused(file)
    with_contract(file, content, lambda told: told["input"].update(dtype="int16"))
    assert "breaks the contract" in refused(file)
    with_contract(file, content, lambda told: told.pop("output"))
    assert "the contract in" in refused(file)
    assert "there is no file" in refused(folder / "none.onnx")
    assert "endings" in refused(folder / "training.json")
