"""`mnist-edge export`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_edge.cli.console import InterruptFlag, info
from mnist_edge.cli.export_summary import show
from mnist_edge.cli.options import (
    PATH,
    NameOf,
    Number,
    custom_option,
    data_option,
    json_option,
    load_dataset,
    model_option,
    out_option,
    run_custom,
    seed_option,
    typed,
    verbose_option,
)
from mnist_edge.cli.qat import fine_tuned_with_progress
from mnist_edge.cli.train import say_removed, train_and_save
from mnist_edge.core.contract import Precision

if TYPE_CHECKING:
    from mnist_edge.data.dataset import Dataset
    from mnist_edge.export.plan import ExportPlan
    from mnist_edge.export.tuning import Budget
    from mnist_edge.training.store import Trained

DEFAULT_MAX_DROP = 0.1
GUESSING, POOR = 0.2, 0.5  # accuracies that say that the pixels' scale is wrong, or the training


def _format_names() -> list[str]:
    from mnist_edge.formats import FORMATS

    return [item.name for item in FORMATS.values() if item.precisions]


def _platform_names() -> list[str]:
    from mnist_edge.formats import FORMATS

    return [item.platform.name for item in FORMATS.values() if item.platform]


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
    "--format",
    "formats",
    type=NameOf("format", _format_names),
    multiple=True,
    help="Export this format only; may be repeated.",
)
@click.option("--head", type=click.Choice(["probabilities", "logits"]), default="probabilities", show_default=True)
@click.option(
    "--io", type=click.Choice(["default", "int8"]), default="default", help="int8: int8 input and output (TFLite)."
)
@click.option(
    "--target",
    type=NameOf("target", _platform_names),
    help="mcu: for a microcontroller, a full-integer .tflite and its C array.",
)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Images a call takes.")
@click.option("--dynamic-batch", is_flag=True, help="Let a call take any number of images.")
@click.option("--from", "own", type=PATH, help="Export this .keras, .h5 or SavedModel of yours, not --model.")
@custom_option
@click.option("--max-drop", type=Number(0), help="Accuracy points that int8 may lose on held-out images.")
@click.option("--qat", is_flag=True, help="Fine-tune the model for int8 first; the folder then holds that model.")
@click.option("--tune", type=click.Choice(["latency"]), help="Measure int8 candidates on this host, keep the fastest.")
@click.option(
    "--input-range",
    "pixel_range",
    type=click.Choice(["0..255", "0..1", "-1..1"]),
    help="Pixels that your model takes; found by trying where it is not said.",
)
@click.option("--output", "output_name", help="The output of your model with the ten classes, where it has several.")
@click.option("--name", help="The name of your model and its folder, instead of its file's.")
@click.option("--force", is_flag=True, help="Replace another model in that folder, and what was exported from it.")
@seed_option
@data_option
@out_option
@json_option
@verbose_option
def command(
    model: str,
    data: Path | None,
    out: Path,
    own: Path | None,
    custom: Path | None,
    seed: int,
    max_drop: float | None,
    tune: str | None,
    qat: bool,
    json: bool,
    **options: Any,
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
             mnist-edge export --model mlp --qat
    """
    from mnist_edge.core.publish import changing
    from mnist_edge.export import export_folder
    from mnist_edge.export.inputs import load_inputs

    _check_own_options(own)
    folder = out / (options["name"] or _name(own) if own else model)
    plan = _plan(options)
    budget = _budget(plan, max_drop, tune)
    if qat and not plan.int8_formats:
        raise click.UsageError("--qat fine-tunes a model for int8, and no int8 file is wanted.")
    run_custom(custom)

    def on_progress(line: str) -> None:
        InterruptFlag.check()
        info(line)

    with changing(folder, info):
        dataset = load_dataset(data)
        own_options = {**options, "qat": qat}
        trained = _own_model(folder, own, dataset, own_options) if own else _recipe_model(folder, model, dataset, seed)
        inputs = load_inputs(folder, dataset, trained)
        if qat:
            inputs = fine_tuned_with_progress(inputs)
        exported = export_folder(inputs, plan, budget, on_progress)
    say_removed(exported.removed, folder)
    show(exported, folder, plan.io.full_integer, json)
    if exported.failed:
        click.get_current_context().exit(1)


def _budget(plan: "ExportPlan", max_drop: float | None, tune: str | None) -> "Budget | None":
    """Return how much accuracy int8 may lose; None where nobody asked. Raises UsageError where it has no int8 file."""
    from mnist_edge.export.tuning import Budget

    if max_drop is None and not tune:
        return None
    _check_tuning(plan, tune)
    return Budget(DEFAULT_MAX_DROP if max_drop is None else max_drop, by_latency=tune is not None)


