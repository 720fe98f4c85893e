"""Every example runs from its README's commands, and names the digits that its file names."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.debian13 import Debian13

from mnist_edge.core.reference import Reference

pytestmark = pytest.mark.extra("another runtime")

ROOT = Path(__file__).parent.parent
FILES = ("cnn-int8.onnx", "cnn-int8.tflite")
PICTURES = 100

Shell = Callable[[str, Path, str], subprocess.CompletedProcess[str]]


def here(script: str, folder: Path, inside: str = "") -> subprocess.CompletedProcess[str]:
    """Run a shell script in a folder of this machine."""
    command = ["/bin/sh", "-euc", script]
    return subprocess.run(command, cwd=folder / inside, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def clone(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The examples and an export, laid out as in a clone, with golden images as pictures."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(
        ROOT / "examples", root / "examples", ignore=shutil.ignore_patterns("node_modules", "build", "venv")
    )
    (root / "exports" / "cnn").mkdir(parents=True)
    for name in FILES:
        shutil.copy(exports / "cnn" / name, root / "exports" / "cnn")
    for index, image in enumerate(Reference.read(exports / "cnn" / "reference.npz").images[::10]):
        for suffix in ("png", "pgm"):
            Image.fromarray(image).save(root / "examples" / f"{index}.{suffix}")
    yield root
    shutil.rmtree(root)


@pytest.fixture(params=["node", "python", "cpp", "c"])
def example(request: pytest.FixtureRequest) -> tuple[str, Shell]:
    """The name of an example, and the shell of the machine that it is for."""
    if request.param in ("cpp", "c"):
        debian: Debian13 = request.getfixturevalue("debian13")
        return request.param, debian.run
    if request.param == "node" and shutil.which("npm") is None:
        pytest.skip("npm is not here: apt-get install npm")
    return request.param, here


def commands(name: str) -> list[tuple[str, list[str]]]:
    """Return the commands of an example's README, each with what the README says it prints."""
    found: list[tuple[str, list[str]]] = []
    for line in re.findall(
        r"^    (.*)$", (ROOT / "examples" / name / "README.md").read_text(encoding="utf-8"), flags=re.M
    ):
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def answers(text: str) -> list[tuple[str, str]]:
    """Return picture and digit of each line `picture: digit (percent %)`."""
    return re.findall(r"^(\S+): (\d) \([\d.]+ %\)$", text, flags=re.M)


def test_an_example_does_what_its_readme_says(example: tuple[str, Shell], clone: Path, exports: Path) -> None:
    name, shell = example
    steps = commands(name)
    done = shell("; ".join(command for command, _ in steps), clone, "")
    assert done.returncode == 0, done.stderr[-2000:]
    promised = answers("\n".join(line for _, lines in steps for line in lines))
    assert promised
    assert answers(done.stdout) == promised
    golden = Reference.read(exports / "cnn" / "reference.npz")
    for command in (command for command, printed in steps if printed):
        (file,) = (file for file in FILES if file in command)
        (suffix,) = (suffix for suffix in ("png", "pgm") if f"../seven.{suffix}" in command)
        pictures = [f"../{index}.{suffix}" for index in range(PICTURES)]
        many = shell(command.replace(f"../seven.{suffix}", " ".join(pictures)), clone, f"examples/{name}")
        assert many.returncode == 0, many.stderr[-2000:]
        check(many.stdout, pictures, golden.outputs[file][::10])
        for wrong, word in {"../wide": "28×28", "../none": "../none"}.items():
            Image.new("L", (30, 28)).save(clone / "examples" / f"wide.{suffix}")
            refused = shell(command.replace("../seven", wrong), clone, f"examples/{name}")
            assert refused.returncode not in (0, 134), refused.stdout
            assert word in refused.stderr
            assert "Sanitizer" not in refused.stderr
        refused = shell(command.replace(file, "none.onnx"), clone, f"examples/{name}")
        assert refused.returncode != 0
        assert "none.onnx" in refused.stderr
        assert "Sanitizer" not in refused.stderr


def check(printed: str, pictures: list[str], expected: NDArray[np.float32]) -> None:
    """Hold what an example printed to the outputs that were recorded at export, to the last decimal place printed."""
    found = re.findall(r"^(\S+): (\d) \(([\d.]+) %\)$", printed, flags=re.M)
    assert [picture for picture, _, _ in found] == pictures
    assert [int(digit) for _, digit, _ in found] == expected.argmax(axis=1).tolist()
    assert np.abs(np.array([float(share) for _, _, share in found]) - 100 * expected.max(axis=1)).max() < 0.051


def test_the_c_examples_stay_short_and_are_held_by_sanitizers() -> None:
    from support.debian13 import SANITIZED

    assert "address" in SANITIZED
    assert "undefined" in SANITIZED
    for path in ("cpp/digit.cpp", "c/digit.c"):
        assert len((ROOT / "examples" / path).read_text(encoding="utf-8").splitlines()) < 80


def test_python_requirements_are_the_versions_tested() -> None:
    tested = {line.lower() for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    needed = (ROOT / "examples" / "python" / "requirements.txt").read_text(encoding="utf-8").splitlines()[1:]
    assert len(needed) == 4
    assert set(needed) <= tested


def test_no_lock_file_names_a_host() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*package-lock.json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    locks = [ROOT / name for name in listed.stdout.split()] or sorted(ROOT.glob("examples/*/package-lock.json"))
    assert ROOT / "examples" / "node" / "package-lock.json" in locks
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        assert "resolved" not in text, lock
        assert "://" not in text, f"{lock}: take the funding entries out"
        packages = {name: entry for name, entry in json.loads(text)["packages"].items() if name}
        assert packages
        assert all(entry["integrity"].startswith("sha512-") for entry in packages.values()), lock
