"""`verify` as people and their CI use it: a foreign file, layers, JUnit, `assert_parity`, narrow terminals."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import onnx
import pytest
from support import faults
from support.commands import Run

from mnist_edge import testing
from mnist_edge.data.dataset import Dataset
from mnist_edge.report import json as as_json
from mnist_edge.report import junit
from mnist_edge.report.stored import VerifyResults
from mnist_edge.testing import assert_parity
from mnist_edge.verify.tolerances import AccuracyBudget
from mnist_edge.verify.variants import VariantResult
from mnist_edge.verify.verify import verify


@pytest.mark.extra("a quarter of a minute or more")
def test_a_file_that_we_did_not_export_is_checked_against_a_reference(
    run: Run, exports: Path, mnist: Dataset, tmp_path: Path
) -> None:
    """TensorFlow's own converter with its defaults: float input, no signature of ours."""
    import tensorflow as tf

    from mnist_edge.formats.keras.model import load_model

    model = load_model(exports / "mlp" / "model.keras")
    archive = tmp_path / "saved"
    model.export(archive, verbose=False)
    path = tmp_path / "theirs.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(archive)).convert())
    reference = exports / "mlp" / "reference.npz"
    content = json.loads(run("verify", path, "--reference", reference, "--json").stdout)
    assert content["images"] == 10_000
    (result,) = content["results"]
    assert result["status"] == "PASS"
    assert {item["name"] for item in result["tolerances"]} == {"difference"}
    checks = {check["name"]: check["status"] for check in content["checks"]}
    assert checks["kernels and layers are Keras's"] == "PASS"
    assert checks["this runtime computes what the exporting host did"] == "SKIPPED"
    run("verify", path, "--reference", reference, "--strict", check=1)
    done = run("verify", path, "--reference", exports / "cnn" / "reference.npz", check=1)
    assert "FAIL  theirs.tflite" in done.stdout
    assert "cause unknown" in done.stdout


@pytest.mark.extra("a quarter of a minute or more")
def test_a_foreign_int8_file_is_recognized_by_what_it_computes(run: Run, exports: Path, tmp_path: Path) -> None:
    proto = onnx.load(exports / "mlp" / "mlp-int8.onnx")
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "theirs.onnx")
    command = ("verify", tmp_path / "theirs.onnx", "--reference", exports / "mlp" / "reference.npz", "--json")
    (result,) = json.loads(run(*command).stdout)["results"]
    assert "steps" in {item["name"] for item in result["tolerances"]}
    (result,) = json.loads(run(*command, "--precision", "float32", check=1).stdout)["results"]
    assert result["status"] == "FAIL"
    from onnxruntime import quantization

    # it keeps what our float32 file says of itself, and is none any more
    quantization.quantize_dynamic(exports / "mlp" / "mlp-float32.onnx", tmp_path / "theirs.onnx")
    (result,) = json.loads(run(*command).stdout)["results"]
    assert "steps" in {item["name"] for item in result["tolerances"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{mlp}/mlp-int8.onnx",), "give the export folder that it is in, or --reference"),
        (("{mlp}", "--reference", "{mlp}/reference.npz"), "--reference goes with one file"),
        (("{mlp}/none.onnx", "--reference", "{mlp}/reference.npz"), "there is no file"),
        (("{mlp}/reference.npz", "--reference", "{mlp}/reference.npz"), "none of the endings"),
        (("{mlp}/mlp-int8.onnx", "--reference", "{mlp}/manifest.json"), "cannot be read"),
        (("{mlp}/mlp-int8.onnx", "--reference", "{mlp}/reference.npz", "--precision", "int9"), "no precision 'int9'"),
        (("{mlp}", "--precision", "int8"), "--precision goes with --reference"),
    ],
)
def test_wrong_usage_is_one_line(run: Run, exports: Path, arguments: tuple[str, ...], words: str) -> None:
    done = run("verify", *(item.format(mlp=exports / "mlp") for item in arguments), check=2)
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.extra("a quarter of a minute or more")
def test_layers_are_told_worst_first_and_show_where_it_went_wrong(
    run: Run, exports: Path, mnist: Dataset, tmp_path: Path
) -> None:
    content = json.loads(run("verify", exports / "cnn", "--layers", "--json").stdout)
    assert set(content["layers"]) == {item["file"] for item in content["results"]}
    for errors in content["layers"].values():
        assert {item["layer"] for item in errors} == {"conv", "pool", "hidden", "logits", "probabilities"}
        assert errors == sorted(errors, key=lambda item: item["sqnr"] or 999)
        assert errors[0]["sqnr"] > 25
        assert all(item["cosine"] > 0.999 for item in errors)
    name = "cnn-float32.tflite"
    folder = faults.only(exports / "cnn", tmp_path / "cnn", name)
    faults.export_faulty(folder, name, mnist, faults.with_kernel(-2, faults.four_bits))
    errors = json.loads(run("verify", folder, "--layers", "--json", check=1).stdout)["layers"][name]
    by_layer = {item["layer"]: item["sqnr"] for item in errors}
    assert by_layer["pool"] > 100 > 25 > by_layer["hidden"]
    assert "Against Keras on 20 golden images" in run("verify", folder, "--layers", check=1).stdout


