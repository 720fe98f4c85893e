"""Stops the step that publishes before every single change that it makes in its folder, and looks what is there."""

import errno
import json
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mnist_edge.core.errors import FolderError, MnistEdgeError
from mnist_edge.core.files import sha256, temporary_folder
from mnist_edge.core.folder import MANIFEST, MODEL, REFERENCE, TRAINING
from mnist_edge.core.manifest import FileEntry, Manifest
from mnist_edge.core.publish import PUBLISHING, changing, publish, settled
from mnist_edge.training import store

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
KINDS = ("SIGKILL", "SIGINT", "disk full")
BUG, STOPPED = 1, 2  # exit codes of a process that is stopped
MEMORY = Path("/dev/shm")  # where it is there, a folder in memory: the disk itself is not under test
OLD, NEW, NEITHER = "old", "new", "neither"
Step = Callable[[Path], object]


@dataclass(frozen=True)
class ReadyModel:
    """A trained model that is on the disk: to save it is to copy it."""

    path: Path

    def save(self, path: Path) -> None:
        shutil.copyfile(self.path, path)


@dataclass(frozen=True)
class Case:
    """A step that changes a copy of the folder `old`, and how to tell what a folder holds."""

    name: str
    old: Path
    step: Step
    restore: Step
    state: Callable[[Path], str]


def contents(folder: Path) -> dict[str, str]:
    """Return the digest of each file that an export folder lists, and of the model; {} where they are not whole."""
    place = settled(folder)
    try:
        manifest = Manifest.read(place)
        for artifact in manifest.artifacts:
            artifact.check()
        for name in manifest.files:
            manifest.check(name)
        names = [MANIFEST, *manifest.files, *(path.name for item in manifest.artifacts for path in item.paths)]
    except FolderError:
        names = [MODEL, TRAINING]  # a model that nothing was exported from yet
    except MnistEdgeError:
        return {}
    return {name: sha256(place / name) for name in names}


def cases(exports: Path, work: Path) -> list[Case]:
    """Return the steps of `export` and `train` that publish, on ready files of `mlp`."""
    old, new = work / "old", work / "new"
    for folder, names in ((old, ("mlp-int8.onnx", "mlp-int8.tflite")), (new, ("mlp-int8.onnx", "mlp-float32.tflite"))):
        folder.mkdir()
        manifest = Manifest.read(exports / "mlp")
        artifacts = [item for item in manifest.artifacts if item.path.name in names]
        for name in (MODEL, TRAINING, REFERENCE, *names):
            shutil.copyfile(exports / "mlp" / name, folder / name)
        if folder == new:
            for name in (REFERENCE, "mlp-int8.onnx"):
                with (folder / name).open("ab") as file:
                    file.write(b"new")
        files = {name: FileEntry.of(folder / name) for name in (MODEL, TRAINING, REFERENCE)}
        entries = [replace(item, **vars(FileEntry.of(folder / item.path.name))) for item in artifacts]
        replace(manifest, folder=folder, artifacts=tuple(entries), files=files).write()
    trained = work / "trained"
    trained.mkdir()
    for name in (MODEL, TRAINING):
        shutil.copyfile(exports / "cnn" / name, trained / name)
    record = json.loads((trained / TRAINING).read_text(encoding="utf-8"))

    def export(folder: Path) -> None:
        with changing(folder), temporary_folder(folder) as staging:
            for name in (MANIFEST, REFERENCE, "mlp-int8.onnx", "mlp-float32.tflite"):
                shutil.copyfile(new / name, staging / name)
            publish(folder, staging, [MODEL, TRAINING], ["mlp-int8.tflite"])

    def train(folder: Path) -> None:
        store.save(store.Trained(ReadyModel(trained / MODEL), record), folder)

    train(shutil.copytree(old, work / "after"))
    return [
        Case("export", old, export, _restorer(old), _state(contents(old), contents(new))),
        Case("train", old, train, _restorer(old), _state(contents(old), contents(work / "after"))),
    ]


def _restorer(old: Path) -> Step:
    """Return a step that publishes the files of an export, as they are now, into a folder that has become another."""
    files = {path.name: path.read_bytes() for path in old.iterdir()}

    def restore(folder: Path) -> None:
        with changing(folder), temporary_folder(folder) as staging:
            for name, content in files.items():
                (staging / name).write_bytes(content)
            publish(folder, staging, [], [path.name for path in folder.iterdir() if path.name not in files])

    return restore


def _state(old: dict[str, str], new: dict[str, str]) -> Callable[[Path], str]:
    assert old
    assert new not in ({}, old)

    def state(folder: Path) -> str:
        found = contents(folder)
        return OLD if found == old else NEW if found == new else NEITHER

    return state


def stop_at(step: Step, folder: Path, point: int, kind: str) -> bool:
    """Run a step in a process of its own, and stop it before its change number `point`; return whether it got there."""
    child = os.fork()
    if child == 0:
        code = BUG
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            reached = _arm(folder, point, kind)
            with suppress(OSError, KeyboardInterrupt, MnistEdgeError):
                step(folder)
            code = STOPPED if reached else 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    ended = os.waitstatus_to_exitcode(status)
    assert ended in (0, STOPPED, -signal.SIGKILL), f"{kind} at {point}: {ended}"
    return ended != 0


def _arm(folder: Path, point: int, kind: str) -> list[int]:
    """Stop this process before its change number `point` of a folder, which is entered in the list by then."""
    count = 0
    reached: list[int] = []

    def watch(event: str, arguments: Any) -> None:
        nonlocal count
        writes = event == "open" and bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if not (writes or event in CHANGES):
            return
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
        if path.startswith("/") and not path.startswith(str(folder)):
            return
        count += 1
        if count != point:
            return
        reached.append(point)
        if kind == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "SIGINT":
            os.kill(os.getpid(), signal.SIGINT)
        else:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    sys.addaudithook(watch)
    return reached


def points(case: Case, kind: str, work: Path) -> dict[str, Any]:
    """Stop a step before each of its changes, and count what was found."""
    row: Counter[str] = Counter()
    stopped, point = True, 0
    while stopped:
        point += 1
        folder = shutil.copytree(case.old, work / "folder")
        stopped = stop_at(case.step, folder, point, kind)
        row["points"] += stopped
        reading = folder / PUBLISHING if (folder / PUBLISHING).is_dir() else folder
        row["neither, for one who may only read"] += case.state(reading) == NEITHER
        found = case.state(folder)
        row[found] += stopped
        row["neither"] += found == NEITHER
        case.step(folder)
        row["next command failed"] += case.state(folder) != NEW
        row["left behind"] += any(path.name.startswith(".") for path in folder.iterdir())
        shutil.rmtree(folder)
    return {"step": case.name, "fault": kind, **row}


def points_table(rows: list[dict[str, Any]]) -> str:
    """Return the Markdown table of `points`."""
    columns = ("points", OLD, NEW, NEITHER, "neither, for one who may only read", "next command failed", "left behind")
    lines = [f"| step | fault before a change | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    lines += [
        f"| {row['step']} | {row['fault']} | {' | '.join(str(row.get(name, 0)) for name in columns)} |" for row in rows
    ]
    return "\n".join(lines)


def all_points(exports: Path) -> list[dict[str, Any]]:
    """Return the rows of `points`, of each step and kind of fault."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        work = Path(name)
        return [points(case, kind, work) for case in cases(exports, work) for kind in KINDS]
