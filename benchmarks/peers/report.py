"""The table of all runtimes."""

import statistics
from importlib import import_module
from pathlib import Path
from typing import Any

from figures import ratio

DEFAULT = ("litert", "int8")  # our default file, to which all others are a ratio
WRONG = 0.01  # accuracy under that of Keras's network that tells a wrong file


def table(results: list[dict[str, Any]]) -> str:
    """Return the table: a line a file, the fastest right one of each network in bold."""
    lines = [
        "| network | runtime | precision | file | accuracy | warm p50, µs | to our int8 .tflite | cold p50, µs "
        "| to our int8 .tflite |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    failed = []
    for result in results:
        running = [row for row in result["rows"] if "error" not in row]
        base = next(row for row in running if (row["peer"], row["precision"]) == DEFAULT)
        right = [row for row in running if row["accuracy"] >= result["keras"] - WRONG and row["peer"] != "also"]
        fastest = {unit: _fastest(right, unit) for unit in ("warm_ns", "cold_ns")}
        for row in running:
            lines.append(_line(result, row, base, fastest))
        for row in (row for row in result["rows"] if "error" in row):
            failed.append(f"- `{result['network']}`, {', '.join(_name(row))}: {row['error']}")
    return "\n".join([*lines, *(["", "Not measured:", "", *failed] if failed else [])]) + "\n"


def _line(result: dict[str, Any], row: dict[str, Any], base: dict[str, Any], fastest: dict[str, str]) -> str:
    wrong = " **wrong**" if row["accuracy"] < result["keras"] - WRONG and row["peer"] != "also" else ""
    network = "another" if row["peer"] == "also" else f"`{result['network']}`"
    cells = [network, *_name(row), f"`{row['path']}`, {row['bytes'] / 1024:.1f} KiB"]
    cells.append(f"{row['accuracy']:.2%}{wrong}")
    for unit, key in fastest.items():
        ours, microseconds = _medians(base[unit]), statistics.median(_medians(row[unit])) / 1000
        cells.append(f"**{microseconds:.1f}**, fastest" if row["key"] == key else f"{microseconds:.1f}")
        cells.append("1" if row is base else ratio(_medians(row[unit]), ours))
    return f"| {' | '.join(cells)} |"


def _fastest(rows: list[dict[str, Any]], unit: str) -> str:
    return str(min(rows, key=lambda row: statistics.median(_medians(row[unit])))["key"])


def _name(row: dict[str, Any]) -> tuple[str, str]:
    """Return the runtime and the precision."""
    if row["peer"] != "also":
        return import_module(f"peers.{row['peer']}").RUNTIME, row["precision"]
    runtime = "LiteRT" if row["precision"].endswith(".tflite") else "ONNX Runtime"
    return runtime, f"pixels {row['range']}" if "range" in row else Path(row["precision"]).name


def _medians(rounds: list[list[int]]) -> list[float]:
    return [statistics.median(samples) for samples in rounds]
