"""The demo page in a real headless Chromium: what it recognizes, and for whom it can be used."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, expect
from support import faults
from support.drawing import STROKES, choose, demo, draw, opened

from mnist_edge.core.manifest import FileEntry, Manifest
from mnist_edge.core.metrics import logit_margins
from mnist_edge.core.reference import Reference
from mnist_edge.verify.tolerances import tolerances_of

CHECKED = 200


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
    expect(page.locator("#digit")).to_have_text("no digit found")  # a dash is none yet
    expect(page.locator("#why")).to_have_text("nothing that stands out could be one digit.")
    dash = page.locator("#bars").inner_text()
    page.mouse.move(x + 0.45 * side, y + 0.82 * side, steps=6)
    expect(page.locator("#digit")).to_have_text("7")  # the button is still down
    seven = page.locator("#bars").inner_text()
    page.mouse.move(x + 0.75 * side, y + 0.82 * side, steps=6)
    expect(page.locator("#digit")).to_have_text("2")
    assert len({dash, seven, page.locator("#bars").inner_text()}) == 3
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
        allowed = tolerances_of(
            artifact.precision, golden.keras_variation, logit_margins(golden.keras), same_runtime=False
        )
        host = next(limit.allowed for limit in allowed if limit.name == "host")
        same = outputs.argmax(axis=1) == recorded.argmax(axis=1)
        differences = np.abs(outputs - recorded).max(axis=1)
        print(f"{name}: largest difference {differences.max():.1e}, allowed {host:.1e}")
        assert (same & (differences <= host)).sum() == CHECKED, name


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
    expect(page.locator("#digit")).to_have_text("")
    expect(page.get_by_role("status").first).to_have_text("")
    ways: list[Callable[[], None]] = [
        lambda: page.get_by_role("button", name="Clear").click(),
        lambda: page.keyboard.press("Escape"),
    ]
    for clear in ways:
        draw(page, STROKES[1])
        expect(page.locator("#digit")).to_have_text("1")
        clear()
        expect(page.locator("#digit")).to_have_text("")
        expect(page.locator("#why")).to_have_text("")
        assert page.locator("#bars").inner_text().count("–") == 10


def test_drawing_and_choosing_by_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("application", name="Drawing field")).to_be_focused()
    expect(page.locator("#pen")).to_be_visible()
    for _ in range(9):
        page.keyboard.press("ArrowUp")
    assert page.evaluate("async () => (await import('./app.js')).pixelsDrawn()") is None  # the pen is up
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
    for _ in range(2):  # the tap right after a fast stroke counts, too
        page.get_by_role("button", name="Clear").tap()
        expect(page.locator("#digit")).to_have_text("")
        send("touchStart", (0.5, 0.25))
        send("touchMove", (0.5, 0.45))
        send("touchMove", (0.5, 0.75))
        send("touchEnd")
        expect(page.locator("#digit")).to_have_text(re.compile(r"^\d$"))


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


def test_a_name_with_signs_that_addresses_give_a_meaning(
    context: Callable[..., BrowserContext], exports: Path, runtime: Path, tmp_path: Path
) -> None:
    """The page loads such a file, checks it, and keeps it for offline use."""
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-int8.onnx")
    odd = '50% "a"#b?c&d.onnx'
    manifest, golden = Manifest.read(folder), Reference.read(folder / "reference.npz")
    (artifact,) = manifest.artifacts
    artifact.path.rename(folder / odd)
    outputs, digests = {odd: golden.outputs["mlp-int8.onnx"]}, {odd: golden.sha256["mlp-int8.onnx"]}
    replace(golden, outputs=outputs, sha256=digests).write(folder / "reference.npz")
    files = {**manifest.files, "reference.npz": FileEntry.of(folder / "reference.npz")}
    replace(manifest, artifacts=(replace(artifact, path=folder / odd),), files=files).write()
    with demo(folder) as (url, _):
        page = opened(context(), url)
        draw(page, STROKES[7])
        expect(page.locator("#digit")).to_have_text("7")
        page.get_by_role("button", name="Check reference digits").click()
        expect(page.locator("#checked")).to_contain_text("200 of 200")
        expect(page.locator("#offline")).to_have_text("Ready to work offline.", timeout=30_000)
