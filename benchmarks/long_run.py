"""Make millions of predictions through each runner, and see whether memory grows or an answer changes.

    python benchmarks/long_run.py FILE... [--predictions 10000000] [--seconds 1800]      (after make export)

Each file runs in a process of its own, over the 1 000 golden images of its folder again and again, until it has made so
many predictions or so many seconds have passed; the table says how many were made, and in how many calls of the
runtime. Memory is what the process holds (RSS); it is compared from the end of the first tenth on, when caches are
full. Writes results/long_run.json and results/long_run.md.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from figures import write

from mnist_edge.core.folder import REFERENCE
from mnist_edge.core.reference import Reference
from mnist_edge.formats import format_of

INTERVALS = 20
MIB = 2**20


def memory() -> int:
    """Return the bytes that this process holds."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError("this system does not say how much memory a process holds")


def long_run(path: Path, predictions: int, seconds: float) -> dict[str, Any]:
    """Run one file, and return what happened, with the memory at each interval."""
    images = Reference.read(path.parent / REFERENCE).images
    each = 1000 if format_of(path).name == "keras" else None  # images a call; others say it themselves
    with format_of(path).open(path) as runner:
        first = hashlib.sha256(runner.run(images).tobytes()).hexdigest()
        start, made, changed = time.monotonic(), 0, 0
        samples = [{"predictions": 0, "bytes": memory()}]
        while made < predictions and time.monotonic() - start < seconds:
            changed += hashlib.sha256(runner.run(images).tobytes()).hexdigest() != first
            made += len(images)
            if made >= len(samples) * predictions / INTERVALS:
                samples.append({"predictions": made, "bytes": memory()})
        samples.append({"predictions": made, "bytes": memory()})
        batch = each or runner.batch
    spent = time.monotonic() - start
    return {
        "file": path.name,
        "predictions": made,
        "calls": -(-made // batch),
        "batch": batch,
        "seconds": round(spent, 1),
        "rounds_with_other_outputs": changed,
        "memory": samples,
    }


def markdown(results: list[dict[str, Any]]) -> str:
    """Return the table, one line a file."""
    lines = [
        "| file | predictions | calls of the runtime | memory after a tenth, MiB | at the end | highest in between | "
        "rounds of 1 000 with other outputs |",
        "|---|---|---|---|---|---|---|",
    ]
    for item in results:
        later = [one["bytes"] / MIB for one in item["memory"] if one["predictions"] >= item["predictions"] / 10]
        lines.append(
            f"| `{item['file']}` | {item['predictions']:,} | {item['calls']:,} | {later[0]:.1f} | {later[-1]:.1f} | "
            f"{max(later):.1f} | {item['rounds_with_other_outputs']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run each file and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--predictions", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(long_run(options.files[0], options.predictions, options.seconds)))
        return
    results = []
    for path in options.files:
        limits = ["--predictions", str(options.predictions), "--seconds", str(options.seconds)]
        command = [sys.executable, __file__, "--one", str(path), *limits]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
        print(markdown(results[-1:]).splitlines()[-1], flush=True)
    write("long_run", {"results": results}, markdown(results))


if __name__ == "__main__":
    main()
