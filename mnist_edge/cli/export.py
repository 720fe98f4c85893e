"""`mnist-edge export`."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_edge.cli.console import InterruptFlag, console, print_json, say
from mnist_edge.cli.options import (
    DEFAULT_FOLDER,
    PATH,
    data_option,
    json_option,
    load_dataset,
    model_option,
    out_option,
    seed_option,
    verbose_option,
)
from mnist_edge.cli.train import save, train_and_save
from mnist_edge.core.contract import Precision

if TYPE_CHECKING:
    from mnist_edge.data.dataset import Dataset

DEFAULT_BUDGET = 0.1
TIMED_RUNS = 200
POOR = 0.5  # an accuracy that says the pixels' scale is wrong, or the training


class Name(click.ParamType):  # type: ignore[type-arg]  # generic only in newer click
    """The name of a format that can be exported, or of a target that one has, looked up when it is needed."""

    def __init__(self, kind: str) -> None:
        self.name = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the name against those there are."""
        from mnist_edge.formats import FORMATS

        targets = [item.platform.name for item in FORMATS.values() if item.platform]
        names = targets if self.name == "target" else [item.name for item in FORMATS.values() if item.precisions]
        if value not in names:
            self.fail(f"there is no {self.name} {value!r}. Choose one of {', '.join(names)}.", param, ctx)
        return str(value)


def precision_options(function: Any) -> Any:
    """Add one flag a precision."""
    for precision in reversed(Precision):
        function = click.option(f"--{precision}", is_flag=True, help=f"Export {precision}.")(function)
    return function


