"""What the README tells people to type works."""

import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest

from mnist_edge.cli import commands

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?:^    .*\n(?:\n(?=    ))*)+", README, flags=re.M)


def test_the_code_for_an_app_runs(exports: Path, tmp_path: Path) -> None:
    code = "".join(textwrap.dedent(block) for block in BLOCKS if "import" in block)
    assert "InferenceSession" in code
    assert "get_signature_runner" in code
    for path in (exports / "cnn").glob("cnn-int8.*"):
        shutil.copy(path, tmp_path)
    code += "\nassert probabilities.shape == (1, 10) and abs(probabilities.sum() - 1) < 1e-3"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", sorted(set(re.findall(r"mnist-edge (?!is|$)[a-z]+[^`#>\n]*", README))))
def test_every_command_parses(line: str) -> None:
    name, *arguments = shlex.split(line)[1:]
    command = commands.get_command(click.Context(commands), name)
    assert command is not None, f"there is no command {name}"
    command.make_context(name, arguments)


def test_every_file_that_it_names_comes_out_of_an_export(exports: Path) -> None:
    named = set(re.findall(r"`(cnn-[a-z0-9]+\.\w+|[a-z]+\.(?:keras|json|npz))`", README)) - {
        "mnist.npz",
        "bench.json",
        "verify.json",
    }
    assert len(named) >= 8
    assert not {name for name in named if not (exports / "cnn" / name).is_file()}
