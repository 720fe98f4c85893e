"""Faults put into train, export, bundle and report: is the folder old or new afterwards, and never neither?

    python benchmarks/faults.py [--exports FOLDER] [--kills 100] [--pairs 50] [--part NAME]

Writes results/faults.json and .md. `points` stops the step that publishes before every single change that it makes in
the folder: by SIGKILL, by SIGINT, and by an error that says that the disk is full. `kills` kills whole commands at
random moments, `pairs` runs two exports into one folder at once. After each the folder is read, the next command is
run, and what it leaves is looked at.
"""

import argparse
import importlib
import json
import os
from pathlib import Path
from typing import Any

from fault_kills import commands, kills, kills_table, pairs
from fault_points import all_points, points_table
from figures import RESULTS, write

ORDER = ("train", "export", "bundle", "report", "pairs")


def load_libraries() -> None:
    """Import what the commands import, so that their forks need not; no thread is started by that."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    for name in ("tensorflow", "keras", "onnxruntime", "onnx", "sklearn.metrics", "matplotlib.pyplot", "jinja2"):
        importlib.import_module(name)


def main() -> None:
    """Run all, or some parts, and write the results; those of other parts stay as they are."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--exports", type=Path, default=Path("exports"))
    parser.add_argument("--points", action="store_true", help="Do that alone, and write no results.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--part", action="append", help="points, train, export, bundle, report or pairs")
    options = parser.parse_args()
    exports = options.exports.resolve()
    if options.points:
        print(points_table(all_points(exports)))
        return
    chosen = commands(exports)
    parts = options.part or ["points", *chosen, "pairs"]
    load_libraries()
    for part in parts:
        if part == "points":
            found = all_points(exports)
        elif part == "pairs":
            found = [pairs(exports, options.pairs)]
        else:
            found = [kills(part, *chosen[part], options.kills)]
        enter(part, found)


def enter(part: str, rows: list[dict[str, Any]]) -> None:
    """Write the results of a part beside those of the others."""
    stored = RESULTS / "faults.json"
    results = json.loads(stored.read_text(encoding="utf-8"))["results"] if stored.is_file() else {}
    results[part] = rows
    of_commands = [row for name in ORDER for row in results.get(name, [])]
    table = f"{points_table(results.get('points', []))}\n\n{kills_table(of_commands)}\n"
    write("faults", {"results": results}, table)


if __name__ == "__main__":
    main()
