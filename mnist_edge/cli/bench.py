"""`mnist-edge bench`."""

from pathlib import Path

import click

from mnist_edge.cli.console import console, print_json, save_results
from mnist_edge.cli.options import folder_argument, json_option, verbose_option

RUNS = 1000


@click.command("bench")
@folder_argument
@click.option("--runs", type=click.IntRange(1), help=f"Timed calls of each file, {RUNS} if not given.")
@click.option(
    "--duration",
    type=click.FloatRange(0, min_open=True, max=3600),
    metavar="SECONDS",
    help=f"Time each call of each file for at least this long, and {RUNS} times; p90 is the figure, as in MLPerf.",
)
@click.option("--warmup", type=click.IntRange(0), default=50, show_default=True, help="Untimed calls of each first.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of each runtime.")
@click.option("--cpu", type=click.IntRange(0), metavar="N", help="Keep all of it on this one CPU.")
@json_option
@verbose_option
def command(
    folder: Path, runs: int | None, duration: float | None, warmup: int, threads: int, cpu: int | None, json: bool
) -> None:
    """Time every exported file on this machine, interleaved; figures are of a call, which takes a batch of images.

    Says in what state the machine was, before and after, and warns where it was throttled or its clock changed. The raw
    samples are kept in the folder's bench.json, from which mnist-edge report takes latencies.

    \b
    Example: mnist-edge bench exports/cnn
    """
    from mnist_edge.bench.benchmark import BenchOptions, bench
    from mnist_edge.core.folder import BENCH
    from mnist_edge.report import json as as_json
    from mnist_edge.report import tables as report

    if runs is not None and duration is not None:
        raise click.UsageError("--runs and --duration exclude each other.")
    if cpu is not None and threads > 1:
        raise click.UsageError(f"--cpu keeps everything on one CPU; {threads} threads would wait for each other there.")
    result = bench(folder, BenchOptions(runs or RUNS, warmup, threads, cpu, duration))
    content = as_json.bench(result)
    save_results(content, folder / BENCH)
    if json:
        print_json(content)
    else:
        console().print(report.bench_table(result))
