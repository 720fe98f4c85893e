"""`mnist-edge predict`."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_edge.cli.console import info, print_json
from mnist_edge.cli.options import PATH, json_option
from mnist_edge.core.text import printable

if TYPE_CHECKING:
    from mnist_edge.formats.runner import Probabilities

SCHEMA = 1
NOT_FINITE = "{} gives no answer to it: NaN or infinity among its outputs. mnist-edge verify says more."


@click.command("predict")
@click.argument("pictures", type=PATH, nargs=-1, required=True, metavar="PICTURE...")
@click.option(
    "--artifact",
    type=PATH,
    help="A .tflite, .onnx or .keras file, or an export folder, whose int8 file is taken. Without it, the network "
    "edge that comes with mnist-edge.",
)
@json_option
@click.pass_context
def command(ctx: click.Context, pictures: tuple[Path, ...], artifact: Path | None, json: bool) -> None:
    """Say which digit a PNG or JPEG shows: any size, dark on light or light on dark; exit 2 where one cannot be read.

    Exit 1 where the file gives no finite number for one.

    \b
    Example: mnist-edge predict digit.png
             mnist-edge predict digit.png --artifact exports/cnn/cnn-int8.tflite
    """
    with _no_garbage_collection():
        from mnist_edge.core.errors import PictureError
        from mnist_edge.core.folder import NETWORK
        from mnist_edge.predict import check_known, choose, opened, threshold_of
        from mnist_edge.predict.picture import read

        artifact = artifact or NETWORK
        if artifact.is_dir() or not artifact.suffix:
            artifact = choose(artifact)
        run = ctx.with_resource(opened(artifact))
        threshold = threshold_of(artifact)
    predictions: list[dict[str, Any]] = []
    errors: list[dict[str, str]] = []
    not_finite = 0
    for picture in pictures:
        try:
            image = read(picture)
        except PictureError as error:
            errors.append({"picture": str(picture), "error": str(error)})
            continue
        row = run(image[None])[0]
        try:
            check_known(row, threshold)
        except PictureError as error:
            errors.append({"picture": str(picture), "error": f"{picture}: {error}"})
            continue
        if not isfinite(row.sum()):
            not_finite += 1
            errors.append({"picture": str(picture), "error": f"{picture}: {NOT_FINITE.format(artifact)}"})
            continue
        predictions.append({"picture": str(picture), "digit": int(row.argmax()), "probabilities": row.tolist()})
        if not json:
            click.echo(printable(f"{picture}: {_answer(row)}"))
    if json:
        print_json({"schema": SCHEMA, "artifact": str(artifact), "predictions": predictions, "errors": errors})
    for item in errors:
        info(f"error: {item['error']}")
    if errors:
        ctx.exit(2 if len(errors) > not_finite else 1)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Let imports go on without looking for garbage, of which they leave little; that takes a twentieth of a start."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _answer(row: "Probabilities") -> str:
    """Return the most probable digit and the next three: `7 (99.8%; then 2 0.1%, …)`."""
    ranked = row.argsort()[::-1]
    rest = ", ".join(f"{digit} {row[digit]:.1%}" for digit in ranked[1:4])
    return f"{ranked[0]} ({row[ranked[0]]:.1%}; then {rest})"