def test_junit_has_a_case_for_each_file_and_check(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    (folder / "model.keras").unlink()
    faults.edit_onnx(folder / "mlp-int8.onnx", faults.onnx_zero_point_of_weights)
    faults.resign(folder, "mlp-int8.onnx")
    path = tmp_path / "verify.xml"
    run("verify", folder, "--junit", path, check=1)
    suite = ElementTree.parse(path).getroot()
    cases = {case.get("name"): case for case in suite}
    assert suite.get("tests") == str(len(cases)) == "12"
    assert suite.get("failures") == "1"
    assert suite.get("skipped") == "2"
    failure = cases["mlp-int8.onnx"].find("failure")
    assert failure is not None
    assert "cause unknown" in str(failure.text)
    assert "model.keras is not here" in str(failure.text)
    assert cases["reference.npz is what Keras computes"].find("skipped") is not None
    run("verify", folder, "--junit", path, "--strict", check=1)
    assert ElementTree.parse(path).getroot().get("failures") == "3"


def test_over_the_users_budget_is_a_failure_with_its_reason_everywhere(exports: Path, tmp_path: Path) -> None:
    report = verify(exports / "mlp", images=100)
    first = replace(report.results[0], budget=AccuracyBudget(allowed=0.0, drop=1.5, interval=None, chosen=True))
    over = replace(report, results=(first, *report.results[1:]))
    assert report.passed
    assert not over.passed
    (line,) = testing._lines(over, strict=False)
    assert line.startswith(f"FAIL {first.artifact.path.name}: OVER BUDGET: +1.50 points")
    junit.write(over, tmp_path / "verify.xml")
    suite = ElementTree.parse(tmp_path / "verify.xml").getroot()
    assert suite.get("failures") == "1"
    assert "OVER BUDGET" in str(suite[0][0].get("message"))
    (tmp_path / "verify.json").write_text(json.dumps(as_json.verify(over, strict=False)))
    stored = VerifyResults.read(tmp_path)
    assert stored is not None
    assert not stored.passes()


@pytest.mark.extra("a quarter of a minute or more")
def test_assert_parity_in_the_tests_of_a_project(exports: Path, tmp_path: Path) -> None:
    """A project of its own, with its own limits, run by its own pytest."""
    assert assert_parity(exports / "mlp", strict=True).passed
    bad = shutil.copytree(exports / "mlp", tmp_path / "bad")
    faults.edit_onnx(bad / "mlp-int8.onnx", faults.onnx_scale_of_first_channel)
    faults.resign(bad, "mlp-int8.onnx")
    with pytest.raises(AssertionError, match=r"FAIL mlp-int8\.onnx: likely cause: per-channel scales misread"):
        assert_parity(bad)
    (tmp_path / "pyproject.toml").write_text("[tool.mnist-edge.parity]\nint8.steps = 0.001\n")
    (tmp_path / "test_mine.py").write_text(
        "from mnist_edge.testing import assert_parity\n"
        f"def test_default():\n    assert_parity({str(exports / 'mlp')!r})\n"
        f"def test_own():\n    assert_parity({str(exports / 'mlp')!r}, tolerance={{'int8.steps': 5}})\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in done.stdout
    assert "largest error of a logit" in done.stdout


@pytest.mark.extra("a quarter of a minute or more")
def test_the_paths_that_a_file_allows_are_run(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mlp"
    folder.mkdir()
    for name in ("model.keras", "training.json"):
        shutil.copy(exports / "mlp" / name, folder)
    run("export", "--model", "mlp", "--out", tmp_path, "--int8", "--dynamic-batch")
    content = json.loads(run("verify", folder, "--strict", "--json").stdout)
    paths = {item["file"]: {path["name"] for path in item["paths"]} for item in content["results"]}
    threads = f"{max(os.cpu_count() or 1, 2)} threads"
    assert paths == {
        "mlp-int8-anybatch.onnx": {"graph optimizations off", threads, "batch 32"},
        "mlp-int8-anybatch.tflite": {"without XNNPACK", "compiled", threads, "batch 32"},
    }


def test_a_path_with_other_classes_is_not_good() -> None:
    assert VariantResult("p", (), (), 0.02, 0.1).passed
    assert VariantResult("p", (7,), (0.05,), 0.05, 0.1).passed
    assert not VariantResult("p", (7, 9), (0.05, 0.6), 0.6, 0.1).passed
    assert not VariantResult("p", (), (), 0.0, 0.1, "does not load").passed


def test_everything_is_compared_with_everything(run: Run, exports: Path) -> None:
    content = json.loads(run("verify", exports / "mlp", "--json").stdout)
    names = ["Keras", *(item["file"] for item in content["results"])]
    assert {(pair["first"], pair["second"]) for pair in content["pairs"]} == {
        (first, second) for index, first in enumerate(names) for second in names[index + 1 :]
    }
    with_keras = {pair["second"]: pair["flips"] for pair in content["pairs"] if pair["first"] == "Keras"}
    assert with_keras == {item["file"]: item["comparison"]["flips"] for item in content["results"]}
    assert "1 Keras" in run("verify", exports / "mlp", "--matrix").stdout


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_a_narrow_terminal_shows_whole_names_and_verdicts(run: Run, exports: Path, width: int) -> None:
    environment = {**os.environ, "COLUMNS": str(width)}
    lines = run("verify", exports / "mlp", "--matrix", "--layers", env=environment).stdout.splitlines()
    rows = [line for line in lines if line.startswith("mlp-int8.tflite") and "PASS" in line]
    assert rows
    assert max(map(len, lines)) <= width
