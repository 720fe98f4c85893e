"""Try `bench --compare` on files that did not change, and on a planted slowdown: false alarms, and slowdowns found.

    python benchmarks/compare.py [FOLDER] [--runs 21] [--planted 1.05]      (writes results/compare.json and .md)

`bench` runs again and again on the same files. Each run is compared with all before it: what is called slower or faster
is a false alarm. Then every raw sample of the later run is made longer by the planted share: what is not called slower
was not found. The samples are not kept, as the runs are those of `bench` itself; each run's levels are.
"""

import argparse
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

from figures import write

from mnist_edge.bench.benchmark import BenchOptions, BenchReport, bench
from mnist_edge.bench.timing import LatencyStats
from mnist_edge.core.typed_json import structure
from mnist_edge.report import json as as_json
from mnist_edge.report.changes import Verdict, compare
from mnist_edge.report.stored import BenchResults


def planted(report: BenchReport, factor: float) -> BenchResults:
    """Return a run as it is stored, with every sample of every file longer by a factor."""
    content: dict[str, Any] = as_json.bench(report)
    results = structure(content, BenchResults)
    for item, stored in zip(report.latencies, content["results"], strict=True):
        slower = [(samples * factor).astype(samples.dtype) for samples in item.call.processes]
        stored["call"] = as_json.stats(LatencyStats.joined(slower))
    return structure(content, BenchResults) if factor != 1 else results


def main() -> None:
    """Run bench, compare, and write the counts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=Path("exports/edge-micro"))
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--planted", type=float, default=1.05)
    options = parser.parse_args()
    reports = []
    for number in range(options.runs):
        print(f"run {number + 1} of {options.runs}", flush=True)
        reports.append(bench(options.folder, BenchOptions(duration=1.0, cold=0, idle=0, starts=0)))
    same: Counter[tuple[str, str]] = Counter()
    slower: Counter[tuple[str, str]] = Counter()
    caught: Counter[str] = Counter()
    stored = [planted(report, 1) for report in reports]
    longer = [planted(report, options.planted) for report in reports]
    pairs = [*combinations(range(options.runs), 2)]
    for old, new in pairs:
        for change in compare(stored[old], stored[new]).files:
            same[change.name, change.verdict] += 1
        for change in compare(stored[old], longer[new]).files:
            slower[change.name, change.verdict] += 1
            caught[change.name] += change.slower_by(options.planted - 1)
    share = f"{100 * (options.planted - 1):g} %"
    lines = [
        f"| file | p50 µs | pairs | false alarms | not clear | {share} slower: found | not clear | exit code 1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for item in reports[0].latencies:
        name = item.name
        false = same[name, Verdict.SLOWER] + same[name, Verdict.FASTER]
        counts = [len(pairs), false, same[name, Verdict.OPEN]]
        counts += [slower[name, Verdict.SLOWER], slower[name, Verdict.OPEN], caught[name]]
        lines.append(f"| `{name}` | {item.call.p50:.1f} | {' | '.join(map(str, counts))} |")
    levels = [{item.name: as_json.stats(item.call)["fast_us"] for item in report.latencies} for report in reports]
    write("compare", {"levels_us": levels, "planted": options.planted}, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
