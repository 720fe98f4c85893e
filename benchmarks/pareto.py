"""Draw what the files of several networks take and give: accuracy against size, and against latency.

    python benchmarks/pareto.py exports/cnn exports/mlp exports/edge …      (writes results/pareto.json, .md and .png)

Accuracy over MNIST's test images, and the p50 of one image from pixels to probabilities: all files take turns in one
process, warm and after a sweep of the caches. The int8 files with the default input and output alone.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from figures import RESULTS, write
from release import int8_files

from mnist_edge.bench.caches import sweeper
from mnist_edge.bench.timing import interleave
from mnist_edge.data.dataset import load_mnist
from mnist_edge.formats import FORMATS, runtime_versions
from mnist_edge.report.trade_offs import FilePoint, draw

RUNS, WARM_UP, COLD_RUNS = 3000, 300, 200


def measured(folders: list[Path]) -> list[dict[str, Any]]:
    """Return size, accuracy and latency of each int8 file of the folders."""
    test = load_mnist().test
    image = test.images[:1]
    rows: list[dict[str, Any]] = []
    calls = {}
    with ExitStack() as stack:
        for artifact in (item for folder in folders for item in int8_files(folder)):
            name = artifact.path.name
            runner = stack.enter_context(FORMATS[artifact.format].open(artifact.path))
            right = runner.run(test.images).argmax(axis=1) == test.labels
            rows.append({"file": name, "bytes": artifact.bytes, "accuracy": float(right.mean())})
            calls[name] = lambda run=runner.run: run(image)
        warm = interleave(calls, RUNS, WARM_UP)
        cold = interleave(calls, COLD_RUNS, 0, before=sweeper())
    return [{**row, "warm_us": warm[row["file"]].p50, "cold_us": cold[row["file"]].p50} for row in rows]


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    rows = measured(parser.parse_args().folders)
    lines = ["| file | bytes | accuracy | warm, µs | cold, µs |", "|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: row["bytes"]):
        times = f"{row['warm_us']:.1f} | {row['cold_us']:.1f}"
        lines.append(f"| `{row['file']}` | {row['bytes']:,} | {row['accuracy']:.2%} | {times} |")
    write("pareto", {"versions": runtime_versions(), "results": rows}, "\n".join(lines) + "\n")
    picture(rows, RESULTS / "pareto.png")


if __name__ == "__main__":
    main()
