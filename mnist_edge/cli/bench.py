"""`mnist-edge bench`."""

from pathlib import Path

import click

from mnist_edge.cli.common import console, folder_argument, json_option, keep, print_json, verbose_option


@click.command("bench")
@folder_argument
@click.option("--runs", type=click.IntRange(1), default=1000, show_default=True, help="Timed calls of each file.")
@click.option("--warmup", type=click.IntRange(0), default=50, show_default=True, help="Untimed calls of each first.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of each runtime.")
@json_option
@verbose_option
def command(folder: Path, runs: int, warmup: int, threads: int, json: bool) -> None:
    """Time every exported file on this machine: batch 1, interleaved.

    The raw samples are kept in the folder's bench.json, from which mnist-edge report takes latencies.

    \b
    Example: mnist-edge bench exports/cnn
    """
    from mnist_edge import as_json, report
    from mnist_edge.bench import NAME, bench

    result = bench(folder, runs, warmup, threads)
    content = as_json.bench(result)
    keep(content, folder / NAME)
    if json:
        print_json(content)
    else:
        console().print(report.bench_table(result))
