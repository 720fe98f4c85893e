"""The command line. Every module here that has a `command` is one; here errors become one line and an exit code."""

import errno
import importlib
import pkgutil
import sys
from typing import NoReturn

import click

from mnist_edge import __version__
from mnist_edge.cli.console import InterruptFlag
from mnist_edge.cli.options import FullHelpGroup, nearest
from mnist_edge.core.errors import MnistEdgeError

NO, WRONG, INTERRUPTED = 1, 2, 130
EVERYTHING = "mnist-edge[export]"  # the extra that brings all that a build machine needs


class Commands(FullHelpGroup):
    """Imports a command's module only when that command is used, so that `predict` starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the name of every module here that has a `command`."""
        return [name for name in sorted(self._modules()) if self.get_command(ctx, name)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the `command` of the module of that name."""
        if name not in self._modules():
            return None
        found: click.Command | None = getattr(importlib.import_module(f"{__name__}.{name}"), "command", None)
        return found

    def _modules(self) -> set[str]:
        return {found.name for found in pkgutil.iter_modules(__path__)}


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mnist-edge")
def commands() -> None:
    """Take a digit classifier from Keras to quantized TFLite and ONNX, and prove that it got there whole.

    \b
    mnist-edge export --int8        train if need be, convert, write exports/cnn
    mnist-edge verify               do the files give Keras's predictions?
    mnist-edge bench                how fast are they on this machine?
    mnist-edge report               all of that as one HTML page
    mnist-edge predict digit.png    what digit is this?
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 good, 1 the answer is no, 2 wrong usage or bad input with one line of why."""
    InterruptFlag.watch()
    try:
        code = commands.main(arguments, prog_name="mnist-edge", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = 0
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "\ninterrupted: no half-written file is left, and what was there is unchanged. "
            "Run the same command again to start over.",
            err=True,
        )
        code = INTERRUPTED
    except (click.ClickException, MnistEdgeError, OSError, ImportError) as error:
        if isinstance(error, ImportError) and str(error.name).startswith("mnist_edge"):
            raise  # a bug of ours, not a package that is missing
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            sys.stderr.close()  # the reader of our output has gone; Python would complain at exit
            sys.exit(NO)
        code = WRONG
        _print_error(_message(error), "--json" in (sys.argv if arguments is None else arguments))
    sys.exit(code or 0)


def _message(error: Exception) -> str:
    """Return what is wrong and what to do, in one line that prints."""
    if isinstance(error, click.NoSuchOption) and error.ctx:
        message = _no_such_option(error.option_name, error.ctx)
    elif isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "mnist-edge"
        message = f"{error.format_message()} See {path} --help."
    elif isinstance(error, OSError):
        where = error.filename or "the system"
        message = f"{where}: {error.strerror or error}. Check the path, its rights and the free space."
    elif isinstance(error, ImportError):
        from mnist_edge.core.optional import pip_install

        message = f"a package that this needs is missing or broken ({error}). Install it: {pip_install(EVERYTHING)}"
    else:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in " ".join(message.split()))


def _no_such_option(name: str, ctx: click.Context) -> str:
    """Return which option may be meant, or which there are."""
    options = {
        option.lstrip("-"): option for param in ctx.command.params for option in param.opts if option[:2] == "--"
    }
    near = nearest(name.lstrip("-"), options)
    advice = f"Did you mean {options[near]}?" if near else f"There are {', '.join(sorted(options.values()))}."
    return f"there is no option {name} of {ctx.command_path}. {advice} See {ctx.command_path} --help."


def _print_error(message: str, json: bool) -> None:
    click.echo(f"error: {message}", err=True)
    if json:
        from mnist_edge.cli.console import print_json

        print_json({"schema": 1, "error": message})
