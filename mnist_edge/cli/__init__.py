"""The command line. Every module here that has a `command` is one; here errors become one line and an exit code."""

import errno
import gc
import importlib
import os
import pkgutil
import sys
from contextlib import suppress
from typing import NoReturn

import click

from mnist_edge import __version__
from mnist_edge.cli.console import INTERRUPTED, InterruptFlag, info
from mnist_edge.cli.options import FullHelpGroup, nearest, verbose_option
from mnist_edge.cli.streams import Streams
from mnist_edge.core.errors import MnistEdgeError

NO, WRONG, BUG = 1, 2, 3
DEBUG = "MNIST_EDGE_DEBUG"  # in the environment, it shows where a bug is
HEAVY = ("export", "report", "train", "verify")  # commands whose libraries write temporary files
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
@verbose_option
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Take a digit classifier from Keras to quantized TFLite and ONNX, and prove that it got there whole.

    \b
    mnist-edge export --int8        train if need be, convert, write exports/cnn
    mnist-edge verify               do the files give Keras's predictions?
    mnist-edge bench                how fast are they on this machine?
    mnist-edge report               all of that as one HTML page
    mnist-edge predict digit.png    what digit is this?
    """
    if ctx.invoked_subcommand in HEAVY:
        from mnist_edge.core.files import one_place_for_temporary_files

        ctx.with_resource(one_place_for_temporary_files())


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    The exit code is 0 where all is good, 1 where the answer is no, 2 with one line of why for wrong usage or bad input,
    and 3 with one line for a bug of ours.
    """
    InterruptFlag.watch()
    Streams.prepare()
    code = _run(arguments)
    failed = Streams.flush()
    if failed is not None and failed.errno != errno.EPIPE and code != WRONG:
        code = WRONG
        _print_error(f"the output could not be written: {failed.strerror}.", json=False)
    if "stdout" in Streams.closed:
        info("Note: standard output is closed, so the result is shown nowhere.")
    InterruptFlag.code = code
    gc.freeze()  # else Python looks for garbage among all objects while it ends, which takes a tenth of `predict`
    sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    """Run the command line and return the exit code."""
    json = "--json" in (sys.argv if arguments is None else arguments)
    try:
        return commands.main(arguments, prog_name="mnist-edge", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except (click.Abort, KeyboardInterrupt):
        info(
            f"\ninterrupted: no half-written file is left, and {_changed()}. Run the same command again to start over."
        )
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - here alone a bug of ours becomes a line too
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            return NO  # the reader of our output has gone
        if _is_bug(error):
            _print_error(_bug(error), json)
            return BUG
        _print_error(_message(error), json)
        return WRONG


def _changed() -> str:
    """Return what an interrupted command has changed."""
    from mnist_edge.core.files import written

    paths = ", ".join(dict.fromkeys(str(path) for path in written))
    return f"this was written before: {paths}" if paths else "what was there is unchanged"


def _is_bug(error: Exception) -> bool:
    """Return whether an error is none that input or environment can bring about."""
    if isinstance(error, ImportError):
        return str(error.name).startswith("mnist_edge")  # else a package that is missing
    return not isinstance(error, click.ClickException | MnistEdgeError | OSError | MemoryError)


def _bug(error: Exception) -> str:
    """Return one line on an error of ours; print where it is first, if that is wanted."""
    from mnist_edge.core.optional import is_verbose
    from mnist_edge.core.text import flat, one_line

    if is_verbose() or os.environ.get(DEBUG):
        import traceback

        traceback.print_exception(error)
    text = one_line(f"{type(error).__name__}: {error}")
    return flat(
        f"this is a bug of mnist-edge ({text}). Please report it, with what mnist-edge -v and your command print."
    )


def _message(error: Exception) -> str:
    """Return what is wrong and what to do, in one line that prints."""
    from mnist_edge.core.text import flat

    if isinstance(error, click.NoSuchOption) and error.ctx:
        message = _no_such_option(error.option_name, error.ctx)
    elif isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "mnist-edge"
        message = f"{error.format_message()} See {path} --help."
    elif isinstance(error, OSError):
        where = error.filename or "the system"
        message = f"{where}: {error.strerror or error}. Check the path, its rights and the free space."
    elif isinstance(error, MemoryError):
        message = "there is not enough memory for this."
    elif isinstance(error, ImportError):
        from mnist_edge.core.optional import pip_install

        message = f"a package that this needs is missing or broken ({error}). Install it: {pip_install(EVERYTHING)}"
    else:
        message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    return flat(message)


def _no_such_option(name: str, ctx: click.Context) -> str:
    """Return which option may be meant, or which there are."""
    options = {
        option.lstrip("-"): option for param in ctx.command.params for option in param.opts if option[:2] == "--"
    }
    near = nearest(name.lstrip("-"), options)
    advice = f"Did you mean {options[near]}?" if near else f"There are {', '.join(sorted(options.values()))}."
    return f"there is no option {name} of {ctx.command_path}. {advice} See {ctx.command_path} --help."


def _print_error(message: str, json: bool) -> None:
    """Print an error, on standard output where there is no other place for it."""
    with suppress(OSError):
        click.echo(f"error: {message}", err="stderr" not in Streams.closed or json)
    if json:
        from mnist_edge.cli.console import print_json

        with suppress(OSError):
            print_json({"schema": 1, "error": message})
