"""A bundle holds the files that its board can run, and says which ones it left out."""

import json
import tarfile
from pathlib import Path

from support import faults
from support.commands import Run

from mnist_edge.core.manifest import Manifest


def test_a_32_bit_board_gets_no_file_that_it_cannot_run(exports: Path, run: Run, tmp_path: Path) -> None:
    archive = tmp_path / "pi.tar.gz"
    done = run("bundle", exports / "cnn", "--system", "rpi-32bit", "--out", archive)
    everything = {item.path.name for item in Manifest.read(exports / "cnn").artifacts}
    runs = {name for name in everything if name.endswith(".tflite")}
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("Left out"))
    assert line.startswith("Left out, as there is no runtime for them on rpi-32bit: ")
    assert set(line.partition(": ")[2].rstrip(".").split(", ")) == everything - runs
    with tarfile.open(archive) as content:
        content.extractall(tmp_path, filter="data")
    unpacked = tmp_path / "pi"
    assert {path.name for path in unpacked.iterdir() if path.name.startswith("cnn-")} == runs
    assert {item.path.name for item in Manifest.read(unpacked).artifacts} == runs
    assert "--artifact cnn-int8.tflite" in (unpacked / "README.md").read_text()
    assert run("verify", unpacked, "--images", "20", "--json").stdout
    before = archive.read_bytes()
    run("bundle", exports / "cnn", "--target", "rpi-32bit", "--out", archive)
    assert archive.read_bytes() == before
    run("bundle", unpacked, "--target", "rpi-32bit", "--out", tmp_path / "again" / "pi.tar.gz")
    assert (tmp_path / "again" / "pi.tar.gz").read_bytes() == before


def test_what_runs_everywhere_goes_in_whole(exports: Path, run: Run, tmp_path: Path) -> None:
    folder = faults.only(exports / "cnn", tmp_path / "cnn", "cnn-int8.tflite")
    done = run("bundle", folder, "--target", "rpi-32bit", "--out", tmp_path / "x.tar.gz")
    assert "Left out" not in done.stderr
    with tarfile.open(tmp_path / "x.tar.gz") as content:
        member = content.extractfile("x/manifest.json")
        assert member is not None
        assert json.loads(member.read()) == json.loads((folder / "manifest.json").read_text())
