"""The demo page and the example in a real headless Chromium, and the server that gives them."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from mnist_edge.artifact import Manifest
from mnist_edge.compare import gaps
from mnist_edge.demo import policy, site
from mnist_edge.errors import FolderError, IntegrityError
from mnist_edge.reference import Reference
from mnist_edge.tolerance import limits
from mnist_edge.web_runtime import FILES, WEB, install

ROOT = Path(__file__).parent.parent
CHROMIUM = "/usr/bin/chromium"
CHECKED = 200
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


@pytest.fixture(scope="module")
def runtime() -> Path:
    """The runtimes, by npm; here they are already installed or they are installed now."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not here: apt-get install npm")
    return install()


@pytest.fixture(scope="module")
def address(exports: Path, runtime: Path) -> Iterator[str]:
    with demo(exports / "cnn") as (url, _):
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).is_file():
        pytest.skip("Chromium is not here: apt-get install chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Make browser contexts in which any request outside loopback, and any error on the page, fails the test."""
    outside: list[str] = []
    errors: list[str] = []
    made: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        found = browser.new_context(**options)
        found.on("request", lambda request: outside.append(request.url))
        found.on("weberror", lambda error: errors.append(str(error.error)))
        made.append(found)
        return found

    yield make
    for found in made:
        found.close()
    assert outside
    assert {urlsplit(url).hostname for url in outside if not url.startswith(("data:", "blob:"))} == {"127.0.0.1"}
    assert not errors


@pytest.fixture
def page(context: Callable[..., BrowserContext], address: str) -> Page:
    return opened(context(viewport={"width": 1280, "height": 800}), address)


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


@pytest.mark.parametrize("digit", STROKES)
def test_a_digit_drawn_with_the_mouse_is_recognised(page: Page, digit: int) -> None:
    draw(page, STROKES[digit])
    expect(page.get_by_role("status").first).to_contain_text(f"{digit}, ")
    expect(page.locator("#digit")).to_have_text(str(digit))
    shares = page.get_by_role("list", name="Probability of each digit").get_by_role("listitem").all_inner_texts()
    figures = [float(text.split()[1]) for text in shares]
    assert int(np.argmax(figures)) == digit
    assert abs(sum(figures) - 100) < 1
    seen = page.locator("#seen").evaluate("seen => [...seen.getContext('2d').getImageData(0, 0, 28, 28).data]")
    pixels = page.evaluate("async () => [...(await import('./app.js')).pixelsDrawn()]")
    assert seen[::4] == pixels
    assert max(pixels) == 255
    assert float(page.locator("#latency").inner_text().split()[0]) > 0


def test_bars_move_while_drawing(page: Page) -> None:
    box = page.locator("#drawing").bounding_box()
    assert box is not None
    x, y, side = box["x"], box["y"], box["width"]
    page.mouse.move(x + 0.3 * side, y + 0.25 * side)
    page.mouse.down()
    page.mouse.move(x + 0.7 * side, y + 0.25 * side, steps=6)
    expect(page.locator("#digit")).not_to_have_text("no digit found")
    first = page.locator("#bars").inner_text()
    page.mouse.move(x + 0.45 * side, y + 0.82 * side, steps=6)
    expect(page.locator("#digit")).to_have_text("7")  # the button is still down
    assert page.locator("#bars").inner_text() != first
    page.mouse.up()


def test_200_reference_digits_through_every_file_that_is_served(page: Page, exports: Path) -> None:
    manifest = Manifest.read(exports / "cnn")
    golden = Reference.read(exports / "cnn" / "reference.npz")
    chosen = slice(None, None, len(golden.labels) // CHECKED)
    images = golden.images[chosen].reshape(-1, 784).tolist()
    assert len(images) == CHECKED
    names = page.get_by_role("radio").evaluate_all("radios => radios.map((radio) => radio.value)")
    assert names[0] == "cnn-int8.onnx"
    assert sorted(names) == sorted(item.path.name for item in manifest.artifacts)
    for artifact in manifest.artifacts:
        name = artifact.path.name
        choose(page, name)
        found = page.evaluate(
            """async (images) => {
                const { classify } = await import("./app.js");
                const rows = [];
                for (const image of images) rows.push([...(await classify(Uint8Array.from(image)))]);
                return rows;
            }""",
            images,
        )
        outputs, recorded = np.asarray(found, np.float32), golden.outputs[name][chosen]
        assert outputs.shape == recorded.shape
        allowed = limits(artifact.precision, golden.yardstick, gaps(golden.keras), same_runtime=False)
        host = next(limit.allowed for limit in allowed if limit.name == "host")
        same = outputs.argmax(axis=1) == recorded.argmax(axis=1)
        differences = np.abs(outputs - recorded).max(axis=1)
        print(f"{name}: largest difference {differences.max():.1e}, allowed {host:.1e}")
        assert (same & (differences <= host)).sum() == CHECKED, name


def choose(page: Page, name: str) -> None:
    """Switch to a file, as a mouse does: by its label."""
    page.locator("label").filter(has=page.get_by_role("radio", name=name, exact=True)).click()
    expect(page.locator("#file")).to_contain_text(f"{name}, ", timeout=30_000)
    expect(page.locator("#error")).to_be_empty()


def test_the_page_checks_itself_and_sees_wrong_outputs(context: Callable[..., BrowserContext], address: str) -> None:
    blocked = context(service_workers="block")
    page = opened(blocked, address)
    page.get_by_role("button", name="Check reference digits").click()
    expect(page.locator("#checked")).to_contain_text("cnn-int8.onnx: 200 of 200 as on the exporting host")
    reversed_rows = np.eye(10, dtype="<f4")[np.zeros(CHECKED, int)].tobytes()  # as if every digit had been a 0
    page.route("**/reference/cnn-int8.onnx", lambda route: route.fulfill(body=reversed_rows))
    page.get_by_role("button", name="Check reference digits").click()
    expect(page.locator("#checked")).to_contain_text("cnn-int8.onnx: 16 of 200", timeout=10_000)


@pytest.mark.parametrize("model", ["mlp", "mlp-wide", "cnn-wide"])
def test_other_networks_and_nothing_hard_coded(
    context: Callable[..., BrowserContext], exports: Path, runtime: Path, model: str
) -> None:
    with demo(exports / model) as (url, _):
        page = opened(context(), url)
        draw(page, STROKES[7])
        expect(page.locator("#digit")).to_have_text("7")
        page.get_by_role("button", name="Check reference digits").click()
        expect(page.locator("#checked")).to_contain_text(f"{model}-int8.onnx: 200 of 200")


def test_an_empty_or_cleared_field_has_no_digit(page: Page) -> None:
    expect(page.locator("#digit")).to_have_text("no digit found")
    expect(page.get_by_role("status").first).to_have_text("No digit found")
    ways: list[Callable[[], None]] = [
        lambda: page.get_by_role("button", name="Clear").click(),
        lambda: page.keyboard.press("Escape"),
    ]
    for clear in ways:
        draw(page, STROKES[1])
        expect(page.locator("#digit")).to_have_text("1")
        clear()
        expect(page.locator("#digit")).to_have_text("no digit found")
        assert page.locator("#bars").inner_text().count("–") == 10


def test_drawing_and_choosing_by_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("application", name="Drawing field")).to_be_focused()
    expect(page.locator("#pen")).to_be_visible()
    for _ in range(9):
        page.keyboard.press("ArrowUp")
    for _ in range(18):
        page.keyboard.press("Shift+ArrowDown")
    expect(page.locator("#digit")).to_have_text("1")
    page.keyboard.press("Escape")
    for key in [
        *["ArrowUp"] * 9,
        *["ArrowLeft"] * 6,
        " ",
        *["ArrowRight"] * 12,
        *["ArrowDown", "ArrowDown", "ArrowLeft"] * 9,
    ]:
        page.keyboard.press(key)
    page.keyboard.press(" ")
    page.keyboard.press("ArrowRight")  # the pen is up: this draws nothing
    expect(page.get_by_role("status").first).to_contain_text("7, ")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Clear")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("radio", name="cnn-int8.onnx")).to_be_focused()
    page.keyboard.press("ArrowRight")
    second = page.get_by_role("radio").nth(1)
    expect(second).to_be_checked()
    expect(page.locator("#file")).to_contain_text(f"{second.get_attribute('value')}, ", timeout=30_000)
    expect(page.locator("#digit")).to_have_text("7")


def test_what_a_screen_reader_is_told(page: Page) -> None:
    expect(page.get_by_role("heading", name="Draw a digit", level=1)).to_be_visible()
    field = page.get_by_role("application", name="Drawing field")
    expect(field).to_have_accessible_description(re.compile("arrows move the pen"))
    expect(page.get_by_role("img", name="The 28×28 picture")).to_be_visible()
    expect(page.get_by_role("radiogroup", name="The exported file").get_by_role("radio").first).to_be_checked()
    expect(page.get_by_role("list", name="Probability of each digit").get_by_role("listitem")).to_have_count(10)
    draw(page, STROKES[7])
    expect(page.get_by_role("status").first).to_contain_text("7, ")
    assert page.locator("html").get_attribute("lang") == "en"


def test_a_phone(context: Callable[..., BrowserContext], address: str) -> None:
    phone = context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2)
    page = opened(phone, address)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    bars = page.locator("#bars").bounding_box()
    box = page.locator("#drawing").bounding_box()
    assert bars is not None
    assert box is not None
    assert bars["y"] + bars["height"] <= 844  # drawing and answer without scrolling
    touch = phone.new_cdp_session(page)

    def send(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in places]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    (stroke,) = STROKES[7]
    send("touchStart", stroke[0])
    for (x, y), (u, v) in pairwise(stroke):
        for share in np.linspace(0, 1, 8).tolist():
            send("touchMove", (x + share * (u - x), y + share * (v - y)))
    send("touchEnd")
    expect(page.locator("#digit")).to_have_text("7")
    assert page.evaluate("scrollY") == 0
    page.get_by_role("button", name="Clear").tap()
    expect(page.locator("#digit")).to_have_text("no digit found")


