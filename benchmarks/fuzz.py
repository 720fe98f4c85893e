"""Runs every command on mutated files for as long as one likes, and counts what broke: `make fuzz SECONDS=3600 SEED=7`.

    PYTHONPATH=tests python benchmarks/fuzz.py EXPORT_FOLDER [--seconds 120] [--seed 0] [--kinds onnx tflite] [--write]

`--first NUMBER --cases 1` repeats a case, `--keep FOLDER` keeps the files that broke something, `--workers 2` runs two
at once, `--write` writes results/fuzz.json and .md. The cases are in tests/support/fuzz.py, the mutations in
tests/support/mutations.py.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

from figures import write
from support.fuzz import chosen_seeds, mutated

STUCK = 180  # seconds without a word from the process; importing TensorFlow takes many on a busy machine
BROKEN = ("traceback", "crash", "hang", "memory")


@dataclass
class Tally:
    """How many cases of each kind of file were tried, and what broke."""

    options: argparse.Namespace
    folder: Path
    pristine: dict[str, bytes]
    cases: Counter[str] = field(default_factory=Counter)
    faults: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @classmethod
    def of(cls, options: argparse.Namespace, folder: Path, copies: Path) -> "Tally":
        """Return one with a copy of an export folder of its own, in the folder `copies`."""
        here = Path(shutil.copytree(folder, copies / folder.name))
        return cls(options, here, {path.name: path.read_bytes() for path in here.iterdir() if path.is_file()})

    def restore(self) -> None:
        """Put every file of the folder back as it was."""
        for name, content in self.pristine.items():
            (self.folder / name).write_bytes(content)

    def tell(self, number: int, kind: str, fault: str) -> None:
        """Print and count a fault; keep the file that made it where that is wanted."""
        print(f"case {number} ({kind}): {fault}", flush=True)
        self.faults[kind][fault.split()[0]] += 1
        if keep := self.options.keep:
            keep.mkdir(parents=True, exist_ok=True)
            self.restore()
            _, source, content = mutated(number, self.options.seed, chosen_seeds(self.folder, self.options.kinds))
            (keep / f"{number}-{Path(source.place).name}").write_bytes(content)

    def add(self, other: "Tally") -> None:
        """Add what another one has counted."""
        self.cases += other.cases
        for kind, counts in other.faults.items():
            self.faults[kind] += counts

    def table(self) -> str:
        """Return all of it as a Markdown table."""
        rows = [
            "| mutated file | tried | tracebacks | crashes | hangs over 10 s | memory over 1 GiB |",
            "|---|" + "---:|" * 5,
        ]
        for kind, count in sorted(self.cases.items()):
            rows.append(f"| {kind} | {count:,} | " + " | ".join(str(self.faults[kind][name]) for name in BROKEN) + " |")
        totals = (sum(counts[name] for counts in self.faults.values()) for name in BROKEN)
        return "\n".join([*rows, f"| all | {self.cases.total():,} | " + " | ".join(map(str, totals)) + " |"])


def main() -> None:
    """Start processes until the time is over; exit code 1 where anything broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an export folder")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--cases", type=int, default=sys.maxsize)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=[])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = prepared(options.folder, Path(work))
        tallies = [Tally.of(options, folder, Path(work) / str(worker)) for worker in range(options.workers)]
        with ThreadPoolExecutor(options.workers) as pool:
            list(pool.map(supervise, range(options.workers), tallies))
        tally = tallies[0]
        for other in tallies[1:]:
            tally.add(other)
    print(tally.table())
    if options.write:
        rows = [{"file": kind, "cases": count, **tally.faults[kind]} for kind, count in sorted(tally.cases.items())]
        write("fuzz", {"seed": options.seed, "seconds": options.seconds, "results": rows}, tally.table() + "\n")
    sys.exit(1 if any(tally.faults.values()) else 0)


def prepared(folder: Path, work: Path) -> Path:
    """Return a copy of an export folder with verify's and bench's results in it."""
    here = Path(shutil.copytree(folder, work / folder.name))
    for arguments in (["verify", here, "--images", "10"], ["bench", here, "--runs", "3", "--warmup", "0"]):
        subprocess.run([sys.executable, "-m", "mnist_edge", *map(str, arguments)], capture_output=True, check=True)
    return here


def supervise(worker: int, tally: Tally) -> None:
    """Run a worker's share of the cases in one process after another; one that crashes or hangs costs its own alone."""
    options = tally.options
    step, end, last = options.workers, time.monotonic() + options.seconds, options.first + options.cases
    number = options.first + worker
    while time.monotonic() < end and number < last:
        words = [sys.executable, "-m", "support.fuzz", str(tally.folder), "--seed", str(options.seed)]
        words += ["--first", str(number), "--last", str(last), "--step", str(step)]
        words += ["--seconds", str(max(1.0, end - time.monotonic())), "--kinds", *options.kinds]
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True
        )
        running = None
        for line in lines(process):
            if line.startswith("start "):
                running = int(line.split()[1])
                continue
            done, kind, fault = json.loads(line)
            running, number = None, done + step
            tally.cases[kind] += 1
            if fault:
                tally.tell(done, kind, fault)
        if running is not None:
            ended = "hang" if process.returncode == -signal.SIGKILL else f"crash {process.returncode}"
            tally.tell(running, "unknown", ended)
            number = running + step
        elif process.returncode:
            sys.exit(f"the process that runs the cases failed (exit code {process.returncode})")
        tally.restore()


def lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    """Yield the lines of a process; one that says nothing for long is ended."""
    found: Queue[str] = Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            found.put(line)
        found.put("")

    Thread(target=read, daemon=True).start()
    while True:
        try:
            line = found.get(timeout=STUCK)
        except Empty:
            process.kill()
            continue
        if not line:
            break
        yield line
    process.wait()


if __name__ == "__main__":
    main()
