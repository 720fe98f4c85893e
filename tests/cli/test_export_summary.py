"""What `export` prints at its end: the same facts as table and as JSON, also where the files cannot be timed."""

import json
from pathlib import Path

import pytest

from mnist_edge.bench import benchmark
from mnist_edge.cli.export_summary import show
from mnist_edge.core.errors import HostError
from mnist_edge.core.manifest import Manifest
from mnist_edge.export.exporter import Exported

LOSS = "loses 3.10 points of accuracy"


def exported(folder: Path) -> Exported:
    """An export of which one file loses accuracy, and one could not be written."""
    return Exported(
        manifest=Manifest.read(folder),
        left_out=("old.onnx",),
        written=("mlp-int8.onnx",),
        failed={"mlp-int8.tflite": "no reason"},
        losses={"mlp-int8.onnx": LOSS},
        removed=(),
    )


def test_json_has_losses_failures_and_what_is_left_out(exports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(exported(exports / "mlp"), exports / "mlp", full_integer=False, json=True)
    content = json.loads(capsys.readouterr().out)
    assert content["losses"] == {"mlp-int8.onnx": LOSS}
    assert content["failed"] == {"mlp-int8.tflite": "no reason"}
    assert content["left_out"] == ["old.onnx"]
    assert content["artifacts"]


def test_files_that_cannot_be_timed_are_no_failed_export(
    exports: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise HostError("a process that measures failed")

    monkeypatch.setattr(benchmark, "bench", refuse)
    show(exported(exports / "mlp"), exports / "mlp", full_integer=False, json=False)
    told = capsys.readouterr().err
    assert f"Note: mlp-int8.onnx {LOSS}" in told
    assert "Note: the files were not timed: a process that measures failed" in told
    assert f"predict digit.png --artifact {exports / 'mlp' / 'mlp-int8.onnx'}" in told
    assert "NOT WRITTEN  mlp-int8.tflite: no reason" in told
