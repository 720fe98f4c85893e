"""`mnist-edge verify`."""

from pathlib import Path

import click

from mnist_edge.cli.common import console, data_option, folder_argument, json_option, print_json, verbose_option


@click.command("verify")
@folder_argument
@data_option
@click.option("--strict", is_flag=True, help="Exit with 1 also where something had to be skipped.")
@json_option
@verbose_option
@click.pass_context
def command(ctx: click.Context, folder: Path, data: Path | None, strict: bool, json: bool) -> None:
    """Check that every exported file gives Keras's predictions; exit 1 where one does not.

    Uses all test images where the dataset is at hand (nothing is downloaded), else the 1 000 kept in reference.npz.

    \b
    Example: mnist-edge verify exports/cnn
    """
    from mnist_edge import as_json, report
    from mnist_edge.data import at_hand
    from mnist_edge.errors import DataError
    from mnist_edge.parity import verify

    dataset = at_hand(data)
    result = verify(folder, dataset)
    if (
        data is not None
        and dataset is not None
        and dataset.test.digest != result.manifest.about["dataset"]["test_sha256"]
    ):
        raise DataError(
            f"{data} is {dataset.name}, not what {folder} was exported with. Leave --data out, or export again."
        )
    if json:
        print_json(as_json.verify(result, strict))
    else:
        screen = console()
        screen.print(report.verify_table(result, screen.width))
    if not result.good(strict):
        ctx.exit(1)
