"""`mnist-edge inspect`."""

from pathlib import Path

import click

from mnist_edge.cli.console import console, print_json
from mnist_edge.cli.options import PATH, json_option


@click.command("inspect")
@click.argument("file", type=PATH)
@json_option
def command(file: Path, json: bool) -> None:
    """Show what is in any .tflite or .onnx file: input and output, operators, versions, sizes, oldest runtime.

    \b
    Example: mnist-edge inspect exports/cnn/cnn-int8.onnx
    """
    from mnist_edge.core.errors import ArtifactError
    from mnist_edge.formats import format_of
    from mnist_edge.report import json as as_json
    from mnist_edge.report import tables as report

    if not file.is_file():
        raise ArtifactError(f"there is no file {file}.")
    described = format_of(file).describe(file)
    if json:
        print_json(as_json.description(described))
    else:
        console().print(report.description_table(file.name, described))
