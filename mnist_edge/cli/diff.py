"""`mnist-edge diff`."""

from pathlib import Path

import click

from mnist_edge.cli.console import console, print_json
from mnist_edge.cli.options import PATH, json_option, verbose_option


@click.command("diff")
@click.argument("a", type=PATH)
@click.argument("b", type=PATH)
@click.option("--reference", type=PATH, help="A reference.npz with golden images; without it, the one beside A or B.")
@json_option
@verbose_option
@click.pass_context
def command(ctx: click.Context, a: Path, b: Path, reference: Path | None, json: bool) -> None:
    """Show how two model files differ, of one format or of two; exit 1 where they do.

    Compares operators, inputs and outputs, the weights of each layer as real numbers, and where golden images are at
    hand what each layer computes. Says first whether and where the files differ, and whether rounding explains it.
    Any .tflite and .onnx files will do.

    \b
    Example: mnist-edge diff exports/cnn/cnn-float32.onnx exports/cnn/cnn-int8.tflite
    """
    from mnist_edge.diff.diff import diff
    from mnist_edge.report import diff_tables

    report = diff(a, b, reference)
    if json:
        print_json(diff_tables.diff_json(report))
    else:
        console().print(diff_tables.diff_table(report))
    if not report.same:
        ctx.exit(1)
