"""What `mnist-edge export` prints when it has written its files."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_edge.cli.console import console, info, print_json
from mnist_edge.core.contract import Precision
from mnist_edge.core.text import one_line

if TYPE_CHECKING:
    from mnist_edge.export.exporter import Exported

TIMED: dict[str, Any] = {"runs": 200, "processes": 2, "cold": 0, "idle": 0, "starts": 0}  # a note, no result


def show(exported: "Exported", folder: Path, full_integer: bool, json: bool) -> None:
    """Print the manifest as JSON or the table of files with what to type next, and which files are not there."""
    for name in exported.left_out:
        info(f"Note: {name} is damaged, of another model or of another version, and left out. Export it again.")
    if json:
        lists = {"losses": dict(exported.losses), "failed": dict(exported.failed), "left_out": exported.left_out}
        print_json({**exported.manifest.to_json(), **lists})
    else:
        _show_table(exported, folder, full_integer)
    for name, reason in exported.failed.items():
        info(f"NOT WRITTEN  {name}: {reason}")


def _show_table(exported: "Exported", folder: Path, full_integer: bool) -> None:
    """Print the table of files, what their runtimes make of them, and what to type next."""
    from mnist_edge.bench.benchmark import BenchOptions, bench
    from mnist_edge.core.errors import MissingRuntime, MnistEdgeError
    from mnist_edge.report import tables

    screen = console()
    screen.print(tables.export_table(exported.manifest, screen.width))
    notes = [f"{name} {loss}" for name, loss in exported.losses.items()]
    notes += [*tables.operator_lines(exported), *tables.footprint_lines(exported)]
    try:
        notes += bench(folder, BenchOptions(**TIMED)).slower_than_float()
    except MissingRuntime:
        pass  # a folder may hold nothing that is timed on this machine
    except (MnistEdgeError, OSError) as error:  # the files are whole all the same
        notes.append(f"the files were not timed: {one_line(error)}")
    for line in notes:
        info(f"Note: {line}")
    if full_integer:
        info(tables.quantization_code(exported.manifest))
    written = [item for item in exported.manifest.artifacts if item.path.name in exported.written]
    best = sorted(written, key=lambda item: item.precision is Precision.INT8)[-1]
    place = shlex.quote(str(folder))
    for line in (f"verify {place}", f"bench {place}", f"predict digit.png --artifact {shlex.quote(str(best.path))}"):
        info(f"Next: mnist-edge {line}")
