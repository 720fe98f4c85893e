"""`mnist-edge verify`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnist_edge.cli.console import console, keep, print_json, say
from mnist_edge.cli.options import (
    DEFAULT_FOLDER,
    PATH,
    data_option,
    json_option,
    limits,
    refuse_other_data,
    tell_unused,
    tolerance_option,
    verbose_option,
)

if TYPE_CHECKING:
    from mnist_edge.verify.layer_errors import LayerError
    from mnist_edge.verify.result import VerifyReport


@click.command("verify")
@click.argument("target", type=PATH, default=DEFAULT_FOLDER)
@data_option
@click.option("--reference", type=PATH, help="A reference.npz, to check a file that we did not export.")
@click.option("--precision", help="How that file computes, float32 or int8 say; without it, found out.")
@tolerance_option
@click.option("--images", type=click.IntRange(1), help="Use only this many of the golden images, on a slow board.")
@click.option("--strict", is_flag=True, help="Exit with 1 also where something had to be skipped.")
@click.option("--matrix", is_flag=True, help="Show on how many images every two files differ.")
@click.option("--layers", is_flag=True, help="Show the error of each layer against Keras, the worst first.")
@click.option("--junit", type=PATH, metavar="FILE", help="Write the verdicts as JUnit XML too.")
@json_option
@verbose_option
@click.pass_context
def command(
    ctx: click.Context,
    target: Path,
    data: Path | None,
    reference: Path | None,
    precision: str | None,
    tolerance: tuple[str, ...],
    images: int | None,
    strict: bool,
    matrix: bool,
    layers: bool,
    junit: Path | None,
    json: bool,
) -> None:
    """Check that every exported file gives Keras's predictions; exit 1 where one does not.

    TARGET is an export folder, or with --reference any .tflite or .onnx file. Uses all test images where the dataset is
    at hand (nothing is downloaded), else the 1 000 kept in reference.npz. Leaves its verdict in the folder, as
    verify.json.

    \b
    Example: mnist-edge verify exports/cnn
    Example: mnist-edge verify theirs.onnx --reference exports/cnn/reference.npz
    """
    from mnist_edge.core.folder import VERIFY
    from mnist_edge.report import json as as_json
    from mnist_edge.report import junit as xml

    result = _verify(target, data, reference, precision, tolerance, images)
    if junit is not None:
        xml.write(result, junit, strict)
    inside = _layers(result) if layers else None
    content = as_json.verify(result, strict)
    if result.manifest is not None:
        keep(content, target / VERIFY)
    if json:
        print_json({**content, **(as_json.layers(*inside) if inside else {})})
    else:
        from mnist_edge.report import verify_tables as report_verify

        screen = console()
        screen.print(report_verify.verify_table(result, screen.width))
        if matrix:
            screen.print(report_verify.matrix_table(result))
        if inside:
            screen.print(report_verify.layers_table(*inside))
    if not result.passes(strict):
        if result.passed:
            say("FAIL: --strict, and something was skipped.")
        ctx.exit(1)


def _verify(
    target: Path,
    data: Path | None,
    reference: Path | None,
    precision: str | None,
    tolerance: tuple[str, ...],
    images: int | None,
) -> "VerifyReport":
    from mnist_edge.core.contract import Precision
    from mnist_edge.data.dataset import load_local
    from mnist_edge.verify.verify import verify, verify_file

    given, dataset = limits(tolerance), load_local(data)
    if reference is None:
        if precision is not None:
            raise click.UsageError("--precision goes with --reference: a folder's manifest knows it.")
        if target.is_file():
            raise click.UsageError(f"{target} is a file; give the export folder that it is in, or --reference.")
        if images is not None and data is not None:
            raise click.UsageError("--images is of the golden images, --data brings others; give one of them.")
        result = verify(target, dataset, given, images)
    else:
        if target.is_dir():
            raise click.UsageError("--reference goes with one file; a folder has its own.")
        if images is not None:
            raise click.UsageError("--images goes with a folder.")
        if precision is not None and precision not in tuple(Precision):
            raise click.UsageError(f"there is no precision {precision!r}. Say one of {', '.join(Precision)}.")
        result = verify_file(target, reference, dataset, Precision(precision) if precision else None, given)
    refuse_other_data(data, dataset, result)
    tell_unused(tolerance, result)
    return result


def _layers(result: "VerifyReport") -> tuple[dict[str, "tuple[LayerError, ...]"], dict[str, str]]:
    found, skipped = {}, {}
    for item in result.results:
        name = item.artifact.path.name
        if item.internal_check is not None and item.internal_check.errors:
            found[name] = item.internal_check.errors
        else:
            skipped[name] = (item.internal_check.unseen if item.internal_check else None) or item.reasons[0]
    return found, skipped