@click.command("export")
@model_option
@precision_options
@click.option("--all", "every", is_flag=True, help="Export every precision that works.")
@click.option(
    "--format", "formats", type=Name("format"), multiple=True, help="Export this format only; may be repeated."
)
@click.option("--head", type=click.Choice(["probabilities", "logits"]), default="probabilities", show_default=True)
@click.option(
    "--io", type=click.Choice(["default", "int8"]), default="default", help="int8: full-integer ends (TFLite)."
)
@click.option(
    "--target", type=Name("target"), help="mcu: for a microcontroller, a full-integer .tflite and its C array."
)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Images a call takes.")
@click.option("--dynamic-batch", is_flag=True, help="Let a call take any number of images.")
@click.option("--from", "own", type=PATH, help="Export this .keras model of yours, not --model; it takes pixels / 255.")
@click.option("--max-drop", type=click.FloatRange(0), help="Accuracy points that int8 may lose on held-out images.")
@click.option("--tune", type=click.Choice(["latency"]), help="Measure int8 candidates on this host, keep the fastest.")
@seed_option
@data_option
@out_option
@json_option
@verbose_option
def command(
    model: str,
    every: bool,
    formats: tuple[str, ...],
    head: str,
    io: str,
    target: str | None,
    batch: int,
    dynamic_batch: bool,
    own: Path | None,
    max_drop: float | None,
    tune: str | None,
    seed: int,
    data: Path | None,
    out: Path,
    json: bool,
    **precisions: bool,
) -> None:
    """Convert a trained model to TFLite and ONNX; trains it first where there is none.

    With no precision named: float32 and int8. int8 is full-integer quantization with raw uint8 pixels in and float32
    probabilities out. Files that are there already stay, unless they are written anew.

    \b
    Example: mnist-edge export --int8
             mnist-edge export --all
             mnist-edge export --model mlp --float32 --format onnx --head logits
             mnist-edge export --int8 --format tflite --io int8
             mnist-edge export --target mcu
             mnist-edge export --from my.keras --int8 --max-drop 0.1
    """
    from mnist_edge.bench.benchmark import bench
    from mnist_edge.core.contract import IOOptions
    from mnist_edge.core.errors import MissingRuntime
    from mnist_edge.export.exporter import export, possible, source, twin
    from mnist_edge.export.tuning import search
    from mnist_edge.formats import FORMATS
    from mnist_edge.report import tables as report

    if dynamic_batch and batch != 1:
        raise click.UsageError("--batch and --dynamic-batch exclude each other.")
    folder = out / (own.stem if own else model)
    io_options = IOOptions(None if dynamic_batch else batch, head, io == "int8" or target is not None)
    named = [precision for precision in Precision if precisions[precision]]
    if target is not None:
        given = [f"--{other}" for other in named if other is not Precision.INT8]
        given += [f"--{name}" for name, on in (("all", every), ("format", formats), ("tune", tune)) if on]
        given += [f"--{name}" for name, on in (("batch", batch != 1), ("dynamic-batch", dynamic_batch)) if on]
        given += ["--io default"] if io == "default" and _typed("io") else []
        if given:
            raise click.UsageError(f"--target {target} says itself what it writes: leave out {', '.join(given)}.")
        formats = tuple(
            name
            for item in FORMATS.values()
            if item.platform and item.platform.name == target
            for name in (item.platform.counterpart_format, item.name)
        )
    default = [Precision.INT8] if io_options.full_integer else [Precision.FLOAT32, Precision.INT8]
    wanted = list(Precision) if every else named or default
    pairs, refused = possible(wanted, formats, io_options)
    int8 = [name for name, precision in pairs if precision is Precision.INT8]
    if (max_drop is not None or tune) and not int8:
        raise click.UsageError("--max-drop and --tune choose how int8 is quantized, and no int8 file is wanted.")
    elsewhere = [name for name, _ in pairs if FORMATS[name].platform]
    if tune and elsewhere:
        raise click.UsageError(f"--tune measures on this host, which says nothing of what runs {elsewhere[0]} files.")
    if missing := next((reason for name in elsewhere if (reason := FORMATS[name].missing())), None):
        raise MissingRuntime(f"{missing}.")
    for reason in refused if every or named else ():
        say(f"Left out: {reason}")
    dataset = load_dataset(data)
    _provide_model(folder, own, model, dataset, seed)
    tuned = None
    if max_drop is not None or tune:
        budget = DEFAULT_BUDGET if max_drop is None else max_drop
        say(f"Looking for int8 within {budget} points of Keras on held-out training images …")
        tuned = search(
            source(folder, dataset), dataset, sorted({*map(twin, int8)}), io_options, budget, tune is not None, say
        )

    def tell(name: str) -> None:
        InterruptFlag.check()
        say(f"Converting {name} …")

    exported = export(folder, dataset, pairs, io_options, tell, tuned)
    for name in exported.left_out:
        say(f"Note: {name} is damaged, of another model or of another version, and left out. Export it again.")
    if json:
        print_json(exported.manifest.to_json())
        return
    screen = console()
    screen.print(report.export_table(exported.manifest, screen.width))
    notes = [*report.executed_lines(exported), *report.footprint_lines(exported)]
    with suppress(MissingRuntime):  # a folder may hold nothing that is timed on this machine
        notes += bench(folder, TIMED_RUNS).slower_than_float()
    for line in notes:
        say(f"Note: {line}")
    if io_options.full_integer:
        say(report.quantize_snippet(exported.manifest))
    made = [item for item in exported.manifest.artifacts if item.path.name in exported.written]
    best = sorted(made, key=lambda item: item.precision is Precision.INT8)[-1]
    artifact = f" --artifact {best.path}" if folder != DEFAULT_FOLDER else ""
    for line in (f"verify {folder}", f"bench {folder}", f"predict digit.png{artifact}"):
        say(f"Next: mnist-edge {line}")


def _typed(name: str) -> bool:
    """Return whether an option stands on the command line."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _provide_model(folder: Path, own: Path | None, model: str, dataset: "Dataset", seed: int) -> None:
    """See to it that the folder holds a model: the user's own, one that is there, or one trained now."""
    from mnist_edge.core.folder import MODEL
    from mnist_edge.training import store, trainer
    from mnist_edge.training.recipes import recipe

    if own is not None:
        adopted = trainer.adopt(own, dataset)
        accuracy = adopted.record["test"]["accuracy"]
        if not store.holds(folder, adopted):
            save(adopted, folder)
        say(f"Took {own}: test accuracy {accuracy:.4f}.")
        if accuracy < POOR:
            say("Note: that is poor. Does the model take pixels / 255, 0 black to 1 white?")
    elif not (folder / MODEL).is_file():
        chosen = recipe(model)
        say(f"There is no trained model in {folder}: training {model} first, with seed {seed}.")
        trained = train_and_save(chosen, dataset, folder, seed)
        say(f"Trained {model}: test accuracy {trained.record['test']['accuracy']:.4f}.")
