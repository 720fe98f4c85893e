"""`mnist-edge formats`."""

import click

from mnist_edge.cli.console import console, print_json
from mnist_edge.cli.options import json_option


@click.command("formats")
@json_option
def command(json: bool) -> None:
    """Show which format can hold which precision, why the others cannot, and whether the runtime is installed.

    \b
    Example: mnist-edge formats
    """
    from mnist_edge.formats import FORMATS
    from mnist_edge.report import json as as_json
    from mnist_edge.report import tables as report

    formats = [item for item in FORMATS.values() if item.precisions]
    if json:
        print_json(as_json.formats(formats))
    else:
        console().print(report.formats_table(formats))
