"""Measure the demo page in headless Chromium: how soon the first prediction comes, and what each file computes there.

    python benchmarks/web.py [FOLDER] [--rounds 10]      (after make export; on a machine that does nothing else)

Every round is a new browser context with an empty cache. A 7 is drawn as soon as the field takes strokes, while the
runtime still loads; the time is the page's own, from the start of the navigation to the first probabilities shown.
Then each file classifies the reference digits, as the page's button does. Writes results/web.json and results/web.md.
"""

import argparse
import json
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect, sync_playwright

from mnist_edge.host import Host

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
sys.path.insert(0, str(ROOT / "tests"))

from drawing import STROKES, choose, demo, draw, opened  # noqa: E402


def first_prediction(browser: Browser, url: str) -> float:
    """Give the seconds from navigation to the first probabilities."""
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


def markdown(result: dict[str, Any]) -> str:
    """Give the figures as text and a table."""
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
            "host": asdict(Host.read()),
            "browser": f"Chromium {browser.version}",
            "first_prediction": seconds,
            "files": files(browser, url),
        }
        browser.close()
    (RESULTS / "web.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "web.md").write_text(markdown(result), encoding="utf-8")
    print(markdown(result))


if __name__ == "__main__":
    main()
