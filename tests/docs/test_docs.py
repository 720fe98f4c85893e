"""What README.md and docs/ tell people to type works, their links lead somewhere, and the README is short."""

import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest

from docs import HEAD, PAGES, REFERENCE, ROOT, command_reference
from mnist_edge.cli import commands

TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}
OURS = [text for name, text in TEXTS.items() if name != "docs/commands.md"]
COMMAND = r"mnist-edge (?!is |takes |uses |wrote |$)[a-z]+[^`#>|\n]*"
LINES = sorted({line for text in OURS for line in re.findall(COMMAND, text)})
RUN = {
    "inspect": "inspect exports/cnn/cnn-int8.onnx",
    "snippet": "snippet exports/cnn/cnn-int8.onnx --lang cpp",
    "formats": "formats",
    "models": "models",
    "bundle": "bundle exports/cnn",
    "bench": "bench exports/cnn --runs 25",
    "verify": "verify exports/cnn",
    "report": "report exports/cnn",
}
"""Run here. `train`, `export`, `predict`, `device` and `demo` have tests of their own that run them like this."""


def blocks(text: str) -> list[str]:
    """The indented blocks of a page."""
    return [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n(?:\n(?=    ))*)+", text, flags=re.M)]


def test_the_code_for_an_app_runs(exports: Path, tmp_path: Path) -> None:
    code = "".join(block for block in blocks(TEXTS["docs/embedding.md"]) if "import" in block)
    assert "InferenceSession" in code
    assert "get_signature_runner" in code
    for path in (exports / "cnn").glob("cnn-int8.*"):
        shutil.copy(path, tmp_path)
    code += "\nassert probabilities.shape == (1, 10) and abs(probabilities.sum() - 1) < 1e-3"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", LINES)
def test_every_command_parses(line: str) -> None:
    name, *arguments = shlex.split(line)[1:]
    command = commands.get_command(click.Context(commands), name)
    assert command is not None, f"there is no command {name}"
    if not (isinstance(command, click.Group) and not arguments):
        command.make_context(name, arguments)


SLOW = pytest.mark.extra("a quarter of a minute or more")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW if name in ("verify", "report") else ()) for name in RUN]
)
def test_commands_run(name: str, exports: Path, tmp_path: Path) -> None:
    assert any(line.split()[1] == name for line in LINES), f"no page names {name}"
    shutil.copytree(exports / "cnn", tmp_path / "exports" / "cnn")
    command = [sys.executable, "-m", "mnist_edge", *shlex.split(RUN[name])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_reference_is_what_help_says() -> None:
    assert TEXTS["docs/commands.md"] == command_reference(), "run: .venv/bin/python benchmarks/docs.py commands"
    assert HEAD in TEXTS[REFERENCE.relative_to(ROOT).as_posix()]


def test_every_file_of_an_export_that_is_named_comes_out_of_one(exports: Path) -> None:
    named = set(re.findall(r"`(cnn-[a-z0-9]+\.\w+|[a-z]+\.(?:keras|json|npz))`", TEXTS["docs/files.md"]))
    named -= {"mnist.npz", "bench.json", "verify.json"}
    assert len(named) >= 8
    assert not {name for name in named if not (exports / "cnn" / name).is_file()}


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_to_files_and_headings(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXTS[name]):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        path = ((ROOT / name).parent / file).resolve() if file else ROOT / name
        assert path.exists(), f"{name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.M)
            assert anchor in {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}


def test_the_readme_can_be_read_to_its_end() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 150
