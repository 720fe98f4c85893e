"""JSON is read strictly, the first wrong field is named, and folders of version 0.1 are read."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_edge.core.errors import FolderError
from mnist_edge.core.listing import check_listed, stored_entries
from mnist_edge.core.manifest import Manifest
from mnist_edge.core.reference import Reference
from mnist_edge.core.typed_json import structure
from mnist_edge.report.stored import BenchResults, StoredComparison


@pytest.fixture
def content(exports: Path) -> dict[str, Any]:
    """A manifest, parsed."""
    parsed: dict[str, Any] = json.loads((exports / "mlp" / "manifest.json").read_text())
    return parsed


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("model",), 7, "model"),
        (("artifacts", 0, "bytes"), True, "bytes"),
        (("artifacts", 0, "bytes"), 1.5, "bytes"),
        (("artifacts", 0, "sha256"), None, "sha256"),
        (("artifacts", 0, "file"), "..", "path"),
        (("artifacts", 0, "precision"), "int4", "precision"),
        (("artifacts", 0, "contract", "input", "shape"), [1, "x"], "shape"),
        (("artifacts", 0, "contract", "input", "scale"), float("nan"), "scale"),
        (("about", "dataset"), {}, "name"),
        (("about", "versions"), {"numpy": 2}, "versions"),
        (("files", "reference.npz"), 3, "files"),
    ],
)
def test_a_wrong_field_is_named(
    path: tuple[Any, ...], value: Any, named: str, content: dict[str, Any], tmp_path: Path
) -> None:
    at: Any = content
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(FolderError, match=rf"manifest\.json is damaged \(.*{named}.*\)\. Export again\.") as caught:
        Manifest.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_numbers_are_numbers_and_text_is_text() -> None:
    assert structure({"accuracy": 1, "flips": [3]}, StoredComparison) == StoredComparison(1, (3,))
    for bad in ("1", None, True, float("inf")):
        with pytest.raises(ValueError, match="accuracy"):
            structure({"accuracy": bad, "flips": [3]}, StoredComparison)


def test_version_and_schema_are_checked_in_one_place(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text('{"schema": 1}')
    with pytest.raises(FolderError, match=r"schema 1, this version reads schema 2\. Run mnist-edge bench again"):
        BenchResults.read(tmp_path)
    (tmp_path / "bench.json").write_text("[" * 100_000)
    with pytest.raises(FolderError, match="damaged"):
        BenchResults.read(tmp_path)


def test_a_folder_of_version_0_1_is_read(content: dict[str, Any], exports: Path, tmp_path: Path) -> None:
    """It has versions and host for the folder alone, and another name for Keras's variation."""
    for artifact in content["artifacts"]:
        del artifact["versions"], artifact["host"]
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    manifest = Manifest.read(tmp_path)
    assert all(item.versions == manifest.about.versions and item.host for item in manifest.artifacts)
    with np.load(exports / "mlp" / "reference.npz") as archive:
        arrays = dict(archive.items())
    about = json.loads(str(arrays["about"]))
    assert set(about["keras_variation"]) == {"spread", "half", "step", "images", "runs", "int8_noise", "int8_error"}
    variation = about["measured in"] = about.pop("keras_variation")
    for name in ("int8_noise", "int8_error"):
        variation.pop(name, None)
    np.savez(tmp_path / "reference.npz", **{**arrays, "about": np.array(json.dumps(about))})
    old, new = Reference.read(tmp_path / "reference.npz"), Reference.read(exports / "mlp" / "reference.npz")
    assert old.keras_variation == replace(new.keras_variation, int8_noise=0.0, int8_error=0.0)


def test_entries_are_read_without_the_rest_of_the_manifest(exports: Path, tmp_path: Path) -> None:
    names = {entry["file"] for entry in stored_entries(exports / "mlp")}
    assert names == {artifact.path.name for artifact in Manifest.read(exports / "mlp").artifacts}
    check_listed(exports / "mlp" / "mlp-int8.onnx")
    (tmp_path / "manifest.json").write_text('{"schema": 1, "artifacts": [{"file": 3}]}')
    with pytest.raises(FolderError, match="damaged"):
        check_listed(tmp_path / "x.onnx")
