"""The options and parameter types that several commands share, and what they stand for."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mnist_edge.cli.console import info

if TYPE_CHECKING:
    from mnist_edge.data.dataset import Dataset
    from mnist_edge.verify.result import VerifyReport

Function = TypeVar("Function", bound=Callable[..., Any])


class Utf8Path(click.Path):
    """A path whose name is UTF-8, which every runtime can open and every report can print."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse a name whose bytes are not UTF-8."""
        try:
            str(value).encode()
        except UnicodeEncodeError:
            name = str(value).encode(errors="backslashreplace").decode()
            self.fail(f"the name {name} is not UTF-8, which the runtimes cannot open. Rename it.", param, ctx)
        return super().convert(value, param, ctx)


class Number(click.FloatRange):
    """A number in a range; NaN, which is under and over no limit, is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuse NaN."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


PATH = Utf8Path(path_type=Path)
DEFAULT_FOLDER = Path("exports/cnn")

model_option = click.option("--model", default="cnn", show_default=True, help="A name from mnist-edge models.")
out_option = click.option(
    "--out", type=PATH, default=Path("exports"), show_default=True, help="Folder that gets one folder a model."
)
data_option = click.option(
    "--data",
    type=PATH,
    help="An mnist.npz or a folder of IDX files; without it MNIST_EDGE_DATA, the cache, the network.",
)
local_data_option = click.option(
    "--data",
    type=PATH,
    help="An mnist.npz or a folder of IDX files; without it MNIST_EDGE_DATA or the cache. Nothing is downloaded.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of the training."
)
tolerance_option = click.option(
    "--tolerance",
    multiple=True,
    metavar="NAME=LIMIT",
    help="A limit of your own: drop=0.05, int8.steps=1 (also in [tool.mnist-edge.parity] of pyproject.toml).",
)
custom_option = click.option(
    "--custom", type=PATH, metavar="FILE.py", help="A Python file with the model's own layers and functions; it is run."
)
json_option = click.option("--json", is_flag=True, help="Print JSON for a machine instead of tables.")
folder_argument = click.argument("folder", type=PATH, default=DEFAULT_FOLDER)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that is most like a mistyped one; None where none is like it."""
    import difflib

    return next(iter(difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)), None)


def typed(name: str) -> bool:
    """Return whether an option stands on the command line."""
    return click.get_current_context().get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


class NameOf(click.ParamType):  # type: ignore[type-arg]  # generic only in newer click
    """A name out of those that a function lists, which is called only when the name has to be checked."""

    def __init__(self, kind: str, names: Callable[[], Iterable[str]]) -> None:
        self.name, self._names = kind, names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, if it is one of them."""
        names = list(self._names())
        if value not in names:
            near = nearest(str(value), names)
            meant = f"Did you mean {near}? " if near else ""
            self.fail(f"there is no {self.name} {value!r}. {meant}Choose one of {', '.join(names)}.", param, ctx)
        return str(value)


class FullHelpGroup(click.Group):
    """A group whose help lists each command's whole first sentence, and which names the nearest to a mistyped one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant, or say which one may be."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            names = self.list_commands(ctx)
            near = nearest(args[0], names)
            advice = f"Did you mean {near}?" if near else f"There are {', '.join(names)}."
            raise click.UsageError(f"there is no command {args[0]!r}. {advice}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list, wrapped."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl([(name, found.get_short_help_str(limit=1000)) for name, found in commands if found])


def export_folders(target: Path) -> list[Path]:
    """Return the export folders that a folder stands for: itself, or those in it where it is a folder of them."""
    from mnist_edge.core.folder import MANIFEST
    from mnist_edge.core.publish import settled

    if not target.is_dir() or (settled(target) / MANIFEST).is_file():
        return [target]
    inside = (path for path in target.glob("*/") if not path.name.startswith("."))
    return sorted(path for path in inside if (settled(path) / MANIFEST).is_file()) or [target]


def check_writable(folder: Path) -> None:
    """Raise OSError where a folder cannot be made or written to, before the work whose results it is to hold."""
    import tempfile

    from mnist_edge.core.files import new_folder

    try:
        with new_folder(folder, keep=False), tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error  # not the temporary file's name


def verbose_option(function: Function) -> Function:
    """Add `-v`, which shows the log lines of TensorFlow and the converters."""

    def switch(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        from mnist_edge.core.optional import set_verbose

        if value:
            set_verbose(True)

    return click.option(
        "-v", "--verbose", is_flag=True, expose_value=False, callback=switch, help="Show the libraries' own log lines."
    )(function)


def load_dataset(path: Path | None) -> "Dataset":
    """Return the dataset, and say so where it is not MNIST."""
    from mnist_edge.data import dataset as data

    dataset = data.load_mnist(path, info)
    if not dataset.genuine:
        info(f"Note: {dataset.source} is {dataset.name}; accuracy floors do not apply.")
    return dataset


def run_custom(path: Path | None) -> None:
    """Run the user's Python file with a model's own layers, where one is given and Keras is here to use them."""
    from mnist_edge.formats.keras import FORMAT
    from mnist_edge.formats.keras.custom import register

    if path is not None and FORMAT.missing() is None:
        register(path)


def local_dataset(path: Path | None) -> "Dataset | None":
    """Return the dataset that the user named, else the one at hand; None where there is none, or a damaged one."""
    from mnist_edge.data.dataset import load_local

    return load_local(path, info)


def overrides(flags: tuple[str, ...]) -> dict[str, float]:
    """Return the tolerances that the user has set: the project's table, and over it the flags."""
    from mnist_edge.verify.tolerances import from_flags, from_project

    return {**from_project(Path.cwd()), **from_flags(flags)}


def check_used(path: Path | None, dataset: "Dataset | None", flags: tuple[str, ...], report: "VerifyReport") -> None:
    """Raise DataError where named data was not used, and say which tolerances of the flags hold for nothing."""
    from mnist_edge.core.errors import DataError
    from mnist_edge.verify.tolerances import from_flags

    if path is not None and dataset is not None and report.sample.images is not dataset.test.images:
        raise DataError(f"{path} is {dataset.name}, not what was exported with. Leave --data out, or export again.")
    used = {f"{item.artifact.precision}.{one.tolerance.name}" for item in report.results for one in item.tolerances}
    used |= {f"{item.artifact.precision}.drop" for item in report.results if item.budget is not None}
    for name in from_flags(flags):
        if not any(full == name or full.endswith(f".{name}") for full in used):
            info(f"Note: --tolerance {name} limits nothing here: no file was checked that it is for.")
