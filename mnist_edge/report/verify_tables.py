"""The verdicts of `verify` for a terminal, wide or narrow."""

from collections.abc import Iterable, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mnist_edge.core.metrics import Interval
from mnist_edge.formats.layer_errors import LayerError
from mnist_edge.report.tables import STYLES, difference, table
from mnist_edge.verify.result import ArtifactResult, Status, VerifyReport
from mnist_edge.verify.tolerances import ToleranceResult, figure


def verify_table(report: VerifyReport, width: int = 80) -> RenderableType:
    """Return the verdicts, the reason and cause of each that did not pass, the tolerances and the variants."""
    columns = ("file", "verdict", "acc %", "drop", "flips", "95 % of drop", "margin", "max diff", "vs host")
    spare = width - max(len(result.artifact.path.name) for result in report.results)
    shown = len(columns) if spare >= 65 else 6 if spare >= 45 else 5
    rows = table(*columns[:shown])
    for result in report.results:
        verdict = Text(result.status, style=STYLES[result.status])
        rows.add_row(result.artifact.path.name, verdict, *_figures(result)[: shown - 2])
    legend = (
        f"Checked on {report.sample.name} ({report.dataset}). drop: accuracy points lost against Keras, with the "
        "interval of an exact McNemar test; flips: images that change class"
    )
    if shown == len(columns):
        legend += "; margin: Keras's largest lead on a flip; diff: in probability; vs host: against the exporting host."
    else:
        legend += ". A wider terminal shows more columns, the report and --json everything."
    footprints = [
        Text(f"{result.artifact.path.name}: {result.footprint}.") for result in report.results if result.footprint
    ]
    lines, tolerances = _lines(report), tolerance_table(report.results, width)
    warnings = [Text(f"WARNING  {line}", style=STYLES[Status.FAIL]) for line in report.warnings]
    return Group(*warnings, rows, *lines, tolerances, _variants(report), *footprints, Text(legend, style="dim"))


def _figures(result: ArtifactResult) -> list[str]:
    comparison, on_host = result.comparison, result.on_host
    if comparison is None:
        return ["–"] * 7
    return [
        f"{comparison.accuracy:.2%}"[:-1],
        f"{comparison.drop:+.2f}",
        str(len(comparison.flips)),
        interval(result.interval),
        f"{comparison.largest_margin:.3f}" if comparison.flips else "–",
        difference(comparison.largest_difference),
        difference(on_host.largest_difference) if on_host else "–",
    ]


def interval(drop: Interval | None) -> str:
    """Return the 95 % interval of a drop: `-0.04…+0.04`, or `±0` where no image changes sides."""
    if drop is None:
        return "–"  # SciPy is not on a board
    return f"{drop.low:+.2f}…{drop.high:+.2f}" if drop.low or drop.high else "±0"


def _lines(report: VerifyReport) -> list[Text]:
    """Return a line for each reason, note, cause, check and accuracy budget."""
    lines = []
    for result in report.results:
        name = result.artifact.path.name
        if result.diagnosis is not None:
            lines.append((result.status, f"{name}: {result.diagnosis}"))
        lines += [(result.status, f"{name}: {line}") for line in (*result.reasons, *result.notes)]
    lines += [(check.status, f"{check.name}: {check.detail}") for check in report.checks]
    texts = [Text(f"{status}  {line}", style=STYLES[status]) for status, line in lines]
    return [*texts, *(_budget(result) for result in report.results if result.budget is not None)]


def _budget(result: ArtifactResult) -> Text:
    budget = result.budget
    style = "" if budget is None or budget.within else STYLES[Status.FAIL]
    return Text(f"{result.artifact.path.name}: {budget}.", style=style)


