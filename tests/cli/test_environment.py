"""Closed and full streams, other encodings, Ctrl-C, and bugs of our own: one line, and an exit code that is true."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.commands import ROOT

BUG = """
import click, mnist_edge.cli.formats as module
@click.command()
def command():
    raise KeyError("our mistake")
module.command = command
from mnist_edge.cli import main
main()
"""
ENDLESS = """
import sys, click, hashlib, mnist_edge.cli.formats as module
@click.command()
def command():
    print("begins", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # native code that does not return
module.command = command
from mnist_edge.cli import main
main(["formats"])
"""


def shell(line: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which `mnist-edge` is ours."""
    ours = {"PYTHONPATH": str(ROOT), **variables}
    line = line.replace("mnist-edge", f"{sys.executable} -m mnist_edge")
    done = subprocess.run(["sh", "-c", line], cwd=folder, env={**os.environ, **ours}, capture_output=True, check=False)
    assert b"Traceback" not in done.stdout + done.stderr
    assert b"Exception ignored" not in done.stderr
    return done


@pytest.mark.parametrize(
    "variables",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}],
)
def test_tables_without_unicode(variables: dict[str, str], tmp_path: Path) -> None:
    done = shell("mnist-edge models", tmp_path, **variables)
    assert done.returncode == 0
    text = done.stdout.decode("ascii")
    assert "cnn-wide" in text
    assert "----" in text


def test_a_plus_minus_has_the_width_of_its_column_without_unicode(exports: Path, tmp_path: Path) -> None:
    line = f"mnist-edge verify {exports / 'mlp'} --images 20"
    text = shell(line, tmp_path, PYTHONIOENCODING="ascii", COLUMNS="80").stdout.decode("ascii")
    assert "+-" in text
    assert "\\x" not in text


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("mnist-edge models <&-", 0, b"cnn-wide"),
        ("mnist-edge models >&-", 0, b"standard output is closed"),
        ("mnist-edge verify none 2>&-", 2, b"there is no folder none"),
        ("mnist-edge verify none <&- >&- 2>&-", 2, b""),
        ("mnist-edge models >/dev/full", 2, b"No space left"),
        ("mnist-edge verify none 2>/dev/full", 2, b""),
        ("env -u HOME mnist-edge models", 0, b"cnn-wide"),
        ("HOME=/proc XDG_CACHE_HOME=/proc mnist-edge models", 0, b"cnn-wide"),
    ],
)
def test_closed_and_full_streams(line: str, code: int, words: bytes, tmp_path: Path) -> None:
    done = shell(line, tmp_path)
    assert done.returncode == code, done
    assert words in done.stdout + done.stderr


def test_a_bug_of_ours_is_one_line_and_exit_code_3(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUG]
    environment = {name: value for name, value in os.environ.items() if name != "MNIST_EDGE_DEBUG"}
    done = subprocess.run([*command, "formats"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert "this is a bug of mnist-edge (KeyError: 'our mistake')" in line
    done = subprocess.run([*command, "-v", "formats"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    environment["MNIST_EDGE_DEBUG"] = "1"
    done = subprocess.run([*command, "formats"], env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr


def processor_time(process: int) -> float:
    """Return the seconds of CPU that a process has taken."""
    ticks = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def test_a_second_ctrl_c_ends_what_does_not_return() -> None:
    with subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"begins\n"
        before = processor_time(process.pid)
        while processor_time(process.pid) < before + 0.3:  # nothing but the native code takes that much
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert b"ended at once" in process.stderr.read()


ABORTING = """
import atexit, ctypes, signal
from mnist_edge import cli
ctypes.pythonapi.Py_AtExit(ctypes.CDLL(None).abort)  # as threads of TensorFlow do that are still at work
def interrupted(*_, **__):
    atexit.register(print, "temporary files are removed", flush=True)
    signal.raise_signal(signal.SIGINT)
cli.commands.main = interrupted
cli.main(["inspect"])
"""


def test_after_ctrl_c_no_runtime_aborts_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", ABORTING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "temporary files are removed\n"), done.stderr
    assert "no half-written file is left" in done.stderr


def test_a_file_that_grows_over_a_limit_leaves_the_folder_as_it_was(exports: Path, tmp_path: Path) -> None:
    target = tmp_path / "mlp-rpi.tar.gz"
    limited = f"ulimit -f 200; exec {sys.executable} -m mnist_edge bundle {exports / 'mlp'} --out {target}"
    done = subprocess.run(["sh", "-c", limited], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
