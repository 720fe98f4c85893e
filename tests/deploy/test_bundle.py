"""A bundle has what a board needs and nothing else, installs from itself, and joins only with its own export."""

import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from support import faults
from support.commands import ROOT, Run

from mnist_edge.core.system import System
from mnist_edge.deploy.bundle import PYTHONS
from mnist_edge.formats import FORMATS

TFLITE = "cnn-int8.tflite"


@pytest.fixture(scope="module")
def folder(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of `cnn` with one file in each format."""
    return shutil.copytree(exports / "cnn", tmp_path_factory.mktemp("bundled") / "cnn")


def names(archive: Path) -> list[str]:
    """Return the names in an archive."""
    with tarfile.open(archive) as content:
        return content.getnames()


@pytest.fixture(scope="module")
def board(folder: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What a user gets who unpacks the bundle and follows its README: its folder, and the environment made there."""
    place = tmp_path_factory.mktemp("board")
    run("bundle", folder, "--out", place / "cnn-rpi.tar.gz")
    with tarfile.open(place / "cnn-rpi.tar.gz") as content:
        content.extractall(place, filter="data")
    unpacked = place / "cnn-rpi"
    readme = (unpacked / "README.md").read_text()
    typed = [line.strip() for line in readme.splitlines() if line.startswith("    ")]
    assert typed[0].startswith("sudo apt install python3-venv")
    commands = [line for line in typed[1:] if not line.startswith("mnist-edge")]
    assert len(readme.splitlines()) <= 16
    assert "venv" in commands[0]
    assert "pip install" in commands[-1]
    script = "\n".join(["set -e", *commands]).replace("python3 -m", f"{sys.executable} -m")
    done = subprocess.run(["bash", "-c", script], cwd=unpacked, capture_output=True, text=True, check=False)
    if "No matching distribution" in done.stderr:
        pytest.skip(f"pip could not install the bundle: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return unpacked, unpacked / "mnist" / "bin" / "mnist-edge"


def test_it_has_what_a_board_needs_and_nothing_else(folder: Path, run: Run, tmp_path: Path) -> None:
    archive = tmp_path / "cnn-rpi.tar.gz"
    done = run("bundle", folder, cwd=tmp_path)
    assert f"Wrote {archive.name}" in done.stderr
    artifacts = {path.name for path in folder.iterdir() if path.name.startswith("cnn-")}
    found = {name.removeprefix("cnn-rpi/") for name in names(archive)}
    (wheel,) = (name for name in found if name.endswith(".whl"))
    assert found == {*artifacts, "manifest.json", "reference.npz", "README.md", wheel}
    before = archive.read_bytes()
    run("bundle", folder, cwd=tmp_path)
    assert archive.read_bytes() == before


@pytest.mark.extra("a quarter of a minute or more")
def test_the_readme_of_it_leads_to_a_verdict_and_to_the_same_bundle(
    board: tuple[Path, Path], folder: Path, tmp_path: Path
) -> None:
    unpacked, command = board
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    for arguments in (["verify", "."], ["bench", ".", "--runs", "25"]):
        done = subprocess.run([command, *arguments], cwd=unpacked, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads((unpacked / "verify.json").read_text())
    assert content["images"] == 1000
    assert {item["status"] for item in content["results"]} == {"PASS"}
    assert not (tmp_path / "Microsoft").exists()  # ONNX Runtime's telemetry

    again = tmp_path / "cnn-rpi.tar.gz"  # made by the installed package, not by a checkout
    done = subprocess.run([command, "bundle", ".", "--out", again], cwd=unpacked, env=env, text=True, check=False)
    assert done.returncode == 0
    assert again.read_bytes() == (unpacked.parent / "cnn-rpi.tar.gz").read_bytes()


@pytest.mark.extra("a quarter of a minute or more")
def test_results_join_with_their_own_export_alone(
    board: tuple[Path, Path], folder: Path, exports: Path, run: Run, tmp_path: Path
) -> None:
    unpacked, command = board
    results = tmp_path / "pi"
    results.mkdir()
    subprocess.run([command, "bench", ".", "--runs", "25"], cwd=unpacked, check=True, capture_output=True)
    subprocess.run([command, "verify", ".", "--images", "50"], cwd=unpacked, check=True, capture_output=True)
    for name in ("verify.json", "bench.json"):
        shutil.copy(unpacked / name, results)
    assert run("report", folder, "--device", results, "--out", tmp_path).stdout == "PASS\n"
    page = (tmp_path / "report.md").read_text()
    assert "### pi: ✓ PASS" in page
    timed = json.loads((results / "bench.json").read_text())["results"][0]
    assert f"| {timed['call']['p50_us']:.1f} |" in page.partition("### pi")[2]

    refused = run("report", exports / "mlp", "--device", results, "--out", tmp_path, check=2).stderr
    assert "is of other files than" in refused
    for name in ("verify.json", "bench.json"):  # a file of the same name that is another one
        other = shutil.copytree(results, tmp_path / f"other-{name}")
        content = json.loads((other / name).read_text())
        content["results"][0]["sha256"] = "0" * 64
        (other / name).write_text(json.dumps(content))
        refused = run("report", folder, "--device", other, "--out", tmp_path, check=2).stderr
        assert f"other-{name}/{name} is of other files than" in refused
    content = json.loads((results / "verify.json").read_text())
    content["host"]["cpu"] = "another"
    (results / "verify.json").write_text(json.dumps(content))
    assert "two machines" in run("report", folder, "--device", results, check=2).stderr
    content = json.loads((unpacked / "verify.json").read_text())
    for damaged in ({}, {**content, "results": []}, {**content, "host": {**content["host"], "cpu": ["x"]}}):
        (results / "verify.json").write_text(json.dumps(damaged))
        assert "is damaged" in run("report", folder, "--device", results, check=2).stderr
    assert "has neither" in run("report", folder, "--device", tmp_path, check=2).stderr


@pytest.mark.extra("a quarter of a minute or more")
def test_a_failure_on_a_board_fails_the_report(
    board: tuple[Path, Path], folder: Path, run: Run, tmp_path: Path
) -> None:
    unpacked, command = board
    strictly = ["--tolerance", "int8.steps=0.001"]
    done = subprocess.run([command, "verify", ".", "--images", "50", *strictly], cwd=unpacked, check=False)
    assert done.returncode == 1
    (tmp_path / "pi").mkdir()
    content = json.loads((unpacked / "verify.json").read_text())
    (tmp_path / "pi" / "verify.json").write_text(json.dumps({**content, "good": True}))  # the verdicts count, not this
    failed = run("report", folder, "--device", tmp_path / "pi", "--out", tmp_path, check=1)
    assert failed.stdout == "FAIL\n"
    assert "FAIL on pi" in failed.stderr
    assert "FAIL on pi" in (tmp_path / "report.html").read_text()
    assert "### pi: ✗ FAIL" in (tmp_path / "report.md").read_text()


def test_a_damaged_export_is_not_bundled(folder: Path, run: Run, tmp_path: Path) -> None:
    target = shutil.copytree(folder, tmp_path / "cnn")
    (target / TFLITE).write_bytes(b"x" + (target / TFLITE).read_bytes()[1:])
    assert "was changed" in run("bundle", target, check=2, cwd=tmp_path).stderr
    assert not list(tmp_path.glob("*.tar.gz"))
    assert "has to end in .tar.gz" in run("bundle", folder, "--out", tmp_path / "x.zip", check=2).stderr
    assert "there is no folder" in run("bundle", tmp_path / "none", check=2).stderr


@pytest.mark.extra("a quarter of a minute or more")
@pytest.mark.parametrize(
    ("target", "python", "expected", "readme"),
    [
        ("rpi", "3.13", ("cp313-manylinux_2_27_aarch64", "numpy-", "onnxruntime-"), "--no-index --find-links wheels"),
        ("rpi-32bit", "3.11", ("tflite_runtime-2.14.0-cp311-cp311-manylinux_2_34_armv7l",), "--system-site-packages"),
    ],
)
def test_wheels_are_those_of_the_board(
    target: str, python: str, expected: tuple[str, ...], readme: str, folder: Path, run: Run, tmp_path: Path
) -> None:
    archive = tmp_path / "x.tar.gz"
    done = run("bundle", folder, "--target", target, "--wheels", "--python", python, "--out", archive, check=None)
    if "Is there a network?" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    found = [name for name in names(archive) if "/wheels/" in name]
    assert all(name.endswith(("-none-any.whl", "_aarch64.whl", "_armv7l.whl")) for name in found)
    for part in (*expected, "click-", "rich-"):
        assert any(part in name for name in found), part
    if target == "rpi-32bit":
        assert not [name for name in found if "numpy" in name or "pillow" in name]
    with tarfile.open(archive) as content:
        file = content.extractfile("x/README.md")
        assert file is not None
        assert readme in file.read().decode()
    assert "has Python" in run("bundle", folder, "--wheels", "--python", "3.9", check=2).stderr


@pytest.mark.parametrize(
    ("system", "extra", "packages"),
    [
        (System("3.13", "aarch64", 41), "tflite", ("ai-edge-litert",)),
        (System("3.11", "x86_64", 36), "onnx", ("onnxruntime",)),
        (System("3.11", "armv7l", 36, bits=32), "tflite", ("tflite-runtime==2.14.0", "numpy<2")),
        (System("3.11", "aarch64", 36, bits=32), "tflite", ("tflite-runtime==2.14.0", "numpy<2")),  # a 64-bit kernel
        (System("3.13", "armv7l", 41, bits=32), "tflite", ()),
        (System("3.11", "armv7l", 36, bits=32), "onnx", ()),
        (System("3.11", "armv6l", 36, bits=32), "tflite", ()),
        (System("3.13", "riscv64", 41), "onnx", ()),
    ],
)
def test_advice_names_wheels_that_there_are(
    system: System, extra: str, packages: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = FORMATS[extra].runtime or pytest.fail("no runtime")
    assert runtime.on(system) == packages
    monkeypatch.setattr(System, "here", classmethod(lambda cls: system))
    told = runtime.how_to_install()
    if packages:
        assert "-m pip install" in told
        assert all(package in told for package in packages)
    else:
        assert "no wheel" in told
        assert "pip install" not in told


def test_a_folder_without_a_runtime_for_that_board_is_said(exports: Path, run: Run, tmp_path: Path) -> None:
    folder = faults.only(exports / "cnn", tmp_path / "cnn", "cnn-int8.onnx")
    done = run("bundle", folder, "--target", "rpi-32bit", check=2, cwd=tmp_path)
    assert "no runtime of onnx has a wheel for Python 3.11 on 32-bit armv7l" in done.stderr


def test_the_readme_names_the_versions_of_python(folder: Path, run: Run, tmp_path: Path) -> None:
    for system, words in {"rpi": PYTHONS, "rpi-32bit": "Python 3.11, for which alone"}.items():
        run("bundle", folder, "--system", system, cwd=tmp_path)
        with tarfile.open(tmp_path / f"cnn-{system}.tar.gz") as archive:
            readme = archive.extractfile(f"cnn-{system}/README.md") or pytest.fail("no README")
            assert f"It needs {words}" in readme.read().decode()
    assert re.findall(r"3\.\d+", PYTHONS) == ["3.11", "3.12", "3.13"]
    assert 'requires-python = ">=3.11,<3.14"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
