"""`mnist-edge report`."""

from pathlib import Path

import click

from mnist_edge.cli.console import info
from mnist_edge.cli.options import (
    PATH,
    check_used,
    folder_argument,
    local_data_option,
    local_dataset,
    overrides,
    tolerance_option,
    verbose_option,
)


@click.command("report")
@folder_argument
@local_data_option
@tolerance_option
@click.option("--strict", is_flag=True, help="Exit with 1 also where something had to be skipped.")
@click.option(
    "--device",
    "others",
    type=PATH,
    multiple=True,
    metavar="DIR",
    help="A folder with a board's verify.json and bench.json; may be repeated. Those in FOLDER/devices are found.",
)
@click.option("--out", type=PATH, help="Folder that gets the pages; the export folder where it is not given.")
@verbose_option
@click.pass_context
def command(
    ctx: click.Context,
    folder: Path,
    data: Path | None,
    tolerance: tuple[str, ...],
    strict: bool,
    others: tuple[Path, ...],
    out: Path | None,
) -> None:
    """Verify an export and write report.html, one file that needs no network, and report.md.

    Shows latency where mnist-edge bench has left its results in the folder, and what boards said of the same files
    beside it. Exits with 1 where a file fails, here or on a board.

    \b
    Example: mnist-edge report exports/cnn
    """
    from mnist_edge.cli.options import check_writable
    from mnist_edge.core.files import atomic_write
    from mnist_edge.core.manifest import Manifest
    from mnist_edge.report.devices import read_devices
    from mnist_edge.report.html import render
    from mnist_edge.report.stored import BenchResults
    from mnist_edge.verify.verify import verify

    dataset, target = local_dataset(data), out or folder
    boards = read_devices(Manifest.read(folder), others)
    check_writable(target)
    result = verify(folder, dataset, overrides(tolerance))
    check_used(data, dataset, tolerance, result)
    for suffix, text in render(result, BenchResults.read(folder), strict, boards).items():
        path = target / f"report{suffix}"
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        info(f"Wrote {path}")
    failed = [device.name for device in boards if not device.passes(strict)]
    if failed:
        info(f"FAIL on {', '.join(failed)}: {target / 'report.md'} says why.")
    passed = result.passes(strict) and not failed
    click.echo("PASS" if passed else "FAIL")
    if not passed:
        ctx.exit(1)
