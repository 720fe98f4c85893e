"""`mnist-edge train`."""

import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnist_edge.cli.console import InterruptFlag, console, info, print_json
from mnist_edge.cli.options import (
    check_writable,
    data_option,
    json_option,
    load_dataset,
    model_option,
    out_option,
    seed_option,
    verbose_option,
)

if TYPE_CHECKING:
    from mnist_edge.data.dataset import Dataset
    from mnist_edge.training.recipe import Recipe
    from mnist_edge.training.store import Trained
    from mnist_edge.training.trainer import Progress, Schedule


@click.command("train")
@model_option
@click.option("--epochs", type=click.IntRange(1), help="Instead of the recipe's.")
@click.option("--batch-size", type=click.IntRange(1), help="Instead of the recipe's.")
@seed_option
@data_option
@out_option
@json_option
@verbose_option
@click.pass_context
def command(
    ctx: click.Context,
    model: str,
    epochs: int | None,
    batch_size: int | None,
    seed: int,
    data: Path | None,
    out: Path,
    json: bool,
) -> None:
    """Train a recipe and write model.keras and training.json; exit 1 where it stays under its accuracy floor.

    \b
    Example: mnist-edge train --model mlp --seed 1
    """
    from mnist_edge.core.publish import changing
    from mnist_edge.report import tables as report
    from mnist_edge.training.recipes import find_recipe
    from mnist_edge.training.trainer import Schedule

    folder, recipe, schedule = out / model, find_recipe(model), Schedule(epochs, batch_size)
    with changing(folder, info):
        trained = train_and_save(recipe, load_dataset(data), folder, seed, schedule)
    if json:
        print_json(trained.record)
    else:
        layers: list[str] = []
        trained.model.summary(print_fn=lambda line, **_: layers.append(line), line_length=72)
        console().print(report.training_summary(trained.record, "\n".join(layers)))
        info(
            f"\nWrote {folder}. Next: mnist-edge export --model {model}"
            + (f" --out {shlex.quote(str(out))}" if out != Path("exports") else "")
        )
    floor, accuracy = trained.record["floor"], trained.record["test"]["accuracy"]
    if floor is not None and accuracy < floor:
        info(f"FAIL: test accuracy {accuracy:.4f} is under this recipe's floor {floor}.")
        ctx.exit(1)


def train_and_save(
    recipe: "Recipe",
    dataset: "Dataset",
    folder: Path,
    seed: int = 0,
    schedule: "Schedule | None" = None,
) -> "Trained":
    """Train with live accuracy on standard error, then write the folder."""
    from mnist_edge.training import store
    from mnist_edge.training.trainer import Schedule, train

    check_writable(folder)
    schedule = schedule or Schedule()
    epochs = schedule.epochs or recipe.epochs
    if before := recipe.teacher_epochs(epochs):
        info(
            "A teacher with more filters is trained first, and gives a share of the targets. "
            f"Its epochs: 1 to {before}."
        )
    with epochs_shown(before + epochs) as show:
        trained = train(recipe, dataset, seed, schedule, show)
    InterruptFlag.check()
    say_removed(store.save(trained, folder), folder)
    return replace(trained, folder=folder)


@contextmanager
def epochs_shown(total: int) -> "Iterator[Progress]":
    """Show the epochs of a training on standard error; yields what takes its progress, and stops it at Ctrl-C."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    err = console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[figures]}"), TimeElapsedColumn()
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task("starting TensorFlow", total=None, figures="")

        def show(epoch: int, done: int, batches: int, metrics: dict[str, float], ended: bool) -> None:
            InterruptFlag.check()
            figures = " ".join(f"{name} {value:.4f}" for name, value in metrics.items() if "accuracy" in name)
            bar.update(task, description=f"epoch {epoch}/{total}", total=batches, completed=done, figures=figures)
            if ended and not err.is_terminal:
                info(f"epoch {epoch}/{total} {figures}")

        yield show


def say_removed(names: Iterable[str], folder: Path) -> None:
    """Say what had to go from a folder together with the earlier model."""
    if names:
        info(f"Removed what the earlier model had left in {folder}: {', '.join(names)}.")
