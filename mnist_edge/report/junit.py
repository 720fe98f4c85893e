"""Verdicts as JUnit XML, which every CI system shows."""

from pathlib import Path
from xml.etree import ElementTree

from mnist_edge.core.files import atomic_write
from mnist_edge.core.text import printable
from mnist_edge.verify.result import Status, VerifyReport


def write(report: VerifyReport, path: Path, strict: bool = False) -> None:
    """Write one test case an artifact and check, atomically; with `strict`, what was skipped is a failure."""
    cases = [(item.artifact.path.name, item.judged, item.why) for item in report.results] + [
        (check.name, check.status, [check.detail]) for check in report.checks
    ]
    failed = {Status.FAIL, Status.SKIPPED} if strict else {Status.FAIL}
    skipped = {Status.SKIPPED} - failed
    suite = ElementTree.Element(
        "testsuite",
        name=printable(f"mnist-edge verify {report.model}"),
        tests=str(len(cases)),
        failures=str(sum(status in failed for _, status, _ in cases)),
        skipped=str(sum(status in skipped for _, status, _ in cases)),
        errors="0",
    )
    for name, status, lines in cases:
        case = ElementTree.SubElement(suite, "testcase", classname=printable(report.model), name=printable(name))
        if status in failed or status in skipped:
            kind = "failure" if status in failed else "skipped"
            first = f"{status}: {lines[0]}" if lines else str(status)
            ElementTree.SubElement(case, kind, message=printable(first)).text = printable("\n".join(lines))
    tree = ElementTree.ElementTree(suite)
    ElementTree.indent(tree)
    with atomic_write(path) as temporary:
        tree.write(temporary, encoding="utf-8", xml_declaration=True)
