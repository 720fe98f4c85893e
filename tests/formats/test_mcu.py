"""Files for microcontrollers: what is written, when, and that TensorFlow Lite Micro gives TFLite's classes."""

import io
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from support.commands import Run
from support.micro import outputs_of

from mnist_edge.core.contract import IOOptions, Precision
from mnist_edge.core.manifest import Manifest
from mnist_edge.core.reference import Reference
from mnist_edge.data.dataset import Dataset
from mnist_edge.export.plan import plan_export
from mnist_edge.formats import FORMATS
from mnist_edge.formats.c_array import source as c_source
from mnist_edge.formats.request import Request
from mnist_edge.report import html as page
from mnist_edge.report import json as as_json
from mnist_edge.report import verify_tables as report_verify
from mnist_edge.training.edge import EDGE
from mnist_edge.verify.result import Status, VerifyReport
from mnist_edge.verify.verify import verify

pytestmark = pytest.mark.extra("a quarter of a minute or more")


def test_what_is_written(mcu: Path) -> None:
    manifest = Manifest.read(mcu / "mlp")
    assert [item.path.name for item in manifest.artifacts] == ["mlp-int8-io8.tflite", "mlp-int8-io8.c"]
    assert [path.name for path in manifest.artifacts[1].paths] == ["mlp-int8-io8.c", "mlp-int8-io8.h"]
    assert {path.name for path in (mcu / "mlp").iterdir()} == {
        *("mlp-int8-io8.tflite", "mlp-int8-io8.c", "mlp-int8-io8.h"),
        *("model.keras", "training.json", "manifest.json", "reference.npz"),
    }


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_every_model_conforms(mcu: Path, model: str) -> None:
    """The conformance test of a format, as in test_export.py, for the one that is made on request."""
    file_format, path = FORMATS["c"], mcu / model / f"{model}-int8-io8.c"
    manifest = Manifest.read(mcu / model)
    (artifact,) = [item for item in manifest.artifacts if item.path == path]
    artifact.check()
    assert artifact.contract == file_format.contract(Precision.INT8, IOOptions(full_integer=True))
    golden = Reference.read(manifest.check("reference.npz"))
    with file_format.open(path) as runner:
        assert artifact.contract.mismatches(runner.io_specs or pytest.fail("no ends")) == []
        outputs = runner.run(golden.images)
        runner.invoke()
    assert np.array_equal(outputs, golden.outputs[path.name])
    assert (outputs.argmax(axis=1) == golden.keras[golden.indices].argmax(axis=1)).mean() >= 0.98


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_the_same_class_as_tflite_on_all_reference_images(mcu: Path, model: str) -> None:
    golden = Reference.read(mcu / model / "reference.npz")
    content, told = c_source.read(mcu / model / f"{model}-int8-io8.c")
    ours = outputs_of(content, told["arena"], golden.images)
    with FORMATS["tflite"].open(mcu / model / f"{model}-int8-io8.tflite") as runner:
        theirs = runner.run(golden.images)
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).sum() == 1000


@pytest.fixture(scope="module")
def reports(mcu: Path) -> dict[str, VerifyReport]:
    """What verify says of each recipe over the golden images."""
    return {path.name: verify(path, images=1000) for path in mcu.iterdir()}


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_verify_says_so_with_arena_and_flash(reports: dict[str, VerifyReport], model: str) -> None:
    report = reports[model]
    assert report.passes(strict=True)
    checks = [check for check in report.checks if check.name == "TensorFlow Lite Micro gives TFLite's classes"]
    assert len(checks) == (2 if model == "cnn" else 1)
    assert all("on all 1000 images" in check.detail for check in checks)
    for result in report.results:
        if result.artifact.format == "c":
            content, told = c_source.read(result.artifact.path)
            assert result.footprint is not None
            assert (result.footprint.flash, result.footprint.arena) == (len(content), told["arena"])
            assert result.variants == ()  # its runtime has no threads and no delegates
            (counterpart,) = [
                item for item in report.results if item.artifact.path == result.artifact.path.with_suffix(".tflite")
            ]
            assert result.internal_check is not None
            assert counterpart.internal_check is not None
            assert result.internal_check.worst_kernel == counterpart.internal_check.worst_kernel


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_the_arena_is_the_smallest(mcu: Path, model: str) -> None:
    content, told = c_source.read(mcu / model / f"{model}-int8-io8.c")
    black = np.zeros((1, 28, 28), np.uint8)
    outputs_of(content, told["arena"], black)
    with pytest.raises(RuntimeError, match="allocate"):
        outputs_of(content, told["arena"] - 16, black)


