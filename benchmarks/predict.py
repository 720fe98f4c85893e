"""Time `mnist-edge predict` beside a bare script that does the same job: time and peak memory of whole processes.

    python benchmarks/predict.py [FOLDER] [--rounds 40]      (after make export; on a machine that does nothing else)

Both run in one environment like a user's, made for this: the package, not editable, with one runtime. Both take the
same picture and the same int8 file in its export folder, whose SHA-256 `predict` checks. They take turns; a first
round, which fills the caches and writes bytecode, is not counted. Beside the wall time there is the CPU time, which
other work on the machine changes less. Writes results/predict.json and results/predict.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from figures import ratio, write
from PIL import Image

from mnist_edge.data import dataset as data

ROOT = Path(__file__).parent.parent
PICTURE = """
import sys
import numpy as np
from PIL import Image
{library}

digit = Image.open(sys.argv[1]).convert("L").resize((20, 20))
field = np.zeros((28, 28), np.uint8)
field[4:24, 4:24] = 255 - np.asarray(digit)
"""
BARE = {
    "tflite": PICTURE.format(library="from ai_edge_litert.interpreter import Interpreter")
    + """
interpreter = Interpreter(sys.argv[2])
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], field.reshape(1, 28, 28, 1))
interpreter.invoke()
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].argmax())
""",
    "onnx": PICTURE.format(library="import onnxruntime")
    + """
session = onnxruntime.InferenceSession(sys.argv[2])
(probabilities,) = session.run(None, {session.get_inputs()[0].name: field.reshape(1, 1, 28, 28)})
print(probabilities[0].argmax())
""",
}
UNITS = {"seconds": 3, "cpu": 3, "mib": 1}  # with their digits
# A process's peak counts from what it was forked from: a small one has to start it, not this one with MNIST in it.
SPEND = """
import os, sys, time
start = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def environment(folder: Path, extra: str) -> Path:
    """Make a virtual environment with `mnist-edge[extra]`, and return its `bin`."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python, limits = str(folder / "bin" / "python"), str(ROOT / "constraints.txt")
    subprocess.run([python, "-m", "pip", "install", "-q", "-c", limits, f"{ROOT}[{extra}]"], check=True)
    return folder / "bin"


def versions(python: Path) -> dict[str, str]:
    """Return what is installed beside a Python."""
    listed = subprocess.run([python, "-m", "pip", "list", "--format", "json"], capture_output=True, check=True).stdout
    return {item["name"]: item["version"] for item in json.loads(listed)}


def spend(command: list[str], expected: str) -> dict[str, float]:
    """Run a command; return its wall time and CPU time in seconds and its peak memory in MiB."""
    done = subprocess.run([sys.executable, "-I", "-c", SPEND, *command], capture_output=True, text=True, check=False)
    *said, figures = done.stdout.splitlines() or [""]
    if done.returncode or not any(expected in line for line in said):
        raise SystemExit(f"{command} said {said}, exit code {done.returncode}\n{done.stderr}")
    seconds, cpu, kib = figures.split()
    return {"seconds": float(seconds), "cpu": float(cpu), "mib": int(kib) / 1024}


def measure(extra: str, artifact: Path, picture: Path, digit: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Run both in turns; return the seconds and MiB of each round."""
    binaries = environment(folder / extra, extra)
    script = folder / f"{extra}.py"
    script.write_text(BARE[extra])
    commands = {
        "bare": ([f"{binaries}/python", str(script), str(picture), str(artifact)], f"{digit}"),
        "predict": ([f"{binaries}/mnist-edge", "predict", str(picture), "--artifact", str(artifact)], f": {digit} ("),
    }
    found: dict[str, dict[str, list[float]]] = {name: {unit: [] for unit in UNITS} for name in commands}
    for number in range(rounds + 1):
        for name, (command, expected) in commands.items():
            spent = spend(command, expected)
            for unit in UNITS if number else ():
                found[name][unit].append(spent[unit])
    return {"runtime": extra, "file": artifact.name, "versions": versions(binaries / "python"), **found}


def markdown(results: list[dict[str, Any]]) -> str:
    """Return the table, two lines a runtime."""
    lines = [
        "| what | wall, s | ratio, median of rounds (lowest–highest) | CPU, s | ratio | peak, MiB | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    for found in results:
        for name, called in (("bare", "bare script"), ("predict", "`predict`")):
            cells = []
            for unit, digits in UNITS.items():
                value = statistics.median(found[name][unit])
                spread = ratio(found[name][unit], found["bare"][unit])
                cells += [f"{value:.{digits}f}", "1" if name == "bare" else spread]
            lines.append(f"| {called}, `{found['file']}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the rounds and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("exports/cnn"))
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    test = data.load_mnist().test
    with tempfile.TemporaryDirectory() as name:
        picture = Path(name) / "digit.png"
        Image.fromarray(255 - test.images[0]).resize((280, 280)).save(picture)
        results = [
            measure(
                extra,
                options.folder.resolve() / f"{options.folder.resolve().name}-int8.{extra}",
                picture,
                int(test.labels[0]),
                options.rounds,
                Path(name),
            )
            for extra in BARE
        ]
    write("predict", {"results": results}, markdown(results))


if __name__ == "__main__":
    main()