def test_dark_mode_and_reduced_motion(context: Callable[..., BrowserContext], address: str) -> None:
    def looks(**options: Any) -> list[Any]:
        page = opened(context(**options), address)
        draw(page, STROKES[4])
        expect(page.locator("#digit")).to_have_text("4")
        style = "(element, name) => getComputedStyle(element).getPropertyValue(name)"
        background = page.locator("body").evaluate(style, "background-color")
        pixels = page.evaluate("async () => [...(await import('./app.js')).pixelsDrawn()]")
        motion = page.locator(".bar i").first.evaluate(style, "transition-property")
        return [sum(int(part) for part in background[4:-1].split(",")), pixels, motion]

    light, dark = looks(color_scheme="light"), looks(color_scheme="dark", reduced_motion="reduce")
    assert dark[0] < 150 < 600 < light[0]
    assert dark[1] == light[1]  # the network sees the same picture
    assert (light[2], dark[2]) == ("transform", "none")


def test_it_works_offline_once_loaded(context: Callable[..., BrowserContext], exports: Path, runtime: Path) -> None:
    with demo(exports / "cnn") as (url, process):
        browser_context = context()
        page = opened(browser_context, url)
        expect(page.locator("#offline")).to_have_text("Ready to work offline.", timeout=30_000)
        process.kill()
        process.wait()
        page.goto(url)
        expect(page.locator("#file")).to_contain_text("kB", timeout=30_000)
        draw(page, STROKES[7])
        expect(page.locator("#digit")).to_have_text("7")
        choose(page, "cnn-int8.tflite")  # one that was not opened before
        expect(page.locator("#digit")).to_have_text("7")


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


