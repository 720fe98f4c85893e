"""The demo page and the network: its policy, offline, from another device, what fails; and the example, served."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from support.drawing import STROKES, choose, demo, draw, listens, opened, wait_for

from mnist_edge.web.runtime import STATIC

ROOT = Path(__file__).parents[2]


def test_its_policy_lets_nothing_out_and_no_text_become_code(page: Page) -> None:
    violated = """async (act) => {
        const told = new Promise((tell) => {
            document.addEventListener("securitypolicyviolation", (event) => tell(event.effectiveDirective));
            setTimeout(() => tell("nothing"), 5000);
        });
        setTimeout({ fetch: () => fetch("http://localhost:9/").catch(() => 0), eval: "document.title" }[act]);
        return await told;
    }"""
    assert page.evaluate(violated, "fetch") == "connect-src"
    assert page.evaluate(violated, "eval") == "script-src"


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


def test_over_plain_http_from_another_device(browser: Browser, exports: Path, runtime: Path) -> None:
    context = browser.new_context()
    with demo(exports / "cnn", "--host", "0.0.0.0") as (url, _):
        page = opened(context, f"http://phone.test:{urlsplit(url).port}/")
        assert not page.evaluate("isSecureContext")
        expect(page.locator("#offline")).to_have_text("Offline use needs localhost or https.")
        for name in ("cnn-int8.onnx", "cnn-int8.tflite"):
            choose(page, name)
            page.get_by_role("button", name="Check reference digits").click()
            expect(page.locator("#checked")).to_contain_text(f"{name}: 200 of 200")
        context.close()


def test_a_file_that_fails_leaves_no_answer_and_the_next_one_works(browser: Browser, address: str) -> None:
    context = browser.new_context(service_workers="block")
    page = opened(context, address)
    draw(page, STROKES[7])
    expect(page.locator("#digit")).to_have_text("7")
    page.route("**/files/cnn-float32.onnx", lambda route: route.fulfill(status=500))
    page.locator("label").filter(has=page.get_by_role("radio", name="cnn-float32.onnx", exact=True)).click()
    expect(page.locator("#file")).to_have_text("cnn-float32.onnx could not be opened.")
    expect(page.locator("#error")).to_contain_text("500")
    expect(page.locator("#digit")).to_have_text("no answer")
    assert page.locator("#bars").inner_text().count("–") == 10
    check = page.get_by_role("button", name="Check reference digits")
    expect(check).to_be_disabled()
    page.keyboard.press("Escape")
    expect(page.locator("#hint")).to_be_visible()
    choose(page, "cnn-int8.onnx")
    draw(page, STROKES[1])
    expect(page.locator("#digit")).to_have_text("1")
    question = page.locator("#checked").inner_text()
    page.route("**/reference/images", lambda route: route.fulfill(status=500))
    check.click()
    expect(page.locator("#error")).to_contain_text("500")
    expect(page.locator("#checked")).to_have_text(question)
    context.close()


def test_a_late_failure_of_another_file_is_not_told(browser: Browser, address: str) -> None:
    context = browser.new_context(service_workers="block")
    page = opened(context, address)
    held: list[Route] = []
    page.route("**/files/cnn-float32.onnx", lambda route: held.append(route))
    page.locator("label").filter(has=page.get_by_role("radio", name="cnn-float32.onnx", exact=True)).click()
    expect(page.get_by_role("button", name="Check reference digits")).to_be_disabled()
    choose(page, "cnn-float16.onnx")
    with page.expect_response("**/files/cnn-float32.onnx"):
        held[0].fulfill(status=500)
    page.wait_for_timeout(300)
    expect(page.locator("#error")).to_be_empty()
    expect(page.locator("#file")).to_contain_text("cnn-float16.onnx, ")
    draw(page, STROKES[7])
    expect(page.locator("#digit")).to_have_text("7")
    context.close()


def test_caches_of_other_pages_are_left_alone(context: Callable[..., BrowserContext], address: str) -> None:
    page = opened(context(), address)
    expect(page.locator("#offline")).to_have_text("Ready to work offline.", timeout=30_000)
    (ours,) = page.evaluate("caches.keys()")
    page.evaluate("Promise.all(['another-app', 'mnist-edge-old'].map((name) => caches.open(name)))")
    page.reload()
    expect(page.locator("#offline")).to_have_text("Ready to work offline.", timeout=30_000)
    assert sorted(page.evaluate("caches.keys()")) == ["another-app", ours]


def test_the_example_runs_as_its_readme_says(
    context: Callable[..., BrowserContext], exports: Path, runtime: Path, tmp_path: Path
) -> None:
    example = shutil.copytree(
        ROOT / "examples" / "web",
        tmp_path / "examples" / "web",
        ignore=shutil.ignore_patterns("node_modules", "*.onnx"),
    )
    shutil.copytree(exports / "cnn", tmp_path / "exports" / "cnn")
    shutil.copytree(STATIC, tmp_path / "mnist_edge" / "web" / "static")
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
