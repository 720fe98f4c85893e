"""Kills whole commands, and runs two exports into one folder at once."""

import atexit
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fault_points import BUG, contents

from mnist_edge.cli import main
from mnist_edge.core.files import sweep, temporary_folder
from mnist_edge.core.folder import MODEL, TRAINING
from mnist_edge.core.manifest import Manifest
from mnist_edge.core.publish import changing

EXPORT = ["export", "--model", "mlp", "--int8"]


@contextmanager
def folder() -> Iterator[str]:
    """Yield a temporary folder, which a fork of this process does not remove when it ends, unlike tempfile's."""
    place = tempfile.mkdtemp()
    try:
        yield place
    finally:
        shutil.rmtree(place)


def start(arguments: list[str], work: Path) -> int:
    """Start a command as a fork of this process, which has loaded the libraries; return its number."""
    child = os.fork()
    if child == 0:
        code: object = BUG
        try:
            os.chdir(work)
            with (work / "log").open("ab") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            sys.argv = ["mnist-edge", *arguments]
            os.environ["TMPDIR"] = str(work / "tmp")
            tempfile.tempdir = None
            main(arguments)
        except SystemExit as end:
            code = end.code
        finally:
            atexit._run_exitfuncs()  # as Python's own end does
            os._exit(code if isinstance(code, int) else BUG)
    return child


def wait(child: int) -> int:
    """Return the exit code of a process, below zero the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def left(work: Path) -> list[str]:
    """Return the paths below a folder that only a command at work leaves there."""
    return [str(path) for path in work.rglob("*") if path.name.startswith(".") or path.parent == work / "tmp"]


def children(work: Path) -> int:
    """Return how many processes were started for a folder, and go on."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_text(encoding="utf-8", errors="replace"))
    return sum(str(work) in line for line in lines)


def kills(name: str, arguments: list[str], prepare: Callable[[Path], object], count: int) -> dict[str, Any]:
    """Kill a command `count` times, at moments spread evenly over the time that it takes, and look at its folder."""
    row: Counter[str] = Counter()
    with folder() as place:
        whole = Path(place) / "whole"
        prepare(whole)
        begin = time.monotonic()
        assert wait(start(arguments, whole)) in (0, 1), (whole / "log").read_text(encoding="utf-8")
        took = time.monotonic() - begin
        for number in range(count):
            work = Path(place) / "work"
            prepare(work)
            before = contents(work / "exports" / "mlp")
            child = start(arguments, work)
            time.sleep(took * (number + 0.5) / count)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            row["killed"] += wait(child) < 0
            time.sleep(0.1)
            row["children that go on"] += children(work)
            found = contents(work / "exports" / "mlp")
            row["lost"] += not found or any(key not in found for key in before if key == MODEL)
            row["as before"] += found == before
            if number % 10 == 9:  # the command once more; else what each command does first
                row["next command failed"] += wait(start(arguments, work)) not in (0, 1)
            with changing(work / "exports" / "mlp"), suppress(OSError), temporary_folder(work):
                sweep(work / "tmp")
            row["left behind"] += bool(left(work))
            shutil.rmtree(work)
    return {"command": name, "runs": count, **row}


def pairs(exports: Path, count: int) -> dict[str, Any]:
    """Run two exports into one folder at once, `count` times."""
    row: Counter[str] = Counter()
    forms = (["--format", "onnx"], ["--format", "tflite"])
    with folder() as place:
        for _ in range(count):
            work = Path(place) / "work"
            _trained(exports)(work)
            children = [start([*EXPORT, *form], work) for form in forms]
            codes = [wait(child) for child in children]
            log = (work / "log").read_text(encoding="utf-8")
            names = [item.path.name for item in Manifest.read(work / "exports" / "mlp").artifacts]
            row["both wrote their file"] += codes == [0, 0] and set(names) == {"mlp-int8.tflite", "mlp-int8.onnx"}
            row["one waited and said so"] += log.count("is in use by process")
            row["not whole"] += not contents(work / "exports" / "mlp")
            row["left behind"] += bool(left(work))
            shutil.rmtree(work)
    return {"command": "two exports", "runs": count, **row}


def _trained(exports: Path) -> Callable[[Path], None]:
    """Return a function that makes a folder with a model alone."""

    def prepare(work: Path) -> None:
        (work / "exports" / "mlp").mkdir(parents=True)
        (work / "tmp").mkdir()
        for name in (MODEL, TRAINING):
            shutil.copyfile(exports / "mlp" / name, work / "exports" / "mlp" / name)

    return prepare


def _exported(exports: Path) -> Callable[[Path], None]:
    """Return a function that makes a folder with an export."""

    def prepare(work: Path) -> None:
        shutil.copytree(exports / "mlp", work / "exports" / "mlp")
        (work / "tmp").mkdir()

    return prepare


def commands(exports: Path) -> dict[str, tuple[list[str], Callable[[Path], None]]]:
    """Return the commands that are killed, each with what its folder holds before."""
    return {
        "train": (["train", "--model", "mlp", "--epochs", "1"], _exported(exports)),
        "export": ([*EXPORT, "--format", "onnx", "--head", "logits"], _exported(exports)),
        "bundle": (["bundle", "exports/mlp"], _exported(exports)),
        "report": (["report", "exports/mlp"], _exported(exports)),
    }


def kills_table(rows: list[dict[str, Any]]) -> str:
    """Return the Markdown table of `kills` and `pairs`."""
    columns = ("runs", "killed", "as before", "lost", "children that go on", "next command failed", "left behind")
    lines = [f"| command | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    lines += [
        f"| {row['command']} | {' | '.join(str(row.get(name, 0)) for name in columns)} |"
        for row in rows
        if row["command"] != "two exports"
    ]
    for row in rows:
        if row["command"] == "two exports":
            lines += ["", f"Two exports into one folder at once, {row['runs']} times: " + _pairs_text(row)]
    return "\n".join(lines)


def _pairs_text(row: dict[str, Any]) -> str:
    names = ("both wrote their file", "one waited and said so", "not whole", "left behind")
    return ", ".join(f"{name} {row.get(name, 0)}" for name in names) + "."
