"""`mnist-edge train`."""

from pathlib import Path

import click

from mnist_edge.cli.options import (
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
    from mnist_edge.report import tables as report
    from mnist_edge.training.recipes import recipe

    chosen = recipe(model)
    folder = out / model
    trained = train_and_save(chosen, load_dataset(data), folder, seed, epochs, batch_size)
    if json:
        print_json(trained.record)
    else:
        layers: list[str] = []
        trained.model.summary(print_fn=lambda line, **_: layers.append(line), line_length=72)
        console().print(report.training_summary(trained.record, "\n".join(layers)))
        say(
            f"\nWrote {folder}. Next: mnist-edge export --model {model}"
            + (f" --out {out}" if out != Path("exports") else "")
        )
    floor, accuracy = trained.record["floor"], trained.record["test"]["accuracy"]
    if floor is not None and accuracy < floor:
        say(f"FAIL: test accuracy {accuracy:.4f} is under this recipe's floor {floor}.")
        ctx.exit(1)
