"""What a user meant: mistyped names, folders instead of files, names with blanks, options that would be ignored."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from support import faults
from support.commands import ROOT, Run

from mnist_edge.core.text import one_line

SEVEN = ROOT / "examples" / "seven.pgm"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("exprot", "Did you mean export?"),
        ("device rn", "Did you mean run?"),
        ("train --seeed 1", "Did you mean --seed?"),
        ("train --lr 1", "There are --batch-size, --data, --epochs"),
        ("export --format onx", "Did you mean onnx?"),
        ("export --from x.keras --model mlp", "leave out --model"),
        ("export --from x.keras --seed 1 --model mlp", "leave out --model and --seed"),
        ("export --batch 1 --dynamic-batch", "exclude each other"),
    ],
)
def test_a_mistake_is_named_in_one_line(line: str, words: str, run: Run, tmp_path: Path) -> None:
    done = run(*line.split(), check=2, cwd=tmp_path)
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not [*tmp_path.iterdir()]


@pytest.fixture
def folder(exports: Path, tmp_path: Path) -> Path:
    """An export of one file, in a folder whose name needs quotes, beside another."""
    for name in ('Größe "1" mit Leerzeichen', "other"):
        (faults.only(exports / "mlp", tmp_path / "all" / name, "mlp-int8.onnx") / "model.keras").unlink()
    return tmp_path / "all" / 'Größe "1" mit Leerzeichen'


def test_a_folder_stands_for_its_files(folder: Path, run: Run) -> None:
    assert ": 7 (" in run("predict", SEVEN, "--artifact", folder).stdout
    assert "mlp-int8.onnx" in run("inspect", folder).stdout
    (entry,) = json.loads(run("inspect", folder, "--json").stdout)["files"]
    assert entry["file"] == str(folder / "mlp-int8.onnx")


def test_verify_takes_a_folder_of_export_folders(folder: Path, run: Run) -> None:
    shown = run("verify", folder.parent, "--images", 20).stdout
    assert len([line for line in shown.splitlines() if line.startswith("mlp-int8.onnx") and "PASS" in line]) == 2
    assert f"{folder}:\n" in shown
    content = json.loads(run("verify", folder.parent, "--images", 20, "--json").stdout)
    assert content["good"]
    assert [item["folder"] for item in content["folders"]] == [str(folder), str(folder.parent / "other")]
    run("verify", folder.parent, "--images", 20, "--strict", check=1)


def test_printed_commands_can_be_pasted(folder: Path, run: Run, tmp_path: Path) -> None:
    done = run("bundle", folder, cwd=tmp_path)
    (line,) = [line for line in done.stderr.splitlines() if "device run" in line]
    assert shlex.split(line)[-1] == str(folder)


def test_a_failed_run_leaves_no_empty_folder(run: Run, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "cnn")
    (tmp_path / "cnn" / "mlp-int8.onnx").write_bytes(b"other")
    run("bundle", tmp_path / "cnn", "--out", tmp_path / "new" / "inner" / "x.tar.gz", check=2)
    run("export", "--model", "mlp", "--data", tmp_path / "none", "--out", tmp_path / "new", check=2)
    run("report", tmp_path / "cnn", "--out", tmp_path / "new", check=None)
    run("device", "run", "nobody@nowhere.invalid", folder, check=2)
    assert not (tmp_path / "new").exists() or any((tmp_path / "new").iterdir())
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and not any(path.iterdir())]


def test_no_message_is_cut_inside_a_word() -> None:
    words = "a message of another program that goes on " * 20
    assert one_line(words).endswith(" …")
    assert words.startswith(one_line(words).removesuffix(" …") + " ")
    assert one_line("one\n two ") == "one two"
    assert "x" * 400 in one_line("x" * 400 + " and more")
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "mnist_edge").rglob("*.py")}
    assert not [path for path, text in sources.items() if "[:200]" in text or "[:300]" in text]
