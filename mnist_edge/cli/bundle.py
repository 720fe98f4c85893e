"""`mnist-edge bundle`."""

import shlex
from pathlib import Path

import click

from mnist_edge.cli.console import info
from mnist_edge.cli.options import PATH, NameOf, folder_argument


def _system_names() -> list[str]:
    from mnist_edge.deploy.boards import SYSTEMS

    return list(SYSTEMS)


@click.command("bundle")
@folder_argument
@click.option(
    "--system",
    "--target",  # the name in version 0.1
    "system",
    type=NameOf("system", _system_names),
    default="rpi",
    show_default=True,
    help="The board's system: rpi, or rpi-32bit.",
)
@click.option("--wheels", is_flag=True, help="Put the runtimes' wheels in too, for a board without a network.")
@click.option("--python", "pythons", multiple=True, help="Wheels for this Python only, 3.11 or 3.13; may be repeated.")
@click.option("--out", type=PATH, help="The archive to write. Default: MODEL-SYSTEM.tar.gz here.")
def command(folder: Path, system: str, wheels: bool, pythons: tuple[str, ...], out: Path | None) -> None:
    """Pack an export for a board: the files that run there, manifest, reference.npz, our own wheel and a short README.

    \b
    Example: mnist-edge bundle exports/cnn
             mnist-edge bundle exports/cnn --wheels --python 3.13
    """
    from mnist_edge.core.manifest import Manifest
    from mnist_edge.deploy.boards import SYSTEMS
    from mnist_edge.deploy.bundle import bundle
    from mnist_edge.report.tables import size

    target = SYSTEMS[system]
    known = {item.python: item for item in target.systems}
    if pythons and not wheels:
        raise click.UsageError("--python chooses among --wheels.")
    if unknown := set(pythons) - set(known):
        raise click.UsageError(f"{system} has Python {' and '.join(known)}, not {' or '.join(sorted(unknown))}.")
    path = out or Path(f"{folder.resolve().name}-{system}.tar.gz")
    if wheels:
        info("Downloading wheels …")
    packed = bundle(folder, path, target, [known[name] for name in pythons or known] if wheels else ())
    inside = {artifact.path.name for artifact in packed.artifacts}
    if left_out := [item.path.name for item in Manifest.read(folder).artifacts if item.path.name not in inside]:
        info(f"Left out, as there is no runtime for them on {system}: {', '.join(left_out)}.")
    info(f"Wrote {path} ({size(path.stat().st_size)}).")
    copied, there = shlex.quote(str(path)), shlex.quote(shlex.quote(path.name))  # twice, for the shell on the board
    info(f"Next: scp {copied} pi@board: && ssh pi@board tar -xzf {there}; its README says the rest. Or all in one:")
    info(f"Next: mnist-edge device run pi@board {shlex.quote(str(folder))}{' --wheels' if wheels else ''}")
