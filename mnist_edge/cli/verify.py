"""`mnist-edge verify`."""

from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_edge.cli.console import console, info, print_json, save_results
from mnist_edge.cli.options import (
    DEFAULT_FOLDER,
    PATH,
    check_used,
    check_writable,
    custom_option,
    export_folders,
    json_option,
    local_data_option,
    local_dataset,
    overrides,
    run_custom,
    tolerance_option,
    verbose_option,
)

if TYPE_CHECKING:
    from mnist_edge.formats.layer_errors import LayerError
    from mnist_edge.verify.result import VerifyReport


@click.command("verify")
@click.argument("target", type=PATH, default=DEFAULT_FOLDER)
@local_data_option
@click.option("--reference", type=PATH, help="A reference.npz, to check a file that we did not export.")
@click.option("--precision", help="How that file computes, float32 or int8 say; without it, found out.")
@tolerance_option
@click.option("--images", type=click.IntRange(1), help="Use only this many of the golden images, on a slow board.")
@click.option("--strict", is_flag=True, help="Exit with 1 also where something had to be skipped.")
@click.option("--matrix", is_flag=True, help="Show on how many images every two files differ.")
@click.option("--layers", is_flag=True, help="Show the error of each layer against Keras, the worst first.")
@click.option("--junit", type=PATH, metavar="FILE", help="Write the verdicts as JUnit XML too.")
@custom_option
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
    custom: Path | None,
    json: bool,
) -> None:
    """Check that every exported file gives Keras's predictions; exit 1 where one does not.

    TARGET is an export folder, a folder of them, or with --reference any .tflite or .onnx file. Uses all test images
    where the dataset is at hand (nothing is downloaded), else the 1 000 kept in reference.npz. Leaves its verdict in
    the folder, as verify.json.

    \b
    Example: mnist-edge verify exports/cnn
    Example: mnist-edge verify theirs.onnx --reference exports/cnn/reference.npz
    """
    from mnist_edge.core.folder import VERIFY
    from mnist_edge.report import json as report_json
    from mnist_edge.report import junit as report_junit

    run_custom(custom)
    folders = export_folders(target) if reference is None else [target]
    if len(folders) > 1:
        if junit is not None:
            raise click.UsageError(f"--junit is of one export folder, and {target} holds {len(folders)}.")
        _verify_each(ctx, folders, json)
        return
    target = folders[0]
    if junit is not None:
        check_writable(junit.parent)
        if junit.is_dir():
            raise click.UsageError(f"--junit {junit} is a folder; give a file.")
    if reference is None:
        report = _verify_folder(target, data, precision, tolerance, images)
    else:
        if images is not None:
            raise click.UsageError("--images goes with a folder.")
        report = _verify_file(target, reference, data, precision, tolerance)
    if junit is not None:
        report_junit.write(report, junit, strict)
    errors, skipped = _layer_errors(report) if layers else ({}, {})
    content = report_json.verify(report, strict)
    if report.manifest is not None:
        save_results(content, target / VERIFY)
    if json:
        print_json({**content, **(report_json.layers(errors, skipped) if layers else {})})
    else:
        _show(report, matrix, (errors, skipped) if layers else None)
    if not report.passes(strict):
        if report.passed:
            info("FAIL: --strict, and something was skipped.")
        ctx.exit(1)


def _show(report: "VerifyReport", matrix: bool, layers: tuple[dict[str, Any], dict[str, str]] | None) -> None:
    """Print the tables."""
    from mnist_edge.report.verify_tables import layers_table, matrix_table, verify_table

    screen = console()
    screen.print(verify_table(report, screen.width))
    if matrix:
        screen.print(matrix_table(report))
    if layers is not None:
        screen.print(layers_table(*layers))


def _verify_each(ctx: click.Context, folders: list[Path], json: bool) -> None:
    """Verify each of several folders with the same options; exit 1 where one of them fails."""
    import io
    from contextlib import nullcontext, redirect_stdout

    answers, codes = [], []
    for folder in folders:
        if not json:
            click.echo(f"{folder}:")
        text = io.StringIO()
        with redirect_stdout(text) if json else nullcontext():
            try:
                ctx.invoke(command, **{**ctx.params, "target": folder})
                codes.append(0)
            except click.exceptions.Exit as error:
                codes.append(error.exit_code)
        answers.append({"folder": str(folder), **loads(text.getvalue())} if json else {})
    if json:
        print_json({"schema": 1, "good": not any(codes), "folders": answers})
    if any(codes):
        ctx.exit(1)


def _verify_folder(
    folder: Path, data: Path | None, precision: str | None, tolerance: tuple[str, ...], images: int | None
) -> "VerifyReport":
    from mnist_edge.verify.verify import verify

    if precision is not None:
        raise click.UsageError("--precision goes with --reference: a folder's manifest knows it.")
    if folder.is_file():
        raise click.UsageError(f"{folder} is a file; give the export folder that it is in, or --reference.")
    if images is not None and data is not None:
        raise click.UsageError("--images is of the golden images, --data brings others; give one of them.")
    dataset = local_dataset(data) if images is None else None
    report = verify(folder, dataset, overrides(tolerance), images)
    check_used(data, dataset, tolerance, report)
    return report


def _verify_file(
    path: Path, reference: Path, data: Path | None, precision: str | None, tolerance: tuple[str, ...]
) -> "VerifyReport":
    from mnist_edge.core.contract import Precision
    from mnist_edge.verify.verify import verify_file

    if path.is_dir():
        raise click.UsageError("--reference goes with one file; a folder has its own.")
    if precision is not None and precision not in tuple(Precision):
        raise click.UsageError(f"there is no precision {precision!r}. Say one of {', '.join(Precision)}.")
    dataset = local_dataset(data)
    computes = Precision(precision) if precision else None
    report = verify_file(path, reference, dataset, computes, overrides(tolerance))
    check_used(data, dataset, tolerance, report)
    return report


def _layer_errors(report: "VerifyReport") -> tuple[dict[str, "tuple[LayerError, ...]"], dict[str, str]]:
    """Return each file's errors by layer, and why others have none."""
    errors, skipped = {}, {}
    for item in report.results:
        name, check = item.artifact.path.name, item.internal_check
        if check is not None and check.errors:
            errors[name] = check.errors
        else:
            skipped[name] = (check.not_compared if check else None) or item.reasons[0]
    return errors, skipped
