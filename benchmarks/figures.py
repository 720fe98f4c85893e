"""What the benchmarks do with their figures: a ratio of rounds that took turns, and the files in `results/`."""

import json
import re
import statistics
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mnist_edge.core.host import Host

RESULTS = Path(__file__).parent / "results"


def ratio(ours: Iterable[float], others: Iterable[float]) -> str:
    """Return the median of the rounds' ratios, with the lowest and the highest."""
    ratios = sorted(one / other for one, other in zip(ours, others, strict=True))
    return f"{statistics.median(ratios):.2f}× ({ratios[0]:.2f}–{ratios[-1]:.2f})"


LIST = re.compile(r"\[[-+.e\d\s,]*\]")  # samples, which take a line each otherwise


def write(name: str, content: dict[str, Any], table: str) -> None:
    """Write `results/NAME.json`, every figure with the host they were measured on, and `results/NAME.md`, the table."""
    about = {"host": asdict(Host.read()), **content}
    text = LIST.sub(lambda found: "".join(found.group().split()), json.dumps(about, indent=1))
    (RESULTS / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
    (RESULTS / f"{name}.md").write_text(table, encoding="utf-8")
    print(table)
