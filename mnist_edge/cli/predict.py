"""`mnist-edge predict`."""

from pathlib import Path

import click

from mnist_edge.cli.console import print_json, say
from mnist_edge.cli.options import DEFAULT_FOLDER, PATH, json_option

SCHEMA = 1


@click.command("predict")
@click.argument("pictures", type=PATH, nargs=-1, required=True, metavar="PICTURE...")
@click.option("--artifact", type=PATH, help="A .tflite, .onnx or .keras file. Default: the int8 file of exports/cnn.")
@json_option
@click.pass_context
def command(ctx: click.Context, pictures: tuple[Path, ...], artifact: Path | None, json: bool) -> None:
    """Say which digit a PNG or JPEG shows: any size, dark on light or light on dark; exit 2 where one cannot be read.

    \b
    Example: mnist-edge predict digit.png --artifact exports/cnn/cnn-int8.tflite
    """
    from mnist_edge.core.errors import PictureError
    from mnist_edge.predict import choose, predict

    artifact = artifact or choose(DEFAULT_FOLDER)
    outcomes = list(zip(pictures, predict(list(pictures), artifact), strict=True))
    good = [(path, outcome) for path, outcome in outcomes if not isinstance(outcome, PictureError)]
    bad = [outcome for _, outcome in outcomes if isinstance(outcome, PictureError)]
    if json and good:
        rows = [{"picture": str(path), "digit": int(row.argmax()), "probabilities": row.tolist()} for path, row in good]
        errors = [str(error) for error in bad]
        print_json({"schema": SCHEMA, "artifact": str(artifact), "predictions": rows, "errors": errors})
    elif not json:
        for path, row in good:
            ranked = row.argsort()[::-1]
            rest = ", ".join(f"{digit} {row[digit]:.1%}" for digit in ranked[1:4])
            click.echo(f"{path}: {ranked[0]} ({row[ranked[0]]:.1%}; then {rest})")
    for error in bad:
        say(f"error: {error}")
    if bad:
        ctx.exit(2)
