"""For the tests of your own project: `assert_parity("exports/cnn")`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnist_edge.data.dataset import load_local
from mnist_edge.verify.result import Status, VerifyReport
from mnist_edge.verify.tolerances import from_project, parse
from mnist_edge.verify.verify import verify


def assert_parity(
    folder: str | Path,
    *,
    strict: bool = False,
    data: str | Path | None = None,
    tolerance: Mapping[str, Any] | None = None,
) -> VerifyReport:
    """Fail the test that calls it where a file of an export does not give Keras's predictions.

    Args:
        folder: an export folder or a bundle of one.
        strict: also fail where something could not be checked.
        data: an mnist.npz or a folder of IDX files; else the cached dataset, else the golden images.
        tolerance: tolerances of your own, as in `[tool.mnist-edge.parity]`, which is read too: `{"int8.steps": 1}`.

    Returns:
        The report, for more checks of your own.

    Raises:
        AssertionError: with a line for each file and check that is not good, its reason and likely cause.
        MnistEdgeError: nothing could be checked; the message says what to do.
    """
    overrides = {**from_project(Path.cwd()), **parse(tolerance or {}, "tolerance")}
    report = verify(folder, load_local(data) if data is not None else None, overrides)
    if not report.passes(strict):
        raise AssertionError("\n".join([f"{folder} has no parity with Keras:", *_lines(report, strict)]))
    return report


def _lines(report: VerifyReport, strict: bool) -> list[str]:
    bad = {Status.FAIL, Status.SKIPPED} if strict else {Status.FAIL}
    lines = []
    for result in report.results:
        if result.judged in bad:
            lines += [f"{result.judged} {result.artifact.path.name}: {line}" for line in result.why]
    return lines + [f"{check.status} {check.name}: {check.detail}" for check in report.checks if check.status in bad]