@pytest.mark.extra("a quarter of a minute or more")
def test_two_exports_give_the_same_bytes(run: Run, mcu: Path, tmp_path: Path) -> None:
    (tmp_path / "mlp").mkdir()
    for name in ("model.keras", "training.json"):
        shutil.copy(mcu / "mlp" / name, tmp_path / "mlp")
    run("export", "--format", "c", "--io", "int8", "--model", "mlp", "--out", tmp_path)
    for suffix in ("c", "h"):
        name = f"mlp-int8-io8.{suffix}"
        assert (tmp_path / "mlp" / name).read_bytes() == (mcu / "mlp" / name).read_bytes()
    skipped = [check for check in verify(tmp_path / "mlp", images=1000).checks if check.status is Status.SKIPPED]
    assert [check.detail for check in skipped] == [
        "mlp-int8-io8.c has no counterpart in this folder: export int8 with the same input and output to tflite"
    ]
    (tmp_path / "mlp" / "mlp-int8-io8.h").unlink()
    done = run("export", "--float32", "--format", "tflite", "--model", "mlp", "--out", tmp_path)
    assert "mlp-int8-io8.c is damaged" in done.stderr


def test_bench_and_predict(run: Run, mcu: Path, mnist: Dataset, tmp_path: Path) -> None:
    from PIL import Image

    content = json.loads(run("bench", mcu / "mlp", "--runs", 20, "--json").stdout)
    assert [item["file"] for item in content["results"]] == ["mlp-int8-io8.tflite"]
    assert "a microcontroller" in content["skipped"]["mlp-int8-io8.c"]
    (mcu / "mlp" / "bench.json").unlink()
    Image.fromarray(255 - mnist.test.images[0]).resize((300, 300)).save(tmp_path / "seven.png")
    done = run("predict", tmp_path / "seven.png", "--artifact", mcu / "mlp" / "mlp-int8-io8.c")
    assert "seven.png: 7 (" in done.stdout


def test_reports_tell_arena_and_flash(reports: dict[str, VerifyReport]) -> None:
    report = reports["mlp"]
    found = as_json.verify(report, strict=True)
    (footprint,) = [item["footprint"] for item in found["results"] if item["footprint"]]
    figures = (f"{footprint['flash']:,}", f"{footprint['arena']:,}")
    screen = Console(width=80, record=True, file=io.StringIO())
    screen.print(report_verify.verify_table(report))
    shown = " ".join(screen.export_text().split())
    assert "{} bytes of flash for the array, {} bytes of arena".format(*figures) in shown
    assert "PASS TensorFlow Lite Micro gives TFLite's classes: mlp-int8-io8.c gives the class of" in shown
    pages = page.render(report, None)
    assert "| mlp-int8-io8.c | {} | {} |".format(*figures) in pages[".md"]
    assert all(f">{figure}</td>" in pages[".html"] for figure in figures)


def test_files_without_a_footprint_have_no_section_of_it(exports: Path) -> None:
    pages = page.render(verify(exports / "mlp", images=1000), None)
    assert not [text for text in pages.values() if "microcontroller" in text]


BAD = [
    ("--target mcu --float32", "leave out --float32"),
    ("--target mcu --all", "leave out --all"),
    ("--target mcu --batch 4", "leave out --batch"),
    ("--target mcu --dynamic-batch", "leave out --dynamic-batch"),
    ("--target mcu --io default", "leave out --io default"),
    ("--target mcu --format onnx", "leave out --format"),
    ("--target mcu --tune latency", "leave out --tune"),
    ("--target rpi", "Choose one of mcu"),
    ("--format c", "Say --target mcu"),
    ("--format c --int8 --io int8 --batch 2", "Say --target mcu"),
    ("--format c --io int8 --tune latency", "measures on this host"),
]


