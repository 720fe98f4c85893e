"""Runs the code that `snippet` prints, in its own language, on what the shared fixtures installed."""

import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.debian13 import Debian13

if TYPE_CHECKING:
    from playwright.sync_api import Page

SOURCES = {"python": "digit.py", "js": "digit.js", "node": "digit.mjs", "cpp": "digit.cpp", "c": "digit.c"}


def npm(package: Path, folder: Path) -> Path:
    """Install what a lock file lists into `folder`, and give its `node_modules`."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not here: apt-get install npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(package / name, folder)
    done = subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm could not install {package.name}: {done.stderr[-300:]}")
    return folder / "node_modules"


class App:
    """A page of headless Chromium that imports what is printed, from the folder that a server on loopback gives it."""

    def __init__(self, page: "Page", folder: Path, address: str) -> None:
        self.page, self.folder, self.address = page, folder, address
        self.asked: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def classify(self, code: str, images: NDArray[np.uint8]) -> list[list[float]]:
        """Load the printed module in a page with the import map that it asks for, and call it image by image."""
        (self.folder / SOURCES["js"]).write_text(code, encoding="utf-8")
        (maps,) = re.findall(r"<script type=\"importmap\">.*?</script>", code.replace("\n//", "\n"), flags=re.S)
        (self.folder / "index.html").write_text(f"<!doctype html>{maps}", encoding="utf-8")
        self.page.goto(f"{self.address}/index.html")
        per_call = 4 if "batch4" in code else 1
        calls = images.reshape(-1, per_call * 784).tolist()
        rows: Any = self.page.evaluate(
            """async (calls) => {
                const { classify } = await import("./digit.js");
                const rows = [];
                for (const call of calls) rows.push(Array.from(await classify(Uint8Array.from(call))));
                return rows;
            }""",
            calls,
        )
        return [row[start : start + 10] for row in rows for start in range(0, len(row), 10)]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a log, and lets nothing be cached."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def end_headers(self) -> None:
        """Every test has its own digit.js."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback, and give its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def compiled(debian: Debian13, folder: Path, code: str, source: str, pixels: bytes) -> str:
    """Compile with the command that the code itself names, trigraphs and sanitizers on, and run it."""
    (command,) = re.findall(rf"^// ((?:cc|c\+\+) {re.escape(source)} .*)$", code, flags=re.M)
    flags = "-std=c11 -pedantic $CFLAGS" if source.endswith(".c") else "-std=c++17 -trigraphs -pedantic $CXXFLAGS"
    built = debian.run(command.replace(source, f"{flags} {source}"), folder)
    assert built.returncode == 0, built.stderr
    ran = debian.run("./digit", folder, stdin=pixels)
    assert ran.returncode == 0, ran.stderr[-2000:]
    cut = debian.run("./digit", folder, stdin=pixels[:-1])
    assert cut.returncode == 1
    assert "28×28 bytes an image" in cut.stderr
    none = debian.run("./digit", folder, stdin=b"")
    assert none.returncode == 1
    assert "28×28 bytes an image" in none.stderr
    assert "Sanitizer" not in cut.stderr
    return ran.stdout


def run_as_printed(command: list[str], folder: Path, pixels: bytes) -> str:
    """Run an interpreted program, also with input that it does not take."""
    for wrong in (b"", b"\x89PNG\r\n", pixels + b"\0"):
        refused = subprocess.run(command, cwd=folder, input=wrong, capture_output=True, check=False)
        assert refused.returncode == 1
        assert not refused.stdout
        told = [line for line in refused.stderr.decode().splitlines() if not line.startswith("INFO: ")]  # LiteRT's own
        assert len(told) == 1
        assert "28×28 bytes an image" in told[0]
    done = subprocess.run(command, cwd=folder, input=pixels, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout.decode()


def outputs(
    code: str, language: str, file: Path, images: NDArray[np.uint8], folder: Path, request: pytest.FixtureRequest
) -> NDArray[np.float64]:
    """Run the printed code beside a copy of its file, as it is, and give what it makes of the images, `[N, 10]`."""
    source, pixels = SOURCES[language], images.tobytes()
    if language == "js":
        app: App = request.getfixturevalue("app")
        shutil.copy(file, app.folder)
        return np.array(app.classify(code, images))
    folder = folder / language
    folder.mkdir()
    shutil.copy(file, folder)
    (folder / source).write_text(code, encoding="utf-8")
    if language == "python":
        printed = run_as_printed([sys.executable, source], folder, pixels)
    elif language == "node":
        (folder / "node_modules").symlink_to(request.getfixturevalue("node_modules"))
        printed = run_as_printed(["node", source], folder, pixels)
    else:
        printed = compiled(request.getfixturevalue("debian13"), folder, code, source, pixels)
    return np.array([[float(number) for number in line.split()] for line in printed.splitlines()])
