"""`mnist-edge formats`."""

import click

from mnist_edge.cli.options import console, json_option, print_json


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
