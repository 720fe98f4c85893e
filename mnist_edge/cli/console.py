"""What commands print, and Ctrl-C."""

import _thread
import atexit
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnist_edge.core.text import printable

if TYPE_CHECKING:
    from rich.console import Console

UNLIMITED = 100_000
INTERRUPTED = 130  # the exit code
TOGETHER = 0.2  # seconds: `timeout` sends the same signal twice, to the process and to its group


class InterruptFlag:
    """Remembers Ctrl-C; a KeyboardInterrupt during the import of TensorFlow can get lost.

    Python handles a signal between two of its own instructions: a runtime that does not return is ended by the second.
    """

    seen = False
    times = 0
    code = INTERRUPTED  # what the process exits with where one was seen
    _watched = False

    @classmethod
    def watch(cls) -> None:
        """Take over SIGINT."""

        def handle(number: int, frame: object) -> None:
            cls.seen = True
            raise KeyboardInterrupt

        cls.seen, cls.times = False, 0
        signal.signal(signal.SIGINT, handle)
        if not cls._watched:
            reader, writer = os.pipe()
            os.set_blocking(writer, False)
            signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
            _thread.start_new_thread(cls._end_at_second, (reader,))
            atexit.register(cls._leave)
            cls._watched = True

    @classmethod
    def _end_at_second(cls, reader: int) -> None:
        """Run as a thread: end the process at the second Ctrl-C; whatever was being written is swept later."""
        last = -TOGETHER
        while True:
            if os.read(reader, 1)[0] != signal.SIGINT or time.monotonic() < last + TOGETHER:
                continue
            last = time.monotonic()
            cls.times += 1
            if cls.times > 1:
                with suppress(OSError):
                    os.write(2, b"\ninterrupted again: ended at once.\n")
                os._exit(INTERRUPTED)

    @classmethod
    def _leave(cls) -> None:
        """Run as the last exit function: threads of an interrupted runtime can abort what Python does next."""
        if cls.seen:
            os._exit(cls.code)

    @classmethod
    def check(cls) -> None:
        """Raise KeyboardInterrupt where one was asked for."""
        if cls.seen:
            raise KeyboardInterrupt


def console(stderr: bool = False) -> "Console":
    """Return a rich console, as wide as its lines where no terminal shows them and COLUMNS says nothing.

    Rich is loaded here and not for `--help` or `predict`.
    """
    from rich.console import Console

    from mnist_edge.report.screen import Printable

    shown = (sys.stderr if stderr else sys.stdout).isatty() or "COLUMNS" in os.environ
    screen = Console(stderr=stderr, highlight=False, soft_wrap=False, width=None if shown else UNLIMITED)
    screen.push_render_hook(Printable())
    return screen


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON document, strict JSON: null stands for NaN and infinity."""
    import json

    from mnist_edge.core.typed_json import strict_json

    click.echo(json.dumps(strict_json(content), indent=1, allow_nan=False))


def save_results(content: dict[str, Any], path: Path) -> None:
    """Write results into a folder for `report`; say so where the folder cannot be written to."""
    from mnist_edge.core.files import write_json

    try:
        write_json(path, content)
    except OSError as error:
        info(f"Note: {path} could not be written ({error.strerror}); mnist-edge report will not show these.")


def info(line: str) -> None:
    """Print a line on standard error: it is not the result, which standard output holds."""
    with suppress(OSError):  # where it cannot be written, the result still can
        click.echo(printable(line), err=True)
