"""Without its server the page opens from its own cache, and from no other of the same origin."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect
from support.drawing import STROKES, choose, demo, draw, opened

POISON = """async (caches_) => {
    for (const name of caches_) {
        const cache = await caches.open(name);
        for (const path of ["./", "index.html", "files.json", "files/cnn-int8.onnx", "theirs"]) {
            await cache.put(path, new Response(`of ${name}`, { headers: { "Content-Type": "text/html" } }));
        }
    }
}"""
TEXT = "path => fetch(path).then((answer) => answer.text(), () => 'no answer')"
READY = "Ready to work offline."


def stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def ready(page: Page) -> None:
    expect(page.locator("#offline")).to_have_text(READY, timeout=30_000)


def test_caches_of_other_pages_of_the_origin_do_not_answer(
    context: Callable[..., BrowserContext], exports: Path, runtime: Path
) -> None:
    with demo(exports / "cnn") as (url, process):
        browser_context = context()
        before = browser_context.new_page()
        before.goto(f"{url}icon.svg")  # of this origin, and without a service worker yet
        before.evaluate(POISON, ["another-app", "mnist-edge"])
        page = opened(browser_context, url)
        ready(page)
        stop(process)
        page.goto(url)
        expect(page.locator("#file")).to_contain_text("kB", timeout=30_000)
        draw(page, STROKES[7])
        expect(page.locator("#digit")).to_have_text("7")
        choose(page, "cnn-int8.tflite")
        expect(page.locator("#digit")).to_have_text("7")
        kept = page.evaluate(
            "fetch('files/cnn-int8.onnx').then(async (answer) => (await answer.arrayBuffer()).byteLength)"
        )
        assert kept == (exports / "cnn" / "cnn-int8.onnx").stat().st_size
        assert page.evaluate(TEXT, "theirs") == "no answer"
        assert "another-app" in page.evaluate("caches.keys()")
        assert page.evaluate("caches.match('theirs').then((answer) => answer.text())") == "of another-app"


def test_another_export_at_the_same_port_replaces_what_was_kept(
    context: Callable[..., BrowserContext], exports: Path, runtime: Path
) -> None:
    browser_context = context()
    with demo(exports / "cnn") as (url, process):
        page = opened(browser_context, url)
        ready(page)
        (earlier,) = page.evaluate("caches.keys()")
        stop(process)
    with demo(exports / "mlp", "--port", url.rstrip("/").rpartition(":")[2]) as (again, process):
        assert again == url
        page.goto(url)
        expect(page.locator("#file")).to_contain_text("mlp-int8.onnx, ", timeout=30_000)
        ready(page)
        (later,) = page.evaluate("caches.keys()")
        assert later != earlier
        stop(process)
        page.goto(url)
        expect(page.locator("#file")).to_contain_text("mlp-int8.onnx, ", timeout=30_000)
        draw(page, STROKES[7])
        expect(page.locator("#digit")).to_have_text("7")
        page.evaluate(POISON, [earlier])  # a page of an earlier version that is still open
        assert page.evaluate(TEXT, "theirs") == "no answer"
