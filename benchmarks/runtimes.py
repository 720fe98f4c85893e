"""Our files in LiteRT and ONNX Runtime beside the same networks in OpenVINO, ncnn, MNN and IREE, and other converters'.

    python benchmarks/runtimes.py [--model cnn] [--exports exports] [--also mnist-12-int8.onnx]

The other runtimes live in a virtual environment of their own, which is made once (`--venv`; 1.5 GB), with the versions
of requirements-peers.txt. Each converts our float32 file, or the Keras model, as its documentation says. Then it reads
the test images: what reads them worse than Keras's float32 network by a point is told as wrong. What runs is timed in
one process, interleaved: one thread, batch 1, from uint8 pixels to float32 probabilities; warm, and with the caches
swept before each call. `--also FILE` does the same with any other `.onnx` or `.tflite`; the range of its input
is found on training images, or given: `--also-range=-1..1`.

Writes results/other_runtimes.json, with the raw samples, and results/other_runtimes.md. About 3 minutes a network.
"""

import argparse
import json
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from figures import write
from peers import PEERS
from peers.environment import environment, install, versions
from peers.network import Network
from peers.report import DEFAULT, table
from peers.scales import RANGES
from peers.sources import keras_accuracy, keras_file, prepare

from mnist_edge.core.optional import require_keras

ROOT = Path(__file__).parent.parent
MODELS = ("cnn", "mlp", "edge-small", "edge")
STEP_S = 600


def module(venv: Path, name: str, *arguments: object) -> str:
    """Run a module of `peers` in the environment; return its error in one line, "" where there is none."""
    command = [str(venv.absolute() / "bin" / "python"), "-m", f"peers.{name}", *map(str, arguments)]
    try:
        done = subprocess.run(
            command, env=environment(venv.absolute()), capture_output=True, text=True, timeout=STEP_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"did not end within {STEP_S} s"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no message"]
    ended = f"crashed, signal {-done.returncode}: " if done.returncode < 0 else ""
    return (ended + lines[-1]).replace("|", "/")[:300]


def tried(network: Network, options: argparse.Namespace, missing: dict[str, str]) -> list[dict[str, Any]]:
    """Return a row for each route of each peer and each file of others: what was read right, or the error."""
    work: Path = options.work
    about = work / network.name / "network.json"
    network.write(about)
    steps: list[tuple[str, str, list[object]]] = []
    for peer in PEERS:
        steps += [(peer, precision, []) for precision in import_module(f"peers.{peer}").ROUTES]
    steps += [
        ("also", str(path.resolve()), [options.also_range] if options.also_range else []) for path in options.also
    ]
    rows = []
    for number, (peer, precision, rest) in enumerate(steps):
        folder = (work / network.name / f"{number:02}").absolute()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        error = missing.get(peer) or module(options.venv, "step", about.absolute(), peer, precision, folder, *rest)
        error = error.replace(f"{Path(precision).parent}/", "") if peer == "also" else error
        row = {"peer": peer, "precision": precision}
        row |= {"error": error} if error else json.loads((folder / "step.json").read_text(encoding="utf-8"))
        rows.append({"key": f"{number:02} {peer}", **row})
        print(network.name, peer, precision, rows[-1].get("accuracy"), error, file=sys.stderr, flush=True)
    return rows


def timed(network: Network, options: argparse.Namespace, rows: list[dict[str, Any]], runs: int) -> str:
    """Time rows in one process and put their samples into them; return the error, "" where there is none."""
    folder = (options.work / network.name).absolute()
    request, target = folder / "request.json", folder / "samples.json"
    request.write_text(json.dumps({"runs": runs, "rounds": options.rounds, "rows": rows}), encoding="utf-8")
    error = module(options.venv, "measure", folder / "network.json", request, target)
    if not error:
        samples = json.loads(target.read_text(encoding="utf-8"))
        for row in rows:
            row |= samples[row["key"]]
    return error


def measure(network: Network, exports: Path, options: argparse.Namespace, missing: dict[str, str]) -> dict[str, Any]:
    """Return all rows of a network, with their samples in nanoseconds where they run."""
    folder = options.work / network.name
    rows = tried(network, options, missing)
    running = [row for row in rows if "error" not in row]
    if timed(network, options, running, options.runs):  # find who does not live in one process with the others
        base = next(row for row in running if (row["peer"], row["precision"]) == DEFAULT)
        for row in running:
            if row is not base and (error := timed(network, options, [base, row], runs=1)):
                row["error"] = f"does not run in one process with LiteRT: {error}"
        running = [row for row in running if "error" not in row]
        if error := timed(network, options, running, options.runs):
            raise SystemExit(f"{network.name}: the runtimes do not run in one process: {error}")
    keras = keras_accuracy(keras_file(exports / network.name, folder), options.images)
    for row in rows:
        row["path"] = Path(row["path"]).name if "path" in row else None
        row["precision"] = Path(row["precision"]).name if row["peer"] == "also" else row["precision"]
    return {"network": network.name, "keras": keras, "rows": rows}


def main() -> None:
    """Make the environment, measure each network, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help=f"a recipe, may be repeated; {', '.join(MODELS)} without it")
    parser.add_argument("--exports", type=Path, default=ROOT / "exports")
    parser.add_argument("--venv", type=Path, default=ROOT / "build" / "peers" / "venv")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "peers" / "networks")
    parser.add_argument("--also", type=Path, action="append", default=[], metavar="FILE")
    parser.add_argument("--also-range", choices=RANGES, help="what black and white become, for all of --also")
    parser.add_argument("--images", type=int, default=10_000, help="test images that are read; default: all")
    parser.add_argument("--runs", type=int, default=400, help="warm calls a round; a tenth of them cold")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--note", default="", help="a line under the table, such as: made under load")
    options = parser.parse_args()
    if missing_files := [str(path) for path in options.also if not path.is_file()]:
        parser.error(f"there is no {', '.join(missing_files)}")
    require_keras("this benchmark")
    missing = install(options.venv)
    results = []
    for name in options.model or MODELS:
        exports = options.exports if (options.exports / name).is_dir() else ROOT / "exports"
        network = prepare(name, exports, options.work, options.images)
        results.append(measure(network, exports, options, missing))
        options.also = []  # timed once, beside the first network
    note = f"\n{options.note}\n" if options.note else ""
    content = {"note": options.note, "versions": versions(options.venv), "cpu_flags": cpu_flags(), "results": results}
    write("other_runtimes", content, table(results) + note)


def cpu_flags() -> list[str]:
    """Return the vector extensions of the CPU that int8 and float kernels use; none where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return []
    words = next((line.split() for line in text.splitlines() if line.startswith(("flags", "Features"))), [])
    return sorted(word for word in words if word.startswith(("avx", "fma", "asimd", "i8mm", "amx", "sve")))


if __name__ == "__main__":
    main()