@pytest.mark.parametrize(("line", "expected"), BAD, ids=[line for line, _ in BAD])
def test_what_contradicts_itself_is_one_line(run: Run, tmp_path: Path, line: str, expected: str) -> None:
    done = run("export", *line.split(), "--out", tmp_path, check=2)
    (message,) = done.stderr.splitlines()
    assert expected in message
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "ends", [IOOptions(), IOOptions(full_integer=True), IOOptions(batch=None)], ids=["default", "io8", "any"]
)
def test_it_is_made_on_request_alone(ends: IOOptions) -> None:
    plan = plan_export(Precision, (), ends)
    assert "c" not in {name for name, _ in plan.pairs}
    assert not [reason for reason in plan.refused if "microcontroller" in reason]
    assert plan_export([Precision.INT8], ("c",), IOOptions(full_integer=True)).pairs == (("c", Precision.INT8),)


@pytest.mark.extra("a quarter of a minute or more")
def test_a_tuned_array_takes_over_what_was_found_for_its_counterpart(run: Run, mcu: Path, tmp_path: Path) -> None:
    (tmp_path / "mlp").mkdir()
    for name in ("model.keras", "training.json"):
        shutil.copy(mcu / "mlp" / name, tmp_path / "mlp")
    run("export", "--target", "mcu", "--max-drop", 1, "--model", "mlp", "--out", tmp_path)
    first, second = Manifest.read(tmp_path / "mlp").artifacts
    assert first.quantization == second.quantization
    assert first.quantization is not None
    assert first.quantization["tried"]


def test_training_again_removes_the_header_too(mcu: Path, tmp_path: Path) -> None:
    from mnist_edge.training import store

    folder = shutil.copytree(mcu / "mlp", tmp_path / "mlp")
    removed = store.save(store.load(folder), folder)
    assert {"mlp-int8-io8.c", "mlp-int8-io8.h"} <= set(removed)
    assert not [*folder.glob("*.[ch]")]


HIDE = "import sys; sys.modules['tflite_micro'] = None\nfrom mnist_edge.cli import main; main(sys.argv[1:])"


def hidden(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line where TensorFlow Lite Micro is not installed."""
    command = [sys.executable, "-c", HIDE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_the_runtime_it_is_skipped_and_not_exported(mcu: Path, tmp_path: Path) -> None:
    done = hidden("verify", mcu / "mlp", "--strict")
    assert done.returncode == 1, done.stderr
    assert "SKIPPED mlp-int8-io8.c: TensorFlow Lite Micro is not installed. Install it:" in " ".join(
        done.stdout.split()
    )
    done = hidden("export", "--target", "mcu", "--model", "mlp", "--out", tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"{sys.executable} -m pip install 'mnist-edge[mcu]'.")
    assert not [*tmp_path.iterdir()]


def test_on_a_pi_it_says_where_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "x86-64 Linux alone, and this is" in (FORMATS["c"].missing() or "")


def written(model: Any, mnist: Dataset, path: Path) -> Path:
    """Write a Keras model as a C array; skip the test where the runtime is missing."""
    if reason := FORMATS["c"].missing():
        pytest.skip(reason)
    told = {"model": "x", "mnist_edge": "0", "versions": "", "precision": "int8", "dataset": "MNIST", "labels": "0"}
    request = Request(
        Precision.INT8, mnist.train.images[:100], told | {"weights_sha256": "0"}, IOOptions(full_integer=True)
    )
    FORMATS["c"].export(model, path, request)
    return path


def test_the_runtime_crashes_in_some_arenas_that_are_too_small_and_the_file_is_written(
    mnist: Dataset, tmp_path: Path
) -> None:
    import keras

    pixels = keras.Input((28, 28, 1))
    hidden = keras.layers.Activation("swish")(keras.layers.Conv2D(4, 3, strides=4)(pixels))
    model = keras.Model(pixels, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(hidden)))
    with FORMATS["c"].open(written(model, mnist, tmp_path / "x.c")) as runner:
        assert runner.run(mnist.train.images[:5]).shape == (5, 10)


def test_edge_nano_runs_in_4_kb_of_arena(mnist: Dataset, tmp_path: Path) -> None:
    _, told = c_source.read(written(EDGE["edge-nano"].build(), mnist, tmp_path / "edge-nano.c"))
    assert told["arena"] <= 4096
