"""Draw what the files of several networks take and give: accuracy against size, and against latency.

    python benchmarks/pareto.py exports/cnn exports/mlp exports/edge …      (writes results/pareto.json, .md and .png)

Every folder is verified and timed first, each in a run of its own; figures of one host. Int8 files alone are drawn.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from figures import RESULTS, write

from mnist_edge.report.trade_offs import FilePoint, draw


def measured(folder: Path) -> list[dict[str, Any]]:
    """Return size, accuracy and latency of each int8 file of a folder."""

    def run(command: str, *options: str) -> dict[str, Any]:
        words = [sys.executable, "-m", "mnist_edge", command, str(folder), "--json", *options]
        content: dict[str, Any] = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
        return content

    accuracy = {item["file"]: item["comparison"]["accuracy"] for item in run("verify")["results"]}
    return [
        {
            "file": item["file"],
            "bytes": (folder / item["file"]).stat().st_size,
            "accuracy": accuracy[item["file"]],
            "warm_us": item["call"]["p50_us"],
            "cold_us": item["cold"]["p50_us"],
        }
        for item in run("bench")["results"]
        if "int8" in item["file"]
    ]


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the picture."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    names = {"bytes": "bytes", "warm_us": "µs a call, warm p50", "cold_us": "µs a call, caches swept, p50"}
    points = [
        FilePoint(
            row["file"], Path(row["file"]).suffix, row["accuracy"], {name: row[key] for key, name in names.items()}
        )
        for row in rows
    ]
    figure, axes = pyplot.subplots(1, 3, figsize=(18, 4.6))
    figure.subplots_adjust(left=0.04, right=0.91, bottom=0.12, top=0.96, wspace=0.6)
    for axis, name in zip(axes, names.values(), strict=True):
        axis.spines[["top", "right"]].set_visible(False)
        draw(axis, points, name)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=Path, nargs="+")
    rows = [row for folder in parser.parse_args().folders for row in measured(folder)]
    lines = ["| file | bytes | accuracy | warm, µs | cold, µs |", "|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: row["bytes"]):
        times = f"{row['warm_us']:.1f} | {row['cold_us']:.1f}"
        lines.append(f"| `{row['file']}` | {row['bytes']:,} | {row['accuracy']:.2%} | {times} |")
    write("pareto", {"results": rows}, "\n".join(lines) + "\n")
    picture(rows, RESULTS / "pareto.png")


if __name__ == "__main__":
    main()
