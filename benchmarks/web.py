"""Measure the demo page in headless Chromium: how soon the first prediction comes, and what each file computes there.

    python benchmarks/web.py [FOLDER] [--rounds 10]      (after make export; on a machine that does nothing else)

Every round is a new browser context with an empty cache. A 7 is drawn as soon as the field takes strokes, while the
runtime still loads; the time is the page's own, from the start of the navigation to the first probabilities shown.
Then each file classifies the reference digits, as the page's button does. Writes results/web.json, results/web.md and
the README's picture of the page, docs/demo.png.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
from figures import write
from playwright.sync_api import Browser, expect, sync_playwright
from scipy.interpolate import CubicSpline

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.drawing import STROKES, choose, demo, draw, opened  # noqa: E402


def first_prediction(browser: Browser, url: str) -> float:
    """Return the seconds from navigation to the first probabilities."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(url, wait_until="commit")
    expect(page.locator("#bars li")).to_have_count(10)
    draw(page, STROKES[7])
    expect(page.locator("#digit")).to_have_text("7", timeout=30_000)
    mark = page.evaluate("performance.getEntriesByName('first-prediction')[0].startTime")
    context.close()
    return float(mark) / 1000


def files(browser: Browser, url: str) -> list[dict[str, Any]]:
    """Check every file on the reference digits; each keeps the page's median time of a call."""
    context = browser.new_context()
    page = opened(context, url)
    found = []
    for name in page.get_by_role("radio").evaluate_all("radios => radios.map((radio) => radio.value)"):
        choose(page, name)
        result = page.evaluate("async () => (await import('./app.js')).check()")
        times = page.evaluate(
            """async () => {
                const { classify } = await import("./app.js");
                for (let call = 0; call < 200; call++) await classify(new Uint8Array(784).fill(call));
                return document.getElementById("latency").textContent;
            }"""
        )
        found.append({**result, "milliseconds": float(times.split()[0])})
    context.close()
    return found


def picture(browser: Browser, url: str, path: Path) -> None:
    """Draw what may be a 4 or a 9, smoothly as a hand does, and save what the page shows."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = opened(context, url)
    corners = [(0.48, 0.23), (0.38, 0.26), (0.34, 0.42), (0.48, 0.54), (0.63, 0.42), (0.66, 0.24), (0.62, 0.5)]
    corners.append((0.58, 0.82))
    curve = CubicSpline(range(len(corners)), corners)(np.linspace(0, len(corners) - 1, 60))
    draw(page, [[(float(x), float(y)) for x, y in curve]])
    page.get_by_role("button", name="Check reference digits").click()
    expect(page.locator("#checked")).to_contain_text("200 of 200")
    expect(page.locator("#offline")).to_contain_text("offline", timeout=30_000)
    page.wait_for_timeout(300)  # the bars come to rest
    path.parent.mkdir(exist_ok=True)
    page.screenshot(path=path)
    context.close()


def markdown(result: dict[str, Any]) -> str:
    """Return the figures as text and a table."""
    seconds = sorted(result["first_prediction"])
    middle = statistics.median(seconds)
    lines = [
        f"First prediction {middle:.2f} s after navigation ({seconds[0]:.2f}–{seconds[-1]:.2f}, {len(seconds)} loads "
        f"with an empty cache, {result['browser']}).",
        "",
        "| file | as on the exporting host | largest difference | allowed | time of a call, ms |",
        "|---|---|---|---|---|",
    ]
    for row in result["files"]:
        same = f"{row['same']} of {row['count']}"
        difference = f"{row['largest']:.1e} | {row['allowed']:.1e}"
        lines.append(f"| `{row['name']}` | {same} | {difference} | {row['milliseconds']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("exports/cnn"))
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with sync_playwright() as playwright, demo(options.folder) as (url, _):
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        seconds = [first_prediction(browser, url) for _ in range(options.rounds)]
        result = {
            "browser": f"Chromium {browser.version}",
            "first_prediction": seconds,
            "files": files(browser, url),
        }
        picture(browser, url, ROOT / "docs" / "demo.png")
        browser.close()
    write("web", result, markdown(result))


if __name__ == "__main__":
    main()
