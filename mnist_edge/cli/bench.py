"""`mnist-edge bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_edge.cli.console import console, print_json, save_results
from mnist_edge.cli.options import PATH, Number, folder_argument, json_option, verbose_option

if TYPE_CHECKING:
    from mnist_edge.bench.benchmark import BenchOptions
    from mnist_edge.report.changes import Changes
    from mnist_edge.report.stored import BenchResults

RUNS, SECONDS = 1000, 1.0
BLOCK = 25  # timed calls for which a process is worth starting


class Percent(click.ParamType):  # type: ignore[type-arg]  # generic in some releases of click
    """A share, written `5%` or `5`."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return it as a share."""
        try:
            share = float(str(value).removesuffix("%")) / 100
        except ValueError:
            share = -1.0
        if not 0 <= share < 100:
            self.fail(f"{value!r} is no percentage. Write 5%, for example.", param, ctx)
        return share


@click.command("bench")
@folder_argument
@click.option(
    "--runs", type=click.IntRange(1), help="At least so many timed warm calls of each file, and no minimum time."
)
@click.option(
    "--duration",
    type=Number(0, min_open=True, max=3600),
    metavar="SECONDS",
    help=f"Time each call of each file for at least this long, and {RUNS} times; {SECONDS:g} if not given.",
)
@click.option("--warmup", type=click.IntRange(0), default=50, show_default=True, help="Untimed calls a block.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of each runtime.")
@click.option("--cpu", type=click.IntRange(0), metavar="N", help="Keep all of it on this one CPU.")
@click.option("--processes", type=click.IntRange(1, 100), help="Processes that measure, 20 if not given.")
@click.option("--idle", type=Number(0, 10_000), default=20, show_default=True, help="Sleep before an idle call, in ms.")
@click.option(
    "--runtime",
    multiple=True,
    metavar="NAME",
    help="default, or another way of the runtime: compiled is LiteRT's CompiledModel; may be repeated.",
)
@click.option("--operators", is_flag=True, help="Show the time of each operator, by the runtime's profiler.")
@click.option("--scaling", is_flag=True, help="Show images a second by images a call and threads.")
@click.option("--compare", type=PATH, metavar="OLD.json", help="Say what became faster or slower since that run.")
@click.option("--fail-if-slower", type=Percent(), metavar="PERCENT", help="Exit code 1 where a file is, by so much.")
@click.option("--force", is_flag=True, help="Compare runs of two hosts all the same.")
@json_option
@verbose_option
def command(
    folder: Path,
    compare: Path | None,
    fail_if_slower: float | None,
    force: bool,
    json: bool,
    **measuring: Any,
) -> None:
    """Time every exported file on this machine, interleaved, in several processes; a call takes a batch of images.

    Says in what state the machine was, before and after, and warns where it was throttled or its clock changed. The raw
    samples are kept in the folder's bench.json, from which mnist-edge report takes latencies.

    \b
    Example: mnist-edge bench exports/cnn
             mnist-edge bench exports/cnn --json > old.json
             mnist-edge bench exports/cnn --compare old.json --fail-if-slower 5%
    """
    from mnist_edge.bench.benchmark import bench
    from mnist_edge.core.folder import BENCH
    from mnist_edge.core.host import Host
    from mnist_edge.report import bench_tables
    from mnist_edge.report import json as as_json
    from mnist_edge.report.changes import check_alike
    from mnist_edge.report.stored import BenchResults

    if compare is None and (fail_if_slower is not None or force):
        raise click.UsageError("--fail-if-slower and --force need the run to compare with: --compare OLD.json.")
    options = _options(**measuring)
    old = BenchResults.read_file(compare) if compare else None
    if old:  # before minutes of measuring
        check_alike(old, Host.read(), options.threads, force)
    with console(stderr=True).status("bench") as status:
        result = bench(folder, options, lambda line: status.update(f"bench: {line}"))
    content = as_json.bench(result)
    save_results(content, folder / BENCH)
    changes = _changes(old, content, force) if old else None
    if json:
        print_json(content | (as_json.changes(changes) if changes else {}))
    else:
        console().print(bench_tables.bench_table(result), *bench_tables.more_tables(result), sep="\n")
        if changes and compare:
            console().print(bench_tables.changes_table(changes, compare.name))
    if changes and fail_if_slower is not None and any(item.slower_by(fail_if_slower) for item in changes.files):
        raise SystemExit(1)


def _changes(old: "BenchResults", content: dict[str, Any], force: bool) -> "Changes":
    """Return what changed from a stored run to the one that has just been made."""
    from mnist_edge.core.typed_json import structure
    from mnist_edge.report.changes import compare
    from mnist_edge.report.stored import BenchResults

    return compare(old, structure(content, BenchResults), force)


def _options(
    runs: int | None,
    duration: float | None,
    warmup: int,
    threads: int,
    cpu: int | None,
    processes: int | None,
    idle: float,
    runtime: tuple[str, ...],
    **more: bool,
) -> "BenchOptions":
    """Return the options of a measurement; few runs take few processes and few cold calls. Raises UsageError."""
    from mnist_edge.bench.benchmark import BenchOptions

    if runs is not None and duration is not None:
        raise click.UsageError("--runs and --duration exclude each other.")
    if cpu is not None and threads > 1:
        raise click.UsageError(f"--cpu keeps everything on one CPU; {threads} threads would wait for each other there.")
    few = RUNS if runs is None else runs
    share = -(-few // BLOCK)
    usual = BenchOptions()
    return BenchOptions(
        runs=few,
        warmup=warmup,
        threads=threads,
        cpu=cpu,
        duration=duration or (SECONDS if runs is None else None),
        processes=processes or min(usual.processes, share),
        cold=min(usual.cold, few),
        idle=min(usual.idle, few),
        idle_ms=idle,
        runtimes=tuple(dict.fromkeys(runtime)) or usual.runtimes,
        starts=min(usual.starts, share),
        **more,
    )
