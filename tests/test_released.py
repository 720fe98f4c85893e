"""The networks that come with the package: the files are whole, right and small, and a wheel carries them."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from support.commands import ROOT, Run

import mnist_edge
from mnist_edge.core.folder import RELEASED
from mnist_edge.core.manifest import Manifest
from mnist_edge.data.dataset import Dataset
from mnist_edge.formats import FORMATS
from mnist_edge.formats.tflite import metadata
from mnist_edge.formats.tflite.compact import compact
from mnist_edge.formats.tflite.inspect import schema_module, unpacked
from mnist_edge.training.edge import EDGE
from mnist_edge.verify.verify import verify

MOST_BYTES = {
    "edge-micro": (4500, 5500),
    "edge-nano": (6000, 7000),
    "edge-small": (8000, 9500),
    "edge": (21_000, 23_000),
}
"""Of the `.tflite` and the `.onnx` file."""
DIFFERING = 5  # of 10 000 images


@pytest.mark.parametrize("name", EDGE)
def test_a_released_network_is_whole_and_passes(mnist: Dataset, name: str) -> None:
    report = verify(RELEASED / name, mnist)
    assert report.passes(strict=True), [(result.artifact.path.name, result.reasons) for result in report.results]
    assert len(report.results) == 2


@pytest.mark.parametrize("name", EDGE)
def test_both_files_are_one_network_small_and_as_good_as_the_card_says(mnist: Dataset, name: str) -> None:
    card = (RELEASED / name / "README.md").read_text(encoding="utf-8")
    classes = []
    for artifact in Manifest.read(RELEASED / name).artifacts:
        with FORMATS[artifact.format].open(artifact.path) as runner:
            classes.append(runner.run(mnist.test.images).argmax(axis=1))
        accuracy = (classes[-1] == mnist.test.labels).mean()
        assert accuracy >= EDGE[name].floor
        row = re.search(rf"\| `{re.escape(artifact.path.name)}` \| ([\d,]+) \| ([\d.]+)%", card)
        assert row is not None
        assert int(row[1].replace(",", "")) == artifact.bytes <= MOST_BYTES[name][artifact.format == "onnx"]
        assert float(row[2]) == pytest.approx(100 * accuracy, abs=0.0051)
    assert int(np.not_equal(*classes).sum()) <= DIFFERING


def test_a_small_file_stays_as_small_when_it_is_written_anew_with_what_no_runtime_reads() -> None:
    content = metadata.without(RELEASED / "edge-micro" / "edge-micro-int8.tflite")
    model = unpacked(content, schema_module())
    options = [operator.builtinOptions for operator in model.subgraphs[0].operators if operator.builtinOptions]
    assert len({repr(sorted(vars(item).items())) for item in options}) < len(options)  # some are equal
    model.description, model.subgraphs[0].name = b"a converter's note", b"main"
    assert len(compact(model)) == len(content)


def test_predict_takes_the_released_network_where_none_is_named(run: Run, tmp_path: Path) -> None:
    seven = ROOT / "examples" / "seven.png"
    content = json.loads(run("predict", seven, "--json", cwd=tmp_path).stdout)
    assert Path(content["artifact"]).parent == RELEASED / "edge"
    assert content["predictions"][0]["digit"] == 7
    assert mnist_edge.predict(seven).argmax() == 7


def test_the_wheel_carries_the_networks(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    assert listed.returncode == 0, listed.stderr
    source = tmp_path / "source"
    for name in listed.stdout.splitlines():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name, follow_symlinks=False)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if "/released/" in name}
    expected = {
        f"mnist_edge/released/{name}/{path.name}"
        for name in EDGE
        for path in (source / "exports" / name).iterdir()
        if path.is_file()
    }
    assert inside == expected
    assert {
        f"mnist_edge/released/edge/{name}" for name in ("manifest.json", "edge-int8.tflite", "edge-int8.onnx")
    } < inside


@pytest.mark.parametrize("alone", [None, "edge-int8.tflite", "edge-int8.onnx"])
def test_a_letter_is_no_digit_also_to_a_file_without_its_manifest(run: Run, tmp_path: Path, alone: str | None) -> None:
    sheet = Image.new("L", (300, 300), 255)
    pen = ImageDraw.Draw(sheet)
    for ends in ((80, 60, 220, 240), (220, 60, 80, 240)):
        pen.line(ends, fill=0, width=14)
    sheet.save(tmp_path / "x.png")
    options = ["--artifact", shutil.copy(RELEASED / "edge" / alone, tmp_path)] if alone else []
    done = run("predict", tmp_path / "x.png", *options, check=2)
    assert "looks like none of the ten digits" in done.stderr
