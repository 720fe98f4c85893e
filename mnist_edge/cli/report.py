"""`mnist-edge report`."""

from pathlib import Path

import click

from mnist_edge.cli.console import say
from mnist_edge.cli.options import (
    PATH,
    data_option,
    folder_argument,
    limits,
    refuse_other_data,
    tell_unused,
    tolerance_option,
    verbose_option,
)


@click.command("report")
@folder_argument
@data_option
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
    from mnist_edge.bench.benchmark import read
    from mnist_edge.cli.options import check_writable
    from mnist_edge.core.files import atomic_write
    from mnist_edge.core.manifest import Manifest
    from mnist_edge.data.dataset import load_local
    from mnist_edge.report import devices
    from mnist_edge.report.html import render
    from mnist_edge.verify.verify import verify

    given, dataset, target = limits(tolerance), load_local(data), out or folder
    joined = devices.read(Manifest.read(folder), others)
    check_writable(target)
    result = verify(folder, dataset, given)
    refuse_other_data(data, dataset, result)
    tell_unused(tolerance, result)
    for suffix, text in render(result, read(folder), strict, joined).items():
        path = target / f"report{suffix}"
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        say(f"Wrote {path}")
    failed = [device.name for device in joined if not device.passes(strict)]
    if failed:
        say(f"FAIL on {', '.join(failed)}: {target / 'report.md'} says why.")
    good = result.passes(strict) and not failed
    click.echo("PASS" if good else "FAIL")
    if not good:
        ctx.exit(1)
