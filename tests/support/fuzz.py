"""Runs the commands on mutated files, and says of each case what broke; `benchmarks/fuzz.py` starts it, as a process.

Each case follows from its number and the seed. A library that crashes ends this process alone. First looks are mostly
forks of it, which has the libraries in memory; that takes a tenth of the time.
"""

import argparse
import contextlib
import importlib
import io
import itertools
import json
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import click
import numpy as np

from mnist_edge.core.errors import MnistEdgeError
from mnist_edge.core.optional import require_keras
from mnist_edge.core.reference import Reference
from mnist_edge.data.idx import encode, read_folder, read_npz
from mnist_edge.formats import first_look as looks
from mnist_edge.formats.base import Format
from mnist_edge.formats.first_look import SCAN
from mnist_edge.formats.keras import FORMAT as KERAS
from mnist_edge.formats.keras.files import load_any
from support.mutations import mutate

SLOW = 10  # CPU seconds of a case; benchmarks/fuzz.py ends what waits for long
MOST_GROWTH = 424 * 2**20  # bytes in one case; with TensorFlow, 600 MiB, that is 1 GiB
FULL = 2 * 2**30  # bytes that thousands of cases leave in a process; it is replaced then
CONTROL = re.compile(r"[^\n -~\xa1-\U000e0000]")
PICTURE = Path(__file__).parents[2] / "examples" / "seven.png"
LANGUAGES = ("python", "js", "node", "cpp", "c")
ALONE = "alone"  # a folder without a manifest, so that a model file is not refused for its SHA-256
RARE = 0.02  # a Keras model that `predict` has not seen is opened in a process that imports TensorFlow first
Use = Callable[[Path, Random], Any]


@dataclass(frozen=True)
class Seed:
    """A valid file and what is done with a mutated one; `place` is where that lies in a copy of the folder.

    `weight` is how often it is chosen, beside 1 of others.
    """

    kind: str
    place: str
    content: bytes
    uses: tuple[Use, ...]
    weight: float = 1.0


def command(*arguments: object) -> Use:
    """Return a use of a file by a command; FILE and FOLDER stand for it and its folder."""

    def use(path: Path, rng: Random) -> None:
        words = {"FILE": str(path), "FOLDER": str(path.parent), "LANGUAGE": rng.choice(LANGUAGES)}
        run([re.sub("FILE|FOLDER|LANGUAGE", lambda name: words[name[0]], str(word)) for word in arguments])

    return use


def run(arguments: list[str]) -> int:
    """Run a command in this process, as the command line does, and check what it prints. Raises AssertionError."""
    from mnist_edge.cli import commands

    code: Any = 0
    with printed() as texts:
        try:
            code = commands.main(arguments, prog_name="mnist-edge", standalone_mode=False) or 0
        except (click.ClickException, MnistEdgeError, OSError):
            code = 2  # the command line makes one line of these
    out, err = texts
    if found := CONTROL.search(out + err):
        raise AssertionError(f"{arguments[0]} prints {found[0]!r}")
    if "--json" in arguments and out:
        json.loads(out, parse_constant=_no_json)
    if arguments[0] == "predict" and code == 0 and "nan%" in out:
        raise AssertionError("predict answers with NaN")
    return int(code)


@contextlib.contextmanager
def printed() -> Iterator[list[str]]:
    """Yield a list that gets what the block prints, native libraries too: standard output, and standard error."""
    texts: list[str] = []
    with contextlib.ExitStack() as stack:
        files = []
        for number, redirect in ((1, contextlib.redirect_stdout), (2, contextlib.redirect_stderr)):
            file = stack.enter_context(tempfile.TemporaryFile())
            stack.callback(os.close, saved := os.dup(number))
            stack.callback(os.dup2, saved, number)
            os.dup2(file.fileno(), number)
            text = io.TextIOWrapper(io.FileIO(number, "w", closefd=False), "utf-8", write_through=True)
            stack.enter_context(redirect(text))
            files.append(file)
        yield texts
        for file in files:
            file.seek(0)
            texts.append(file.read().decode())


