"""What commands print, and Ctrl-C."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console


class InterruptFlag:
    """Remembers Ctrl-C: a KeyboardInterrupt that arrives while TensorFlow is being imported can get lost there."""

    seen = False

    @classmethod
    def watch(cls) -> None:
        """Take over SIGINT."""

        def handle(number: int, frame: object) -> None:
            cls.seen = True
            raise KeyboardInterrupt

        signal.signal(signal.SIGINT, handle)

    @classmethod
    def check(cls) -> None:
        """Raise KeyboardInterrupt where one was asked for."""
        if cls.seen:
            raise KeyboardInterrupt


def console(stderr: bool = False) -> "Console":
    """Return a rich console; rich is loaded here and not for `--help` or `predict`."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=False)


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON document."""
    import json

    click.echo(json.dumps(content, indent=1))


def keep(content: dict[str, Any], path: Path) -> None:
    """Leave results in a folder for `report`; one that cannot be written to is no reason to fail."""
    from mnist_edge.core.files import write_json

    try:
        write_json(path, content)
    except OSError as error:
        say(f"Note: {path} could not be written ({error.strerror}); mnist-edge report will not show these.")


def say(line: str) -> None:
    """Tell the user something that is not the result, so that standard output stays clean."""
    click.echo(line, err=True)
