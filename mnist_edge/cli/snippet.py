"""`mnist-edge snippet`."""

from pathlib import Path

import click

from mnist_edge.cli.options import PATH

LANGUAGES = ("python", "js", "node", "cpp", "c")


@click.command("snippet")
@click.argument("file", type=PATH)
@click.option("--lang", type=click.Choice(LANGUAGES), default="python", show_default=True)
def command(file: Path, lang: str) -> None:
    """Print the least code that runs exactly this file in your own app, without mnist-edge.

    It reads images of 28×28 bytes from standard input and prints ten probabilities for each; for a browser (js) it is a
    module that exports `classify`. Where there is no such code, exit 2 with the reason.

    \b
    Example: mnist-edge snippet exports/cnn/cnn-int8.onnx --lang cpp > digit.cpp
    """
    from mnist_edge.deploy.snippets import snippet

    click.echo(snippet(file, lang), nl=False)
