"""`mnist-edge report`: one HTML file without any request, and the same facts in Markdown."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support import faults
from support.commands import Run

from mnist_edge.core.manifest import Manifest
from mnist_edge.report.stored import BenchResults


class Page(HTMLParser):
    """Collects a page's addresses, headings and text, and that its tags are closed in order."""

    VOID = frozenset({"meta", "br", "img", "path", "use", "rect", "line"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.pictures = 0
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.pictures += tag == "img"
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def reported(exports: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a healthy export with bench results."""
    folder = shutil.copytree(exports / "mlp", tmp_path_factory.mktemp("report") / "mlp")
    run("bench", folder, "--runs", "50")
    assert run("report", folder).stdout == "PASS\n"
    return folder


def test_the_page_is_of_one_piece_and_asks_for_nothing(reported: Path) -> None:
    html = (reported / "report.html").read_text()
    page = Page(html)
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "@import" not in html
    assert not re.findall(r"url\((?!#)", html)
    costs = page.text.partition("Accuracy against size and latency")[2]
    assert all(costs.count(f"mlp-{kind}") >= 3 for kind in ("int8.onnx", "int8.tflite")), "by size, warm and cold"
    assert "<script" not in html
    assert page.text.index("PASS") < page.text.index("Everything against everything")
    for heading in ("Files", "Digits that change class", "Tolerances", "Confusion matrices", "Latency", "Layers"):
        assert heading in page.text
    for artifact in Manifest.read(reported).artifacts:
        assert artifact.path.name in page.text
        assert artifact.sha256 in page.text


def test_both_pages_tell_the_same_facts(reported: Path, run: Run) -> None:
    content = json.loads(run("verify", reported, "--json").stdout)
    flips = {index for item in content["results"] for index in item["comparison"]["flips"]}
    html, markdown = ((reported / f"report.{kind}").read_text() for kind in ("html", "md"))
    page = Page(html)
    assert page.pictures == len(flips) > 0
    for index in flips:
        assert f"image {index}" in page.text
        assert f"| {index} |" in markdown
    for item in content["results"]:
        accuracy = f"{item['comparison']['accuracy']:.2%}"
        assert f"| {item['file']} | ✓ PASS | {accuracy} |" in markdown
        assert accuracy in page.text
    assert "Measured by mnist-edge bench on" in page.text
    assert "Measured by mnist-edge bench on" in markdown
    for item in BenchResults.read(reported).results:  # type: ignore[union-attr]
        assert item.cold is not None
        assert f"cold {item.cold.p50_us:.0f}" in page.text  # in the picture
        assert f"| {item.cold.p50_us:.1f} |" in markdown


def test_a_failure_comes_first_with_its_cause_and_what_was_skipped_is_marked(
    reported: Path, run: Run, tmp_path: Path
) -> None:
    folder = shutil.copytree(reported, tmp_path / "mlp")
    faults.edit_onnx(folder / "mlp-int8.onnx", faults.onnx_scale_of_first_channel)
    faults.resign(folder, "mlp-int8.onnx")
    (folder / "model.keras").rename(tmp_path / "elsewhere.keras")
    assert run("report", folder, "--out", tmp_path / "pages", check=1).stdout == "FAIL\n"
    page = Page((tmp_path / "pages" / "report.html").read_text())
    assert page.text.index("✗ FAIL") < page.text.index("✓ PASS")
    assert "cause unknown" in page.text
    assert "– SKIPPED" in page.text
    assert "Left out, because they were measured on other files of these names: mlp-int8.onnx" in page.text
    assert (tmp_path / "pages" / "report.md").read_text().startswith("# mlp: ✗ FAIL\n")


@pytest.mark.extra("a quarter of a minute or more")
def test_without_bench_results_latency_is_skipped(exports: Path, run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp", ignore=shutil.ignore_patterns("bench.json"))
    run("report", folder, "--out", tmp_path)
    assert "SKIPPED" in (tmp_path / "report.md").read_text().split("## Latency")[1]
    (folder / "bench.json").write_text("{}")
    assert "bench.json is damaged" in run("report", folder, check=2).stderr


@pytest.mark.parametrize("width", [390, 1100])
def test_a_browser_shows_it_without_scrolling_sideways(reported: Path, tmp_path: Path, width: int) -> None:
    """A real Chromium lays the page out in a frame as wide as a phone; a script that only the copy has tells."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not here: apt-get install chromium")
    script = "<script>parent.postMessage(document.documentElement.scrollWidth, '*')</script></body>"
    (tmp_path / "copy.html").write_text((reported / "report.html").read_text().replace("</body>", script))
    frame = tmp_path / "frame.html"
    frame.write_text(
        "<script>onmessage = told => { document.title = `wide ${told.data}` }</script>"
        f"<iframe src='copy.html' style='width:{width}px; height:900px; border:0'></iframe>"
    )
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run([*command, frame.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r"<title>wide (\d+)", done.stdout)
    assert found is not None
    assert int(found[1]) <= width