def _no_json(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


MODEL = (
    command("predict", PICTURE, "--artifact", "FILE"),
    command("predict", PICTURE, "--artifact", "FILE", "--json"),
    command("inspect", "FILE"),
    command("inspect", "FILE", "--json"),
    command("diff", "FILE", "FILE"),
    command("diff", "FILE", "FILE", "--reference", "FOLDER/../reference.npz", "--json"),
    command("snippet", "FILE", "--lang", "LANGUAGE"),
    command("verify", "FILE", "--reference", "FOLDER/../reference.npz", "--json"),
)
WHOLE = (
    command("predict", PICTURE, "--artifact", "FOLDER"),
    command("inspect", "FOLDER", "--json"),
    command("bench", "FOLDER", "--runs", "1", "--warmup", "0"),
    command("verify", "FOLDER", "--images", "10"),
    command("bundle", "FOLDER", "--out", "FOLDER/bundle.tar.gz"),
)


def seeds(folder: Path) -> list[Seed]:
    """Return a valid file of every kind, from an export folder with `verify.json` and `bench.json`."""
    artifact = next(path for path in sorted(folder.glob("*-int8.*")) if path.suffix in (".tflite", ".onnx"))
    uses = _uses(artifact)
    found = []
    for path in sorted(folder.iterdir()):
        if path.name in uses:
            found.append(Seed(path.suffix[1:], path.name, path.read_bytes(), uses[path.name]))
        elif path.suffix in (".tflite", ".onnx", ".c"):
            found.append(Seed(path.suffix[1:], f"{ALONE}/{path.name}", path.read_bytes(), MODEL))
    model, predict = (folder / "model.keras").read_bytes(), command("predict", PICTURE, "--artifact", "FILE")
    found.append(Seed("keras", f"{ALONE}/model.keras", model, (predict,), RARE))
    found.append(Seed("png", "x.png", PICTURE.read_bytes(), (command("predict", "FILE", "--artifact", artifact),)))
    return [*found, *_datasets()]


def _uses(artifact: Path) -> dict[str, tuple[Use, ...]]:
    """Return what is done with each file of an export folder that is no artifact; `artifact` is one that is whole."""
    from mnist_edge.report.stored import BenchResults, VerifyResults
    from mnist_edge.training import store

    def read_bench(path: Path, rng: Random) -> None:
        BenchResults.read(path.parent)

    def read_model(path: Path, rng: Random) -> None:
        looks.first_look(path, KERAS, step=SCAN)  # as `export --from` does
        load_any(path)

    return {
        "manifest.json": WHOLE,
        "verify.json": (lambda path, rng: VerifyResults.read(path.parent),),
        "bench.json": (*[read_bench] * 9, command("report", "FOLDER")),  # whose plots take seconds
        "training.json": (lambda path, rng: store._record(path.parent),),
        "reference.npz": (
            lambda path, rng: Reference.read(path),
            command("verify", artifact, "--reference", "FILE", "--json"),
        ),
        "model.keras": (read_model,),
    }


def _datasets() -> Iterator[Seed]:
    """Yield a small dataset as `mnist.npz`, and as one IDX file."""
    from mnist_edge.data.idx import Arrays, write_npz

    images, labels = np.zeros((20, 28, 28), np.uint8), np.arange(20, dtype=np.uint8) % 10
    with tempfile.TemporaryDirectory() as name:
        write_npz(Path(name) / "mnist.npz", Arrays(images, labels, images, labels))
        yield Seed("npz", "mnist.npz", (Path(name) / "mnist.npz").read_bytes(), (lambda file, rng: read_npz(file),))
    yield Seed("idx", "train-images-idx3-ubyte", encode(images), (lambda file, rng: read_folder(file.parent),))


def look_in_forks() -> None:
    """Let this process fork for a first look, but for every twentieth and for Keras, which has threads by then."""
    start_process, count = looks._ask_child, itertools.count()

    def ask(path: Path, file_format: Format, step: str) -> looks.Answer | None:
        if next(count) % 20 == 0 or (file_format is KERAS and step != SCAN):
            return start_process(path, file_format, step)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.dup2(writer, 1)
                sys.argv = ["", "", file_format.name, str(path), step]
                looks.child()
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            answer = file.read()
        return looks.read_answer(path, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), answer)

    looks._ask_child = ask


def chosen_seeds(folder: Path, kinds: list[str]) -> list[Seed]:
    """Return the valid files of these kinds; of all where none is named."""
    return [item for item in seeds(folder) if not kinds or item.kind in kinds]


def mutated(number: int, seed: int, chosen: list[Seed]) -> tuple[Random, Seed, bytes]:
    """Return the random numbers of a case, the file that it starts from, and what it makes of it."""
    rng = Random(f"{seed} {number}")
    (source,) = rng.choices(chosen, [item.weight for item in chosen])
    return rng, source, mutate(source.kind, source.content, rng)


def case(number: int, seed: int, chosen: list[Seed], work: Path) -> tuple[str, str | None]:
    """Run one case, and return the kind of file and what broke, None where nothing did."""
    rng, source, content = mutated(number, seed, chosen)
    path = work / source.place
    path.parent.mkdir(exist_ok=True)
    kept = path.read_bytes() if path.is_file() else None
    path.write_bytes(content)
    start, fault = _cpu_seconds(), None
    try:
        rng.choice(source.uses)(path, rng)
    except (MnistEdgeError, OSError):
        pass  # it says what is wrong
    except Exception as error:  # noqa: BLE001  # what a user would see as a traceback
        import traceback

        frames = [item for item in traceback.extract_tb(error.__traceback__) if "mnist_edge" in item.filename]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        fault = f"traceback {type(error).__name__} at {where}: {str(error)[:200]!a}"
    if fault is None and _cpu_seconds() - start > SLOW:
        fault = f"hang {_cpu_seconds() - start:.0f} s"
    if kept is None:
        path.unlink()
    else:
        path.write_bytes(kept)
    return f"{source.kind} {path.name}", fault


def _cpu_seconds() -> float:
    """Return what this process and its children that have ended used, which other work changes little."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _memory(field: str) -> int:
    """Return a figure of this process's memory in bytes, as Linux's /proc names it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def main() -> None:
    """Run cases until the time is over, with a line before and after each; in the folder, which they change."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="a copy of an export folder, with verify.json and bench.json")
    for name in ("seed", "first", "last", "step"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--kinds", nargs="*", default=[])
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    work = options.folder
    chosen = chosen_seeds(work, options.kinds)
    require_keras("fuzzing")  # now, as its seconds are no fault of a file
    for name in ("onnx", "onnxruntime", "ai_edge_litert.interpreter", "h5py"):
        importlib.import_module(name)
    look_in_forks()
    end = time.monotonic() + options.seconds
    for number in range(options.first, options.last, options.step):
        if time.monotonic() > end:
            break
        print(f"start {number}", file=answers)
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        kind, fault = case(number, options.seed, chosen, work)
        growth = _memory("VmHWM") - before
        if fault is None and growth > MOST_GROWTH:
            fault = f"memory {growth / 2**20:.0f} MiB more"
        print(json.dumps([number, kind, fault]), file=answers)
        if before + growth > FULL:
            break


if __name__ == "__main__":
    main()
