"""Runs the commands on mutated files, and says of each case what broke; `benchmarks/fuzz.py` starts it, as a process.

Each case follows from its number and the seed. A library that crashes ends this process alone.
"""

import argparse
import contextlib
import io
import json
import os
import re
import resource
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
from support.mutations import mutate

SLOW = 10  # seconds of a case
MOST_MEMORY = 2**30
CONTROL = re.compile(r"[^\n -~\xa1-\U000e0000]")
PICTURE = Path(__file__).parents[2] / "examples" / "seven.png"
LANGUAGES = ("python", "js", "node", "cpp", "c")


@dataclass(frozen=True)
class Seed:
    """A valid file and what is done with a mutated one; `place` is its name in a copy of the folder."""

    kind: str
    place: str
    content: bytes
    uses: tuple[Callable[[Path, Random], Any], ...]


def command(*arguments: object) -> Callable[[Path, Random], None]:
    """Return a use of a file by a command; FILE and FOLDER stand for it and its folder."""

    def use(path: Path, rng: Random) -> None:
        words = {"FILE": str(path), "FOLDER": str(path.parent), "LANGUAGE": rng.choice(LANGUAGES)}
        run([words.get(str(word), str(word)) for word in arguments])

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
    command("snippet", "FILE", "--lang", "LANGUAGE"),
)
WHOLE = (
    command("predict", PICTURE, "--artifact", "FOLDER"),
    command("inspect", "FOLDER", "--json"),
    command("bench", "FOLDER", "--runs", "1", "--warmup", "0"),
)


def seeds(folder: Path) -> list[Seed]:
    """Return a valid file of every kind, from an export folder with `verify.json` and `bench.json`."""
    from mnist_edge.report.stored import BenchResults, VerifyResults
    from mnist_edge.training import store

    found = []
    for path in sorted(folder.iterdir()):
        kind = path.suffix[1:]
        uses: tuple[Callable[[Path, Random], Any], ...] = MODEL
        if path.name == "manifest.json":
            uses = WHOLE
        elif path.name == "verify.json":
            uses = (lambda file, rng: VerifyResults.read(file.parent),)
        elif path.name == "bench.json":
            uses = (lambda file, rng: BenchResults.read(file.parent),)
        elif path.name == "training.json":
            uses = (lambda file, rng: store._record(file.parent),)
        elif kind == "npz":
            uses = (lambda file, rng: Reference.read(file),)
        elif kind == "keras":
            uses = (command("predict", PICTURE, "--artifact", "FILE"),)
        elif kind not in ("tflite", "onnx", "c"):
            continue
        found.append(Seed(kind, path.name, path.read_bytes(), uses))
    artifact = next(path for path in sorted(folder.glob("*-int8.*")) if path.suffix in (".tflite", ".onnx"))
    picture = (command("predict", "FILE", "--artifact", artifact),)
    found.append(Seed("png", "x.png", PICTURE.read_bytes(), picture))
    return [*found, *_datasets()]


def _datasets() -> Iterator[Seed]:
    """Yield a small dataset as `mnist.npz`, and as one IDX file."""
    from mnist_edge.data.idx import Arrays, write_npz

    images, labels = np.zeros((20, 28, 28), np.uint8), np.arange(20, dtype=np.uint8) % 10
    with tempfile.TemporaryDirectory() as name:
        write_npz(Path(name) / "mnist.npz", Arrays(images, labels, images, labels))
        yield Seed("npz", "mnist.npz", (Path(name) / "mnist.npz").read_bytes(), (lambda file, rng: read_npz(file),))
    yield Seed("idx", "train-images-idx3-ubyte", encode(images), (lambda file, rng: read_folder(file.parent),))


def chosen_seeds(folder: Path, kinds: list[str]) -> list[Seed]:
    """Return the valid files of these kinds; of all where none is named."""
    return [item for item in seeds(folder) if not kinds or item.kind in kinds]


def mutated(number: int, seed: int, chosen: list[Seed]) -> tuple[Random, Seed, bytes]:
    """Return the random numbers of a case, the file that it starts from, and what it makes of it."""
    rng = Random(f"{seed} {number}")
    source = rng.choice(chosen)
    return rng, source, mutate(source.kind, source.content, rng)


def case(number: int, seed: int, chosen: list[Seed], work: Path) -> tuple[str, str | None]:
    """Run one case, and return the kind of file and what broke, None where nothing did."""
    rng, source, content = mutated(number, seed, chosen)
    path = work / source.place
    kept = path.read_bytes() if path.is_file() else None
    path.write_bytes(content)
    start, fault = time.monotonic(), None
    try:
        rng.choice(source.uses)(path, rng)
    except (MnistEdgeError, OSError):
        pass  # it says what is wrong
    except Exception as error:  # noqa: BLE001  # what a user would see as a traceback
        import traceback

        frames = [item for item in traceback.extract_tb(error.__traceback__) if "mnist_edge" in item.filename]
        where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
        fault = f"traceback {type(error).__name__} at {where}: {str(error)[:200]!a}"
    if fault is None and time.monotonic() - start > SLOW:
        fault = f"hang {time.monotonic() - start:.0f} s"
    if kept is None:
        path.unlink()
    else:
        path.write_bytes(kept)
    return f"{source.kind} {source.place}", fault


def main() -> None:
    """Run cases until the time is over, with a line before and after each; in the folder, which they change."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="a copy of an export folder, with verify.json and bench.json")
    for name in ("seed", "first", "cases"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--kinds", nargs="*", default=[])
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    work = options.folder
    chosen = chosen_seeds(work, options.kinds)
    if any(item.kind == "keras" for item in chosen):
        require_keras("fuzzing")  # now, as it is no part of what a case takes
    if any(item.kind == "keras" for item in chosen):
        require_keras("fuzzing")  # now, as its seconds are no fault of a file
    end = time.monotonic() + options.seconds
    for number in range(options.first, options.first + options.cases):
        if time.monotonic() > end:
            break
        print(f"start {number}", file=answers)
        kind, fault = case(number, options.seed, chosen, work)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if fault is None and peak > MOST_MEMORY:
            fault = f"memory {peak / 2**20:.0f} MiB"
        print(json.dumps([number, kind, fault]), file=answers)
        if peak > MOST_MEMORY:
            break


if __name__ == "__main__":
    main()
