"""`mnist-edge models`."""

import click

from mnist_edge.cli.common import console, json_option, print_json


@click.command("models")
@json_option
def command(as_json: bool) -> None:
    """List the recipes: parameters, multiply-accumulates, the accuracy their notebooks report.

    \b
    Example: mnist-edge models
    """
    from mnist_edge import report
    from mnist_edge.models import MODELS

    if as_json:
        print_json(report.models_json(MODELS.values()))
    else:
        console().print(report.models_table(MODELS.values()))
