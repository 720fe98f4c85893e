"""`mnist-edge models`."""

import click

from mnist_edge.cli.console import console, print_json
from mnist_edge.cli.options import json_option


@click.command("models")
@json_option
def command(json: bool) -> None:
    """List the recipes: parameters, multiply-accumulates, the accuracy their notebooks report.

    \b
    Example: mnist-edge models
    """
    from mnist_edge.report import json as as_json
    from mnist_edge.report import tables as report
    from mnist_edge.training.recipes import RECIPES

    if json:
        print_json(as_json.models(RECIPES.values()))
    else:
        console().print(report.models_table(RECIPES.values()))
