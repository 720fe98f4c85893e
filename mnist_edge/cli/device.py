"""`mnist-edge device`: a board over ssh, and boards that are not here."""

import shlex
from pathlib import Path

import click

from mnist_edge.cli.console import console, info
from mnist_edge.cli.options import FullHelpGroup, NameOf, Number, check_writable, folder_argument


def _board_names() -> list[str]:
    from mnist_edge.deploy.boards import BOARDS

    return list(BOARDS)


def _results(folder: Path) -> Path:
    """Return the folder of boards' results, or where it would be made; it is made only when there are results."""
    from mnist_edge.core.folder import DEVICES

    return folder / DEVICES if (folder / DEVICES).exists() else folder


@click.group("device", cls=FullHelpGroup)
def command() -> None:
    """Prove an export on a board over ssh, or on a Raspberry Pi's real userland without the board.

    \b
    Example: mnist-edge device emulate rpi4 exports/cnn
    """


@command.command("emulate")
@click.argument("board", type=NameOf("board", _board_names))
@folder_argument
@click.option("--debian", type=click.IntRange(12, 13), help="12 or 13 only; both bases of Raspberry Pi OS otherwise.")
@click.option("--images", type=click.IntRange(1), help="Use only this many of the golden images.")
@click.pass_context
def emulate(ctx: click.Context, board: str, folder: Path, debian: int | None, images: int | None) -> None:
    """Verify an export on Debian's ARM userland with the real ARM wheels, under qemu with that board's CPU model.

    Userland and wheels are built once into the cache. The verdicts go to FOLDER/devices, where mnist-edge report finds
    them. Time under emulation says nothing of the board's, so nothing is timed.

    \b
    Example: mnist-edge device emulate rpi4 exports/cnn
    """
    from mnist_edge.core.folder import DEVICES
    from mnist_edge.core.manifest import Manifest
    from mnist_edge.deploy.boards import BOARDS
    from mnist_edge.deploy.emulation.userland import prepare, verify

    chosen = BOARDS[board]
    releases = [release for release in chosen.releases if debian in (None, release.number)]
    if not releases:
        raise click.UsageError(f"{board} has Debian {chosen.releases[0].number} alone.")
    manifest = Manifest.read(folder)
    check_writable(_results(folder))
    codes = []
    for release in releases:
        userland = prepare(chosen, release, manifest, info)
        results = folder / DEVICES / f"{board}-debian{release.number}"
        info(f"{userland.title}, {release}: verifying …")
        code, text = verify(userland, folder, images, results, console().width)
        click.echo(text, nl=False)
        codes.append(code)
    if any(codes):
        ctx.exit(1)


@command.command("run")
@click.argument("destination")
@folder_argument
@click.option("--wheels", is_flag=True, help="Bring the runtimes' wheels along, for a board without a network.")
@click.option("--cpu", type=click.IntRange(0), help="Pin bench to this CPU of the board.")
@click.option("--duration", type=Number(0, 3600, min_open=True), help="Time each call for this many seconds.")
@click.pass_context
def run(
    ctx: click.Context, destination: str, folder: Path, wheels: bool, cpu: int | None, duration: float | None
) -> None:
    """Verify and time an export on a board, by your own ssh: DESTINATION is user@host, or a Host of ~/.ssh/config.

    Copies the bundle, makes a private environment in ~/.cache/mnist-edge there, and leaves nothing else behind. The
    results go to FOLDER/devices, where mnist-edge report finds them. Exits with 1 where a file fails.

    \b
    Example: mnist-edge device run pi@board exports/cnn
    """
    import re

    from mnist_edge.core.folder import DEVICES
    from mnist_edge.core.manifest import Manifest
    from mnist_edge.deploy.board import BoardOptions, Results, run_on_board
    from mnist_edge.report.devices import check_results

    options = [] if cpu is None else ["--cpu", str(cpu)]
    options += [] if duration is None else ["--duration", str(duration)]
    if Path(destination).is_dir():
        raise click.UsageError(f"{destination} is a folder; the board comes first: pi@board {shlex.quote(destination)}")
    Manifest.read(folder)
    results = folder / DEVICES / re.sub(r"[^\w.-]+", "-", destination.rpartition("@")[2])
    check_writable(_results(folder))
    board_options = BoardOptions(wheels, tuple(options), console().width)
    outcome = run_on_board(destination, folder, Results(results, check_results), board_options, info)
    click.echo(outcome.text, nl=False)
    info(f"Results are in {results}. Next: mnist-edge report {shlex.quote(str(folder))}")
    if not outcome.passed:
        ctx.exit(1)


@command.command("qemu")
def qemu() -> None:
    """Put Debian 13's static qemu-user into the cache, for device emulate; needs apt but no root.

    \b
    Example: mnist-edge device qemu
    """
    from mnist_edge.deploy.emulation.userland import fetch_qemu

    info("Fetching qemu-user …")
    click.echo(fetch_qemu())
