"""The server of the demo page, what it refuses, and how its runtimes are fetched."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.drawing import demo, wait_for

from mnist_edge.core.contract import IOOptions, Precision
from mnist_edge.core.errors import FolderError, IntegrityError
from mnist_edge.core.manifest import Manifest
from mnist_edge.core.optional import installed
from mnist_edge.data.dataset import Dataset
from mnist_edge.export import export_folder
from mnist_edge.export.inputs import load_inputs
from mnist_edge.export.plan import ExportPlan
from mnist_edge.web.runtime import FILES, STATIC, install
from mnist_edge.web.site import policy, site

pytestmark = pytest.mark.extra("a runtime from npm")

ROOT = Path(__file__).parents[2]


def test_types_and_headers_and_nothing_but_the_site(address: str, exports: Path) -> None:
    connection = http.client.HTTPConnection(urlsplit(address).netloc)

    def get(path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    types = {
        "/": "text/html; charset=utf-8",
        "/app.js": "text/javascript; charset=utf-8",
        "/style.css": "text/css; charset=utf-8",
        "/icon.svg": "image/svg+xml",
        "/files.json": "application/json",
        "/files/cnn-int8.onnx": "application/octet-stream",
        **{f"/node_modules/{name}": "application/wasm" for name in FILES if name.endswith(".wasm")},
        **{f"/node_modules/{name}": "text/javascript; charset=utf-8" for name in FILES if name.endswith("js")},
    }
    for path, kind in types.items():
        status, headers, body = get(path)
        assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, kind, "no-cache"), path
        assert headers["Content-Security-Policy"].startswith(
            "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' "
        )
        assert int(headers["Content-Length"]) == len(body) > 0
        assert get(path, **{"If-None-Match": headers["ETag"]})[::2] == (304, b"")
        assert get(path, "HEAD")[::2] == (200, b"")
    assert get("/files/cnn-int8.onnx")[2] == (exports / "cnn" / "cnn-int8.onnx").read_bytes()
    for path in (
        "/files/", "/files", "/files/manifest.json", "/files/model.keras", "/files/../manifest.json", "/package.json",
        "/../pyproject.toml", "/%2e%2e/pyproject.toml", "/files/%2e%2e%2fmanifest.json", "//etc/passwd",
        "/node_modules/", "/" + "../" * 20 + "etc/passwd",
    ):  # fmt: skip
        status, _, body = get(path)
        assert (status, body) == (404, b"There is nothing here.\n"), path
    assert get("/", "POST")[0] == 501


def test_what_is_changed_or_not_for_a_browser_is_not_served(exports: Path, runtime: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    pages = site(folder, runtime)
    assert "'sha256-" in policy(pages)
    path = folder / "mlp-float32.tflite"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(IntegrityError, match=r"mlp-float32\.tflite was changed"):
        site(folder, runtime)
    path.write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["artifacts"]:
        entry["contract"]["output"]["name"] = "logits"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FolderError, match="no file for the page"):
        site(folder, runtime)


def test_on_loopback_another_sites_name_is_refused(address: str) -> None:
    port = urlsplit(address).port

    def status(host: str) -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("GET", "/files.json", headers={"Host": host})
            return connection.getresponse().status

    assert [status(f"{name}:{port}") for name in ("127.0.0.1", "localhost", "LocalHost", "[::1]")] == [200] * 4
    for host in (f"evil.example:{port}", f"localhost.evil.example:{port}", "localhost:1", "localhost", ""):
        assert status(host) == 421, host


def test_files_that_no_browser_runs_are_left_out(exports: Path, mnist: Dataset, runtime: Path, tmp_path: Path) -> None:
    if not installed("tflite_micro"):
        pytest.skip("TensorFlow Lite Micro is not here: pip install '.[mcu]'")
    folder = tmp_path / "mlp"
    folder.mkdir()
    for name in ("model.keras", "training.json"):
        shutil.copy(exports / "mlp" / name, folder)
    pairs = (("tflite", Precision.INT8), ("c", Precision.INT8))
    export_folder(load_inputs(folder, mnist), ExportPlan(pairs, IOOptions(full_integer=True)))
    export_folder(load_inputs(folder, mnist), ExportPlan((("tflite", Precision.FLOAT32),), IOOptions(batch=None)))
    with pytest.raises(FolderError, match=r"no file for the page, .* no int8 input or output\."):
        site(folder, runtime)
    export_folder(load_inputs(folder, mnist), ExportPlan((("onnx", Precision.FLOAT32),), IOOptions(batch=None)))
    assert len(Manifest.read(folder).artifacts) == 4
    files = json.loads(site(folder, runtime)["files.json"].content)["files"]
    assert [file["name"] for file in files] == ["mlp-float32-anybatch.onnx"]


def test_the_version_changes_with_what_files_json_says(exports: Path, runtime: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")

    def version() -> str:
        return str(json.loads(site(folder, runtime)["files.json"].content)["version"])

    before = version()
    assert version() == before
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "model": "another"}))
    assert version() != before


def test_loopback_unless_asked_and_a_warning_where_asked(exports: Path, runtime: Path) -> None:
    with demo(exports / "mlp") as (url, process):
        assert urlsplit(url).hostname == "127.0.0.1"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read() == "\nStopped.\n"
    with demo(exports / "mlp", "--host", "0.0.0.0") as (url, process):
        assert urlsplit(url).hostname not in ("0.0.0.0", "", None)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read().startswith("Warning: whoever is in this network can open the page")


def test_open_starts_the_browser(exports: Path, runtime: Path, tmp_path: Path) -> None:
    script, told = tmp_path / "browser", tmp_path / "told"
    script.write_text(f'#!/bin/sh\necho "$1" > {told}\n')
    script.chmod(0o755)
    with demo(exports / "mlp", "--open", BROWSER=str(script)) as (url, _):
        wait_for(lambda: told.exists() and told.read_text() != "")
        assert told.read_text() == f"{url}\n"


def test_one_line_and_exit_2(run: Callable[..., Any], exports: Path, runtime: Path, tmp_path: Path) -> None:
    def fails(*arguments: object, **options: Any) -> str:
        done = run("demo", *arguments, check=2, **options)
        assert done.stdout == ""
        *_, line = done.stderr.splitlines()
        assert line.startswith("error: ")
        return str(line)

    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert f"127.0.0.1, port {port}: address already in use" in fails(exports / "mlp", "--port", port)
    assert "a..b, port 8000: " in fails(exports / "mlp", "--host", "a..b")
    assert "no such host.example" in fails(exports / "mlp", "--host", "no such host.example")
    assert "no manifest.json" in fails(tmp_path)
    empty = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PATH": str(tmp_path)}
    assert "npm is not installed" in fails(exports / "mlp", env=empty)
    npm = shutil.which("npm")
    assert npm is not None
    offline = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path),
        "npm_config_cache": str(tmp_path),
        "npm_config_offline": "true",
    }
    assert "npm could not fetch the page's runtimes" in fails(exports / "mlp", env=offline)
    assert not list((tmp_path / "mnist-edge").iterdir())  # nothing half-written


def test_a_cache_with_lost_and_empty_files_is_mended(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    told: list[str] = []
    folder = install(told.append)
    assert len(told) == 1
    assert install(told.append) == folder
    assert len(told) == 1
    first, second, *_ = FILES
    (folder / first).unlink()
    (folder / second).write_bytes(b"")
    assert install(told.append) == folder
    assert len(told) == 2
    for name in FILES:
        assert (folder / name).read_bytes() == (runtime / name).read_bytes()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_lock_files_carry_no_host_and_pin_what_is_asked_for() -> None:
    for folder in (STATIC, ROOT / "examples" / "web", ROOT / "examples" / "node"):
        text = (folder / "package-lock.json").read_text()
        assert "://" not in text
        lock, package = json.loads(text), json.loads((folder / "package.json").read_text())
        for name, version in package["dependencies"].items():
            assert lock["packages"][f"node_modules/{name}"]["version"] == version
        assert all("integrity" in entry for path, entry in lock["packages"].items() if path)


def test_the_wheel_carries_the_page(tmp_path: Path) -> None:
    source = shutil.copytree(
        ROOT, tmp_path / "source", ignore=shutil.ignore_patterns(".git", "build", ".venv", "exports")
    )
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name.removeprefix("mnist_edge/web/static/") for name in archive.namelist() if "/static/" in name}
    assert names == {path.name for path in STATIC.iterdir() if not path.name.startswith(".") and path.is_file()}
