"""`mnist-edge export`."""

from pathlib import Path
from typing import Any

import click

from mnist_edge.artifact import Precision
from mnist_edge.cli.common import (
    console,
    data_option,
    json_option,
    load_dataset,
    model_option,
    out_option,
    print_json,
    say,
    seed_option,
    train_and_save,
    verbose_option,
)


class FormatName(click.ParamType):  # type: ignore[type-arg]  # generic only in newer click
    """The name of a format that can be exported, looked up when it is needed."""

    name = "format"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the name against the formats there are."""
        from mnist_edge.formats import FORMATS

        names = [item.name for item in FORMATS.values() if item.precisions]
        if value not in names:
            self.fail(f"there is no format {value!r}. Choose one of {', '.join(names)}.", param, ctx)
        return str(value)


def precision_options(function: Any) -> Any:
    """Add one flag a precision."""
    for precision in reversed(Precision):
        function = click.option(f"--{precision}", is_flag=True, help=f"Export {precision}.")(function)
    return function


@click.command("export")
@model_option
@precision_options
@click.option("--format", "formats", type=FormatName(), multiple=True, help="Export this format only; may be repeated.")
@seed_option
@data_option
@out_option
@json_option
@verbose_option
def command(
    model: str,
    formats: tuple[str, ...],
    seed: int,
    data: Path | None,
    out: Path,
    as_json: bool,
    **precisions: bool,
) -> None:
    """Convert a trained model to TFLite and ONNX; trains it first where there is none.

    With no precision named: float32 and int8. int8 is full-integer quantization with raw uint8 pixels in and float32
    probabilities out. Files that are there already stay, unless they are written anew.

    \b
    Example: mnist-edge export --int8
             mnist-edge export --model mlp --float32 --format onnx
    """
    from mnist_edge import report, training
    from mnist_edge.export import export
    from mnist_edge.formats import FORMATS
    from mnist_edge.models import recipe

    folder = out / model
    chosen = recipe(model)
    dataset = load_dataset(data)
    if not (folder / training.MODEL).is_file():
        say(f"There is no trained model in {folder}: training {model} first, with seed {seed}.")
        trained = train_and_save(chosen, dataset, folder, seed)
        say(f"Trained {model}: test accuracy {trained.record['test']['accuracy']:.4f}.")
    wanted = [precision for precision in Precision if precisions[precision]] or [Precision.FLOAT32, Precision.INT8]
    pairs = [
        (name, precision)
        for name, item in FORMATS.items()
        for precision in wanted
        if (name in formats if formats else precision in item.precisions)
    ]
    exported = export(folder, dataset, pairs, lambda name: say(f"Converting {name} …"))
    for name in exported.left_out:
        say(f"Note: {name} is damaged or of another model, and is no longer in the manifest. Export it again.")
    if as_json:
        print_json(exported.manifest.to_json())
        return
    console().print(report.export_table(exported.manifest))
    say(f"Next: mnist-edge verify {folder}\n      mnist-edge bench {folder}\n      mnist-edge predict digit.png")
