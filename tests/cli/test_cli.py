"""The command line: help with examples, one clear line for bad input, JSON for machines."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from PIL import Image
from support.commands import Run

from mnist_edge.cli import commands
from mnist_edge.data.dataset import Dataset
from mnist_edge.training.recipes import RECIPES


@pytest.mark.parametrize("name", commands.list_commands(click.Context(commands)))
def test_help_carries_an_example(run: Run, name: str) -> None:
    assert f"Example: mnist-edge {name}" in run(name, "--help").stdout


def test_no_command_shows_the_help(run: Run) -> None:
    assert "Commands:" in run().stdout


@pytest.fixture
def broken(exports: Path, tmp_path: Path) -> Path:
    """A folder with a good export, a copy without manifest, and assorted foreign files."""
    shutil.copytree(exports / "mlp", tmp_path / "mlp")
    shutil.copytree(exports / "mlp", tmp_path / "bare")
    (tmp_path / "bare" / "manifest.json").unlink()
    shutil.copytree(exports / "mlp", tmp_path / "damaged")
    (tmp_path / "damaged" / "manifest.json").write_text('{"schema": 1, "artifacts": [{}]}')
    shutil.copytree(exports / "mlp", tmp_path / "future")
    (tmp_path / "future" / "manifest.json").write_text('{"schema": 99}')
    for suffix in ("tflite", "onnx", "keras", "txt"):
        (tmp_path / f"foreign.{suffix}").write_bytes(b"this is no model at all")
        (tmp_path / f"empty.{suffix}").write_bytes(b"")
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    picture = Image.new("L", (60, 60), 255)
    picture.paste(0, (28, 10, 33, 50))
    picture.save(tmp_path / "one.png")
    return tmp_path


BAD = [
    ("train --model resnet", "cnn, cnn-wide, mlp, mlp-wide"),
    ("train --epochs 0", "--epochs"),
    ("train --seed -1", "--seed"),
    ("train --data nowhere.npz", "nowhere.npz does not exist"),
    ("train --data one.png", "not an mnist.npz"),
    ("train --data .", "has no train-images"),
    ("export --model resnet", "there is no model 'resnet'"),
    ("export --format coreml", "there is no format 'coreml'"),
    ("export --format keras", "Choose one of onnx, tflite"),
    ("export --int4", "--int4"),
    ("export --batch 4 --dynamic-batch", "exclude each other"),
    ("export --float32 --max-drop 0.1", "no int8 file is wanted"),
    ("export --int16x8 --format onnx", "no int16x8 in ONNX"),
    ("export --io int8 --float32", "full-integer input and output"),
    ("inspect nowhere.onnx", "there is no file nowhere.onnx"),
    ("inspect foreign.tflite", "not a TFLite file"),
    ("inspect foreign.keras", "is a Keras model"),
    ("verify nowhere", "there is no folder nowhere"),
    ("verify mlp/mlp-int8.onnx", "is a file; give the export folder"),
    ("verify bare", "not a finished export"),
    ("verify damaged", "is damaged"),
    ("verify future", "schema 99"),
    ("verify mlp --data nowhere", "does not exist"),
    ("bench bare", "not a finished export"),
    ("bench mlp --runs 0", "--runs"),
    ("bench mlp --idle nan", "'nan' is not a number"),
    ("export --int8 --max-drop nan", "'nan' is not a number"),
    ("predict", "PICTURE"),
    ("predict one.png --artifact exports/cnn", "there is no folder exports/cnn"),
    ("predict nowhere.png --artifact mlp/mlp-int8.tflite", "there is no picture nowhere.png"),
    ("predict mlp", "is a folder; give the pictures in it"),
    ("predict blank.png --artifact mlp/mlp-int8.tflite", "no digit found"),
    ("predict foreign.txt --artifact mlp/mlp-int8.tflite", "not a picture"),
    ("predict one.png --artifact nowhere.tflite", "nowhere.tflite"),
    ("predict one.png --artifact nowhere.onnx", "nowhere.onnx"),
    ("predict one.png --artifact nowhere.keras", "nowhere.keras"),
    ("predict one.png --artifact foreign.tflite", "not a TFLite file"),
    ("predict one.png --artifact empty.tflite", "not a TFLite file"),
    ("predict one.png --artifact foreign.onnx", "not an ONNX file"),
    ("predict one.png --artifact empty.onnx", "not an ONNX file"),
    ("predict one.png --artifact foreign.keras", "not a Keras model"),
    ("predict one.png --artifact foreign.txt", ".keras, .onnx, .tflite"),
    ("frobnicate", "frobnicate"),
]


@pytest.mark.parametrize(("line", "expected"), BAD, ids=[line for line, _ in BAD])
def test_bad_input_gives_one_line_and_exit_code_2(
    run: Run, mnist: Dataset, broken: Path, line: str, expected: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in broken.rglob("*")}
    done = run(*line.split(), check=2, cwd=broken)
    assert done.stdout == ""
    (message,) = done.stderr.splitlines()
    assert message.startswith("error: ")
    assert expected in message
    assert {path: path.stat().st_mtime_ns for path in broken.rglob("*")} == before


def test_a_changed_artifact_is_not_predicted_with(run: Run, broken: Path) -> None:
    with (broken / "mlp" / "mlp-int8.tflite").open("ab") as file:
        file.write(b"x")
    done = run("predict", "one.png", "--artifact", "mlp/mlp-int8.tflite", check=2, cwd=broken)
    assert "truncated or replaced" in done.stderr


def test_an_unwritable_place_is_one_line(run: Run, mnist: Dataset, broken: Path) -> None:
    done = run("train", "--model", "mlp", "--epochs", 1, "--out", broken / "one.png" / "x", check=2)
    assert done.stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_predict_names_the_digit(run: Run, broken: Path, mnist: Dataset, suffix: str, precision: str) -> None:
    for index in range(3):
        Image.fromarray(255 - mnist.test.images[index]).resize((200, 200)).save(broken / f"{index}.jpg")
    pictures = [f"{index}.jpg" for index in range(3)]
    done = run("predict", *pictures, "--artifact", f"mlp/mlp-{precision}.{suffix}", cwd=broken)
    assert re.findall(r"\.jpg: (\d) \(", done.stdout) == ["7", "2", "1"]
    done = run("predict", *pictures, "--artifact", f"mlp/mlp-{precision}.{suffix}", "--json", cwd=broken)
    content = json.loads(done.stdout)
    assert [item["digit"] for item in content["predictions"]] == [7, 2, 1]
    assert sum(content["predictions"][0]["probabilities"]) == pytest.approx(1, abs=1e-3)


def test_one_bad_picture_does_not_hide_the_others(run: Run, broken: Path) -> None:
    pictures = ["one.png", "blank.png", "foreign.txt", "one.png"]
    done = run("predict", *pictures, "--artifact", "mlp/mlp-int8.onnx", check=2, cwd=broken)
    assert done.stdout.count("one.png: ") == 2
    assert len(done.stderr.splitlines()) == 2


def test_an_unusable_out_is_found_before_training(run: Run, mnist: Dataset, broken: Path) -> None:
    for command in ("train", "export"):
        done = run(command, "--model", "mlp", "--out", broken / "one.png", check=2)
        assert "epoch" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: ")


def test_predict_takes_the_int8_file_of_a_folder(run: Run, exports: Path, broken: Path) -> None:
    done = run("predict", "one.png", "--json", "--artifact", exports / "cnn", cwd=broken)
    assert json.loads(done.stdout)["artifact"].endswith("cnn-int8.onnx")


def test_models_lists_the_recipes(run: Run) -> None:
    table = run("models").stdout
    for expected in ("cnn-wide", "347,146", "541,440", "98.55%", "002_f9ef27d1b9237337"):
        assert expected in table
    content = json.loads(run("models", "--json").stdout)
    assert [item["name"] for item in content["models"]] == list(RECIPES)


def test_bench_reports_both_calls_and_keeps_raw_samples(run: Run, exports: Path) -> None:
    content = json.loads(run("bench", exports / "mlp", "--runs", 50, "--json").stdout)
    assert len(content["results"]) == 9
    for item in content["results"]:
        for kind in ("invoke", "call"):
            assert sum(map(len, item[kind]["samples_ns"])) == item[kind]["runs"] == 50
            assert item[kind]["min_us"] <= item[kind]["p50_us"] <= item[kind]["p90_us"] <= item[kind]["p99_us"]
    assert content["host"]["cpu"]
    assert "onnxruntime" in content["versions"]


@pytest.mark.extra("a quarter of a minute or more")
@pytest.mark.parametrize("columns", ["60", "120"])
def test_tables_fit_the_terminal(run: Run, exports: Path, columns: str) -> None:
    import os

    folder = exports / "mlp-wide"
    for arguments in (["verify", folder, "--images", 300], ["bench", folder, "--runs", 25], ["models"]):
        done = run(*arguments, env={**os.environ, "COLUMNS": columns})
        assert max(map(len, done.stdout.splitlines())) <= int(columns)
        assert "mlp-wide" in done.stdout  # the first column is never cut


def test_a_reader_that_goes_away_is_no_traceback(exports: Path) -> None:
    command = f"{sys.executable} -m mnist_edge bench {exports / 'mlp'} --runs 25 --json | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "{"
    assert done.stderr == ""


def test_json_also_where_the_answer_is_an_error(run: Run, tmp_path: Path) -> None:
    done = run("verify", tmp_path / "nowhere", "--json", check=2)
    assert json.loads(done.stdout) == {"schema": 1, "error": done.stderr.removeprefix("error: ").strip()}
    done = run("bench", tmp_path, "--runs", 0, "--json", check=2)
    assert "--runs" in json.loads(done.stdout)["error"]


def test_predict_gives_json_where_every_picture_fails(run: Run, exports: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    arguments = ("predict", "text.png", "gone.png", "--artifact", exports / "mlp" / "mlp-int8.onnx", "--json")
    content = json.loads(run(*arguments, cwd=tmp_path, check=2).stdout)
    assert content["predictions"] == []
    assert [item["picture"] for item in content["errors"]] == ["text.png", "gone.png"]
    assert "there is no picture" in content["errors"][1]["error"]