def test_a_cache_that_lost_a_file_is_mended(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    told: list[str] = []
    folder = install(told.append)
    assert len(told) == 1
    assert install(told.append) == folder
    assert len(told) == 1
    (folder / FILES[0]).unlink()
    assert install(told.append) == folder
    assert len(told) == 2
    for name in FILES:
        assert (folder / name).read_bytes() == (runtime / name).read_bytes()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_lock_files_carry_no_host_and_pin_what_is_asked_for() -> None:
    for folder in (WEB, ROOT / "examples" / "web"):
        text = (folder / "package-lock.json").read_text()
        assert "://" not in text
        lock, package = json.loads(text), json.loads((folder / "package.json").read_text())
        for name, version in package["dependencies"].items():
            assert lock["packages"][f"node_modules/{name}"]["version"] == version
        assert all("integrity" in entry for path, entry in lock["packages"].items() if path)


def test_the_wheel_carries_the_page(tmp_path: Path) -> None:
    import zipfile

    source = shutil.copytree(
        ROOT, tmp_path / "source", ignore=shutil.ignore_patterns(".git", "build", ".venv", "exports")
    )
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(source)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name.removeprefix("mnist_edge/web/") for name in archive.namelist() if "/web/" in name}
    assert names == {path.name for path in WEB.iterdir() if not path.name.startswith(".") and path.is_file()}


def test_the_example_runs_as_its_readme_says(
    context: Callable[..., BrowserContext], exports: Path, runtime: Path, tmp_path: Path
) -> None:
    example = shutil.copytree(
        ROOT / "examples" / "web",
        tmp_path / "examples" / "web",
        ignore=shutil.ignore_patterns("node_modules", "*.onnx"),
    )
    shutil.copytree(exports / "cnn", tmp_path / "exports" / "cnn")
    shutil.copytree(WEB, tmp_path / "mnist_edge" / "web")
    text = (example / "README.md").read_text()
    *setup, serve = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    for command in setup:
        subprocess.run(command, shell=True, cwd=example, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert serve.endswith(" 8001")
    command = serve.replace("python3", sys.executable).replace("8001", str(port))
    with subprocess.Popen(command.split(), cwd=example, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            page = context().new_page()
            wait_for(lambda: listens(port))
            page.goto(f"http://127.0.0.1:{port}/")
            for digit in (1, 7, 4):
                page.get_by_role("button", name="Clear").click()
                draw(page, STROKES[digit], "canvas")
                expect(page.get_by_role("status").first).to_contain_text(f"{digit} (", timeout=30_000)
        finally:
            server.kill()
