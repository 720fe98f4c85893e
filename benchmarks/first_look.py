"""Time `mnist-edge predict` on a file that is opened in a process of its own first, beside the same file once known.

    python benchmarks/first_look.py FOLDER [--rounds 20]      (after make export)

They take turns in a cache of their own, which is removed before each first look; a first round is not counted. Figures
are CPU time, of the command with its children, which other work on the machine changes little; wall time is kept too.
Writes results/first_look.json and results/first_look.md.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from figures import write

PICTURE = Path(__file__).parent.parent / "examples" / "seven.png"


def measure(path: Path, rounds: int, cache: Path) -> dict[str, Any]:
    """Return the CPU and wall seconds of each `predict`, with a first look and without."""
    command = [sys.executable, "-m", "mnist_edge", "predict", str(PICTURE), "--artifact", str(path)]
    env = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    spent: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": []} for name in ("first", "known")}
    for number in range(rounds + 1):
        shutil.rmtree(cache, ignore_errors=True)
        for seconds in spent.values():
            cpu, wall = cpu_seconds(), time.perf_counter()
            subprocess.run(command, env=env, check=True, capture_output=True)
            if number:
                seconds["cpu"].append(cpu_seconds() - cpu)
                seconds["wall"].append(time.perf_counter() - wall)
        assert cache.is_dir(), "nothing was remembered"
    return {"file": path.name, **spent}


def cpu_seconds() -> float:
    """Return the CPU time of all children that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def markdown(results: list[dict[str, Any]]) -> str:
    """Return the table, one line a file."""
    lines = ["| file | `predict`, known, CPU s | with a first look, CPU s | price, CPU s |", "|---|---|---|---|"]
    for item in results:
        first, known = item["first"]["cpu"], item["known"]["cpu"]
        price = statistics.median(one - other for one, other in zip(first, known, strict=True))
        lines.append(
            f"| `{item['file']}` | {statistics.median(known):.2f} | {statistics.median(first):.2f} | {price:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the rounds and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("exports/cnn"))
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    folder = options.folder.resolve()
    files = [folder / f"{folder.name}-int8.tflite", folder / f"{folder.name}-int8.onnx", folder / "model.keras"]
    with tempfile.TemporaryDirectory() as name:
        results = [measure(path, options.rounds, Path(name) / "cache") for path in files]
    write("first_look", {"results": results}, markdown(results))


if __name__ == "__main__":
    main()