def _plan(options: dict[str, Any]) -> "ExportPlan":
    """Return the plan that the options ask for. Raises UsageError where they contradict each other."""
    from mnist_edge.core.contract import IOOptions
    from mnist_edge.export.plan import plan_export, plan_platform

    head, target = options["head"], options["target"]
    batch = None if options["dynamic_batch"] else options["batch"]
    if batch is None and typed("batch"):
        raise click.UsageError("--batch and --dynamic-batch exclude each other.")
    named = [precision for precision in Precision if options[precision]]
    if target is not None:
        excluded = [f"--{other}" for other in named if other is not Precision.INT8]
        flags = {
            "every": "all",
            "formats": "format",
            "tune": "tune",
            "batch": "batch",
            "dynamic_batch": "dynamic-batch",
        }
        excluded += [f"--{flag}" for name, flag in flags.items() if typed(name)]
        excluded += ["--io default"] if options["io"] == "default" and typed("io") else []
        if excluded:
            raise click.UsageError(f"--target {target} says itself what it writes: leave out {', '.join(excluded)}.")
        return plan_platform(target, head)
    wanted = list(Precision) if options["every"] else named
    plan = plan_export(wanted, options["formats"], IOOptions(batch, head, options["io"] == "int8"))
    for reason in plan.refused if wanted else ():
        info(f"Left out: {reason}")
    return plan


def _check_tuning(plan: "ExportPlan", tune: str | None) -> None:
    if not plan.int8_formats:
        raise click.UsageError("--max-drop and --tune choose how int8 is quantized, and no int8 file is wanted.")
    if tune and plan.other_machines:
        raise click.UsageError(
            f"--tune measures on this host, which says nothing of what runs {plan.other_machines[0]} files."
        )


def _check_own_options(own: Path | None) -> None:
    """Raise UsageError where an option is given that would be ignored."""
    ignored = ("model", "seed") if own else ("pixel_range", "output_name", "name", "force")
    flags = {"pixel_range": "input-range", "output_name": "output"}
    if given := [f"--{flags.get(name, name)}" for name in ignored if typed(name)]:
        why = "--from brings a trained model" if own else "only with --from, a model of yours, that means something"
        raise click.UsageError(f"leave out {' and '.join(given)}: {why}.")


def _name(own: Path) -> str:
    """Return the name that a model of the user's own gets: its file's without the ending, or its folder's."""
    folder = own.parent if own.name == "saved_model.pb" else own
    return folder.resolve().name if folder.is_dir() else own.stem


def _own_model(folder: Path, own: Path, dataset: "Dataset", options: dict[str, Any]) -> "Trained":
    """Return the user's own model. Raises UsageError where the folder holds another one that is not to be replaced."""
    from mnist_edge.core.folder import MODEL
    from mnist_edge.training import store
    from mnist_edge.training.own_model import OwnModelOptions, adopt

    adopted = adopt(own, dataset, OwnModelOptions(options["pixel_range"], options["output_name"]))
    accuracy = adopted.record["test"]["accuracy"]
    if accuracy < GUESSING:
        info(f"WARNING: {own} is right on {accuracy:.1%} of the test images, which is hardly more than guessing.")
    if store.fine_tuned_from(folder, adopted) and not options["force"]:
        if options["qat"]:
            return store.load(folder)
        raise click.UsageError(f"{folder} holds this model as --qat fine-tuned it. Say --qat, or another --name.")
    if (folder / MODEL).exists() and not store.records(folder, adopted) and not options["force"]:
        raise click.UsageError(
            f"{folder} holds another model. Give this one another name with --name, or replace that one, and what "
            "was exported from it, with --force."
        )
    info(f"Took {own}: test accuracy {accuracy:.4f}.")
    for note in adopted.record["notes"]:
        info(f"Note: {note}.")
    if GUESSING <= accuracy < POOR:
        info("Note: that is poor. Is it trained to the end, and are its pixels in the range that --input-range says?")
    return adopted


def _recipe_model(folder: Path, model: str, dataset: "Dataset", seed: int) -> "Trained":
    """Return the trained model that the folder holds, or one that is trained now."""
    from mnist_edge.core.folder import MODEL
    from mnist_edge.training import store
    from mnist_edge.training.recipes import find_recipe

    if not (folder / MODEL).is_file():
        chosen = find_recipe(model)
        info(f"There is no trained model in {folder}: training {model} first, with seed {seed}.")
        trained = train_and_save(chosen, dataset, folder, seed=seed)
        info(f"Trained {model}: test accuracy {trained.record['test']['accuracy']:.4f}.")
        return trained
    stored = store.load(folder)
    trained_with = stored.record.get("seed")
    if typed("seed") and seed != trained_with:
        place = shlex.quote(str(folder.parent))
        origin = "was not trained from a recipe" if trained_with is None else f"was trained with seed {trained_with}"
        raise click.UsageError(
            f"the model in {folder} {origin}, not with seed {seed}. Train it first: "
            f"mnist-edge train --model {model} --seed {seed} --out {place}; or export elsewhere with --out."
        )
    return stored