def worst_tolerances(results: Iterable[ArtifactResult]) -> list[tuple[str, ToleranceResult, str]]:
    """Return the largest figure of each precision and tolerance, as (precision, result, file)."""
    worst: dict[tuple[str, str], tuple[str, ToleranceResult, str]] = {}
    for result in results:
        for one in result.tolerances:
            key = result.artifact.precision, one.tolerance.name
            if key not in worst or not one.measured <= worst[key][1].measured:
                worst[key] = result.artifact.precision, one, result.artifact.path.name
    return list(worst.values())


def tolerance_table(results: Iterable[ArtifactResult], width: int = 80) -> Table:
    """Return each tolerance, the smallest one that would have passed, and where it comes from."""
    rows = table("tolerance", "needed", "allowed", "where it comes from", title="Tolerances")
    rows.columns[3].justify, rows.columns[3].no_wrap = "left", False
    if width < 100:
        rows = table("tolerance", "needed", "allowed", title="Tolerances")
    for precision, result, _ in worst_tolerances(results):
        tolerance = result.tolerance
        style = "" if result.passed else STYLES[Status.FAIL]
        cells = [figure(result.measured), figure(tolerance.allowed), f"{tolerance.unit}; {tolerance.origin}"]
        rows.add_row(f"{precision}.{tolerance.name}", *cells[: len(rows.columns) - 1], style=style)
    return rows


def _variants(report: VerifyReport) -> Text:
    results = [(result.artifact.path.name, variant) for result in report.results for variant in result.variants]
    variants = [(name, variant) for name, variant in results if not variant.skipped]
    if not variants:
        return Text("")
    flips = sum(len(variant.flips) for _, variant in variants)
    name, largest = max(variants, key=lambda item: item[1].largest_difference)
    ways = ", ".join(dict.fromkeys(variant.name for _, variant in variants))
    return Text(
        f"Computed in {len(variants)} other ways ({ways}): "
        f"{'the same classes' if not flips else f'{flips} classes differ where rounding decides'}, "
        f"differences to {difference(largest.largest_difference)} ({name}, {largest.name})."
    )


def matrix_table(report: VerifyReport) -> RenderableType:
    """Return how many images change class between every two, and Keras's largest margin on one of them."""
    names = list(report.outputs)
    rows = table("images that change class", *(str(number) for number in range(1, len(names) + 1)))
    counts = {frozenset((pair.first, pair.second)): pair for pair in report.pairs}
    for number, first in enumerate(names, 1):
        cells = []
        for second in names:
            pair = counts.get(frozenset((first, second)))
            cells.append("·" if first == second or pair is None else str(len(pair.flips)))
        rows.add_row(f"{number} {first}", *cells)
    if not report.pairs:
        return rows
    margin, pair = max(((max(pair.margins, default=0.0), pair) for pair in report.pairs), key=lambda item: item[0])
    legend = f"Keras's largest margin on any of them: {margin:.3f} ({pair.first} and {pair.second})" if margin else ""
    return Group(rows, Text(legend, style="dim"))


def layers_table(errors: Mapping[str, Iterable[LayerError]], skipped: Mapping[str, str]) -> RenderableType:
    """Return each file's error by layer, the worst first."""
    parts: list[RenderableType] = []
    for name, layers in errors.items():
        rows = table("layer", "SQNR dB", "cosine", "largest", "of", "saturated", title=name)
        for error in layers:
            rows.add_row(
                error.layer,
                error.decibels,
                f"{error.cosine:.5f}",
                f"{error.largest:.3g}",
                f"{error.reach:.3g}",
                f"{error.saturated:.1%}" if error.saturated else "–",
            )
        parts.append(rows)
    parts += [Text(f"SKIPPED  {name}: {why}", style=STYLES[Status.SKIPPED]) for name, why in skipped.items()]
    legend = (
        "Against Keras on 20 golden images, computed operator by operator without optimizations. largest: of the "
        "differences; of: Keras's largest value; saturated: values at an end of the file's range, left out of the "
        "other figures. TFLite's int8 logits saturate below, where a class has under a ten-thousandth of the "
        "winner's probability."
    )
    return Group(*parts, Text(legend, style="dim"))
