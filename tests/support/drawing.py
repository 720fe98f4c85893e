"""Serves the demo page and draws on it: what the tests and the benchmark of the page share."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect

Points = list[tuple[float, float]]

STROKES: dict[int, list[Points]] = {  # in shares of the drawing field
    0: [
        [(0.5, 0.2), (0.35, 0.3), (0.3, 0.5), (0.35, 0.7), (0.5, 0.8), (0.65, 0.7), (0.7, 0.5), (0.65, 0.3), (0.5, 0.2)]
    ],
    1: [[(0.55, 0.2), (0.48, 0.8)]],
    2: [[(0.33, 0.33), (0.4, 0.22), (0.55, 0.2), (0.66, 0.3), (0.62, 0.45), (0.45, 0.65), (0.3, 0.8), (0.7, 0.8)]],
    3: [[(0.32, 0.25), (0.5, 0.18), (0.64, 0.28), (0.45, 0.48), (0.68, 0.65), (0.52, 0.82), (0.32, 0.75)]],
    4: [[(0.4, 0.2), (0.32, 0.5), (0.7, 0.5)], [(0.63, 0.22), (0.58, 0.85)]],
    7: [[(0.3, 0.25), (0.7, 0.25), (0.45, 0.82)]],
}


@contextmanager
def demo(folder: Path, *arguments: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `mnist-edge demo` on a free port: its address and the process."""
    command = [sys.executable, "-m", "mnist_edge", "demo", str(folder), "--port", "0", *arguments]
    env = {**os.environ, **environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        try:
            assert line, process.stderr.read()
            yield line.split(" is at ")[1].split()[0], process
        finally:
            process.kill()


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def opened(context: BrowserContext, address: str) -> Page:
    """The page, when its first file can be used."""
    page = context.new_page()
    page.goto(address)
    expect(page.locator("#file")).to_contain_text("kB", timeout=30_000)
    return page


def draw(page: Page, strokes: list[Points], canvas: str = "#drawing") -> None:
    """Draw with the mouse."""
    box = page.locator(canvas).bounding_box()
    assert box is not None
    for stroke in strokes:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=6)
        page.mouse.up()


def choose(page: Page, name: str) -> None:
    """Switch to a file, as a mouse does: by its label."""
    page.locator("label").filter(has=page.get_by_role("radio", name=name, exact=True)).click()
    expect(page.locator("#file")).to_contain_text(f"{name}, ", timeout=30_000)
    expect(page.locator("#error")).to_be_empty()
