"""Which files an export writes: the pairs of format and precision that follow from what was asked for."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mnist_edge.core.contract import DEFAULT_IO, IOOptions, Precision
from mnist_edge.core.errors import MissingRuntime, UnsupportedPrecision
from mnist_edge.formats import FORMATS


@dataclass(frozen=True)
class ExportPlan:
    """The files to write, as (format's name, precision), and the input and output that all of them have.

    `refused` are the reasons why other pairs that were asked for cannot be written.
    """

    pairs: tuple[tuple[str, Precision], ...]
    io: IOOptions = DEFAULT_IO
    refused: tuple[str, ...] = ()

    @property
    def int8_formats(self) -> tuple[str, ...]:
        """Return the formats whose int8 quantization has to be chosen."""
        return tuple(
            sorted({counterpart_format(name) for name, precision in self.pairs if precision is Precision.INT8})
        )

    @property
    def other_machines(self) -> tuple[str, ...]:
        """Return the formats in the plan that are for another kind of machine."""
        return tuple(name for name, _ in self.pairs if FORMATS[name].platform)


def plan_export(
    precisions: Iterable[Precision] = (), formats: Collection[str] = (), io: IOOptions = DEFAULT_IO
) -> ExportPlan:
    """Return the plan of an export.

    Args:
        precisions: those wanted; float32 and int8 where it is empty, int8 alone where input and output are to be int8.
        formats: names of formats; where it is empty, every one that exports and is for machines like this one.
        io: the wanted input and output.

    Raises:
        UnsupportedPrecision: no pair works.
        MissingRuntime: a format for another kind of machine needs a runtime that is not installed.
    """
    default = [Precision.INT8] if io.full_integer else [Precision.FLOAT32, Precision.INT8]
    wanted = list(precisions) or default
    pairs, refused = [], []
    for name, file_format in FORMATS.items():
        asked = name in formats if formats else file_format.platform is None
        if not asked or not file_format.precisions:
            continue
        for precision in wanted:
            try:
                file_format.contract(precision, io)
                pairs.append((name, precision))
            except UnsupportedPrecision as error:
                refused.append(str(error))
    if not pairs:
        raise UnsupportedPrecision(" ".join(dict.fromkeys(refused)))
    plan = ExportPlan(tuple(pairs), io, tuple(refused))
    if missing := next((reason for name in plan.other_machines if (reason := FORMATS[name].missing())), None):
        raise MissingRuntime(f"{missing}.")
    return plan


def plan_platform(platform: str, head: str = "probabilities") -> ExportPlan:
    """Return the plan for another kind of machine: its own format, and the one that it is compared with.

    Raises:
        MissingRuntime: its runtime, in which the files are measured, is not installed.
    """
    formats = [
        name
        for item in FORMATS.values()
        if item.platform and item.platform.name == platform
        for name in (item.platform.counterpart_format, item.name)
    ]
    return plan_export([Precision.INT8], formats, IOOptions(head=head, full_integer=True))


def counterpart_format(format_name: str) -> str:
    """Return the format whose quantization a format takes over: its platform's counterpart, or itself."""
    platform = FORMATS[format_name].platform
    return platform.counterpart_format if platform else format_name
