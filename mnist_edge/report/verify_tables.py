"""The verdicts of `verify` for a terminal, wide or narrow."""

from collections.abc import Iterable, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mnist_edge.core.metrics import Interval
from mnist_edge.report.tables import STYLES, difference, table
from mnist_edge.verify.layer_errors import LayerError
from mnist_edge.verify.result import ArtifactResult, Status, VerifyReport
from mnist_edge.verify.tolerances import ToleranceResult, figure


def verify_table(report: VerifyReport, width: int = 80) -> RenderableType:
    """Show the verdicts, the reason and cause of each that did not pass, the tolerances and other paths."""
    columns = ("file", "verdict", "acc %", "drop", "flips", "95 % of drop", "margin", "max diff", "vs host")
    spare = width - max(len(result.artifact.path.name) for result in report.results)
    shown = len(columns) if spare >= 65 else 6 if spare >= 45 else 5
    made = table(*columns[:shown])
    made.columns[1].no_wrap = True
    for result in report.results:
        verdict = Text(result.status, style=STYLES[result.status])
        made.add_row(result.artifact.path.name, verdict, *_figures(result)[: shown - 2])
    told = (
        f"Checked on {report.sample.name} ({report.dataset}). drop: accuracy points lost against Keras, with the "
        "interval of an exact McNemar test; flips: images that change class"
    )
    if shown == len(columns):
        told += "; margin: Keras's largest lead on a flip; diff: in probability; vs host: against the exporting host."
    else:
        told += ". A wider terminal shows more columns, the report and --json everything."
    footprints = [
        Text(f"{result.artifact.path.name}: {result.footprint}.") for result in report.results if result.footprint
    ]
    words, tolerances = _words(report), tolerance_table(report.results, width)
    return Group(made, *words, tolerances, _paths(report), *footprints, Text(told, style="dim"))


def _figures(result: ArtifactResult) -> list[str]:
    found, on_host = result.comparison, result.on_host
    if found is None:
        return ["–"] * 7
    return [
        f"{found.accuracy:.2%}"[:-1],
        f"{found.drop:+.2f}",
        str(len(found.flips)),
        interval(result.interval),
        f"{found.largest_margin:.3f}" if found.flips else "–",
        difference(found.largest_difference),
        difference(on_host.largest_difference) if on_host else "–",
    ]


def interval(found: Interval | None) -> str:
    """Return the 95 % interval of a drop: `-0.04…+0.04`, or `±0` where no image changes sides."""
    if found is None:
        return "–"  # SciPy is not on a board
    return f"{found.low:+.2f}…{found.high:+.2f}" if found.low or found.high else "±0"


def _words(report: VerifyReport) -> list[Text]:
    """Return a line for each reason, note, cause and check."""
    lines = []
    for result in report.results:
        name = result.artifact.path.name
        if result.diagnosis is not None:
            lines.append((result.status, f"{name}: {result.diagnosis}"))
        lines += [(result.status, f"{name}: {line}") for line in (*result.reasons, *result.notes)]
        if result.interval is not None and result.comparison is not None and result.comparison.drop > 0:
            noise = "within noise" if result.interval.within_noise else "more than noise"
            if result.status is Status.FAIL or not result.interval.within_noise:
                lines.append((result.status, f"{name}: its drop in accuracy is {noise} (p = {result.interval.p:.2g})"))
    lines += [(check.status, f"{check.name}: {check.detail}") for check in report.checks]
    return [Text(f"{status}  {line}", style=STYLES[status]) for status, line in lines]


def worst_findings(results: Iterable[ArtifactResult]) -> list[tuple[str, ToleranceResult, str]]:
    """Give, for each precision and limit, the file that comes nearest to it: (precision, finding, file)."""
    worst: dict[tuple[str, str], tuple[str, ToleranceResult, str]] = {}
    for result in results:
        for finding in result.findings:
            key = result.artifact.precision, finding.limit.name
            if key not in worst or not finding.measured <= worst[key][1].measured:
                worst[key] = result.artifact.precision, finding, result.artifact.path.name
    return list(worst.values())


def tolerance_table(results: Iterable[ArtifactResult], width: int = 80) -> Table:
    """Show each limit beside the smallest one that would have passed, and where it comes from."""
    made = table("tolerance", "needed", "allowed", "where it comes from", title="Tolerances")
    made.columns[3].justify = "left"
    if width < 100:
        made = table("tolerance", "needed", "allowed", title="Tolerances")
    for precision, finding, _ in worst_findings(results):
        limit = finding.limit
        style = "" if finding.passed else STYLES[Status.FAIL]
        cells = [figure(finding.measured), figure(limit.allowed), f"{limit.unit}; {limit.origin}"]
        made.add_row(f"{precision}.{limit.name}", *cells[: len(made.columns) - 1], style=style)
    return made


def _paths(report: VerifyReport) -> Text:
    paths = [(result.artifact.path.name, path) for result in report.results for path in result.variants]
    if not paths:
        return Text("")
    flips = sum(len(path.flips) for _, path in paths)
    name, path = max(paths, key=lambda item: item[1].largest_difference)
    ways = ", ".join(dict.fromkeys(path.name for _, path in paths))
    return Text(
        f"Computed in {len(paths)} other ways ({ways}): "
        f"{'the same classes' if not flips else f'{flips} classes differ where rounding decides'}, "
        f"differences to {difference(path.largest_difference)} ({name}, {path.name})."
    )


def matrix_table(report: VerifyReport) -> RenderableType:
    """Show how many images change class between every two, and Keras's largest margin on one of them."""
    names = list(report.outputs)
    made = table("images that change class", *(str(number) for number in range(1, len(names) + 1)))
    counts = {frozenset((pair.first, pair.second)): pair for pair in report.pairs}
    for number, first in enumerate(names, 1):
        cells = []
        for second in names:
            pair = counts.get(frozenset((first, second)))
            cells.append("·" if first == second or pair is None else str(len(pair.flips)))
        made.add_row(f"{number} {first}", *cells)
    if not report.pairs:
        return made
    margin, pair = max(((max(pair.margins, default=0.0), pair) for pair in report.pairs), key=lambda item: item[0])
    told = f"Keras's largest margin on any of them: {margin:.3f} ({pair.first} and {pair.second})" if margin else ""
    return Group(made, Text(told, style="dim"))


def layers_table(found: Mapping[str, Iterable[LayerError]], skipped: Mapping[str, str]) -> RenderableType:
    """Show each file's error by layer, the worst first."""
    parts: list[RenderableType] = []
    for name, errors in found.items():
        made = table("layer", "SQNR dB", "cosine", "largest", "of", "saturated", title=name)
        for error in errors:
            made.add_row(
                error.layer,
                error.decibels,
                f"{error.cosine:.5f}",
                f"{error.largest:.3g}",
                f"{error.reach:.3g}",
                f"{error.saturated:.1%}" if error.saturated else "–",
            )
        parts.append(made)
    parts += [Text(f"SKIPPED  {name}: {why}", style=STYLES[Status.SKIPPED]) for name, why in skipped.items()]
    told = (
        "Against Keras on 20 golden images, computed operator by operator without optimizations. largest: of the "
        "differences; of: Keras's largest value; saturated: values at an end of the file's range, left out of the "
        "other figures. TFLite's int8 logits saturate below, where a class has under a ten-thousandth of the "
        "winner's probability."
    )
    return Group(*parts, Text(told, style="dim"))
