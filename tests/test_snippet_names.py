"""Whatever a file and its ends are called, the printed code says it in its language, and says nothing else."""

import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import Run
from debian13 import SANITIZED, Debian13
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext

from mnist_edge.reference import Reference
from mnist_edge.snippet import snippet
from mnist_edge.web_runtime import WEB

ROOT = Path(__file__).parent.parent
ODD = "\n\r\t\x01\x1b[31m\x7f\u202e\u2028\U000e0041"  # control characters and others that do not print
FILE = f'q"u\'o\\te`${{process.exit(3)}} % ??! * """ coding=latin-9 {ODD}é\U0001f6001.onnx'
ENDS = ('in"\\ ??/ */ /* ${x} $y \x01\x1f1\u2028\n#coding:x', 'out\'"""\\u0041 \u202e\r\n??/')
IMAGES = 5


@pytest.fixture(scope="module")
def odd(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of nobody's, with odd names inside and out."""
    proto = onnx.load(exports / "mlp" / "mlp-int8.onnx")
    del proto.metadata_props[:]
    renamed = dict(zip(("image", "probabilities"), ENDS, strict=True))
    for value in (*proto.graph.input, *proto.graph.output):
        value.name = renamed[value.name]
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    path = tmp_path_factory.mktemp("odd") / FILE
    onnx.save(proto, path)
    return path


def in_python(code: str, folder: Path, pixels: bytes, request: pytest.FixtureRequest) -> str:
    (folder / "digit.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "digit.py"], cwd=folder, input=pixels, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def npm(package: Path, folder: Path) -> None:
    """Install what a lock file lists into a folder."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not here: apt-get install npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(package / name, folder)
    subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=folder, capture_output=True, check=True)


def in_node(code: str, folder: Path, pixels: bytes, request: pytest.FixtureRequest) -> str:
    npm(ROOT / "examples" / "node", folder)
    (folder / "digit.mjs").write_text(code, encoding="utf-8")
    done = subprocess.run(["node", "digit.mjs"], cwd=folder, input=pixels, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a log."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def in_browser(code: str, folder: Path, pixels: bytes, request: pytest.FixtureRequest) -> str:
    context: Callable[..., BrowserContext] = request.getfixturevalue("context")
    npm(WEB, folder)
    (folder / "digit.js").write_text(code, encoding="utf-8")
    (maps,) = re.findall(r"<script type=\"importmap\">.*?</script>", code.replace("\n//", "\n"), flags=re.S)
    (folder / "index.html").write_text(f'<!doctype html><link rel="icon" href="data:,">{maps}', encoding="utf-8")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = context().new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        rows = page.evaluate(
            """async (images) => {
                const { classify } = await import("./digit.js");
                const rows = [];
                for (const image of images) rows.push([...(await classify(Uint8Array.from(image)))].join(" "));
                return rows.join("\\n");
            }""",
            np.frombuffer(pixels, np.uint8).reshape(-1, 784).tolist(),
        )
        server.shutdown()
    return str(rows)


def in_debian(
    source: str, standard: str, code: str, folder: Path, pixels: bytes, request: pytest.FixtureRequest
) -> str:
    debian: Debian13 = request.getfixturevalue("debian13")
    (folder / source).write_text(code, encoding="utf-8")
    (command,) = re.findall(rf"^// ((?:cc|c\+\+) {re.escape(source)} .*)$", code, flags=re.M)
    built = debian.run(command.replace(source, f"{standard} {SANITIZED} {source}"), folder)  # ISO: with trigraphs
    assert built.returncode == 0, built.stderr
    done = debian.run("./digit", folder, stdin=pixels)
    assert done.returncode == 0, done.stderr
    return done.stdout


WAYS: dict[str, Callable[[str, Path, bytes, pytest.FixtureRequest], str]] = {
    "python": in_python,
    "node": in_node,
    "js": in_browser,
    "cpp": partial(in_debian, "digit.cpp", "-std=c++17 -trigraphs"),
    "c": partial(in_debian, "digit.c", "-std=c11"),
}


def numbers(printed: str) -> NDArray[np.float64]:
    """Read what the code prints, `[N, 10]`."""
    return np.array([[float(number) for number in line.split()] for line in printed.splitlines()])


@pytest.mark.parametrize("language", WAYS)
def test_odd_names_of_a_file_and_its_ends(
    language: str, odd: Path, exports: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    golden = Reference.read(exports / "mlp" / "reference.npz")
    shutil.copy(odd, tmp_path)
    code = snippet(odd, language)
    assert all(line.isprintable() for line in code.splitlines())
    found = numbers(WAYS[language](code, tmp_path, golden.images[:IMAGES].tobytes(), request))
    assert found.shape == (IMAGES, 10)
    assert np.abs(found - golden.outputs["mlp-int8.onnx"][:IMAGES]).max() < 1e-2


def test_a_name_that_no_c_string_can_have_is_refused(odd: Path, run: Run, tmp_path: Path) -> None:
    proto = onnx.load(odd)
    for names in (proto.graph.output[0], *proto.graph.node):
        fields = [names.output] if hasattr(names, "op_type") else []
        for field in fields:
            field[:] = ["a\0b" if name == ENDS[1] else name for name in field]
    proto.graph.output[0].name = "a\0b"
    onnx.save(proto, tmp_path / "null.onnx")
    assert "null character" in run("snippet", tmp_path / "null.onnx", check=2).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("snippet", "NAME.onnx"),
        ("inspect", "NAME.tflite"),
        ("predict", "NAME.png", "--artifact", "x.onnx"),
        ("predict", "x.png", "--artifact", "NAME.onnx"),
        ("verify", "NAME"),
        ("verify", "x.onnx", "--reference", "NAME.npz"),
        ("verify", "x", "--junit", "NAME.xml"),
        ("bench", "NAME"),
        ("demo", "NAME"),
        ("report", "NAME"),
        ("report", "x", "--device", "NAME"),
        ("bundle", "x", "--out", "NAME.tar.gz"),
        ("export", "--from", "NAME.keras"),
        ("export", "--out", "NAME"),
        ("train", "--data", "NAME"),
        ("device", "run", "pi@board", "NAME"),
        ("device", "emulate", "rpi4", "NAME"),
    ],
    ids=" ".join,
)
def test_a_name_that_is_not_text_is_refused(arguments: tuple[str, ...], run: Run, tmp_path: Path) -> None:
    odd = os.fsdecode(b"bad\xff")
    done = run(*(argument.replace("NAME", odd) for argument in arguments), check=2, cwd=tmp_path)
    assert "is not UTF-8, which the runtimes cannot open. Rename it." in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_errors_show_control_characters_instead_of_sending_them(run: Run, tmp_path: Path) -> None:
    done = run("snippet", "no\x1b[31m\u202e\nne.onnx", check=2, cwd=tmp_path)
    assert done.stderr == "error: there is no file no\\x1b[31m\\u202e ne.onnx.\n"
