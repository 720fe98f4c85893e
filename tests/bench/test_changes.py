"""`bench --compare`: what is told of two runs, and the statistics under it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import faults
from support.commands import Run

from mnist_edge.bench.caches import largest_cache, sweeper
from mnist_edge.bench.statistics import fast_level, interval, ratio
from mnist_edge.bench.timing import LatencyStats
from mnist_edge.core.errors import HostError
from mnist_edge.core.host import Host
from mnist_edge.report.changes import Verdict, compare
from mnist_edge.report.stored import BenchResults, StoredLatency, StoredStats


def stats(level: float, processes: int = 10, disturbed: int = 0, seed: int = 0) -> LatencyStats:
    """Samples around a level in µs; in some processes other work makes most calls slower."""
    rng = np.random.default_rng(seed)
    parts = [level * (1 + np.abs(rng.normal(0, 0.01, 500)) + rng.normal(0, 0.003)) for _ in range(processes)]
    for part in parts[:disturbed]:
        part[: len(part) * 9 // 10] *= 1.8
    return LatencyStats.joined([(part * 1000).astype(np.int64) for part in parts])


def stored(level: float, cpu: str = "a", control: float = 4.0, threads: int = 1, **options: Any) -> BenchResults:
    """A run of `bench` over one file."""

    def figures(found: LatencyStats) -> StoredStats:
        return StoredStats(found.p50, found.p90, found.p99, *fast_level(found), found.runs)

    call = figures(stats(level, **options))
    file = StoredLatency("cnn-int8.onnx", "0" * 64, call, call, None, None, "default", 1)
    host = replace(Host.read(), cpu=cpu)
    versions = {"numpy": "2"}
    return BenchResults("cnn", (file,), (), host, (), threads, versions, figures(stats(control, seed=9)))


def test_the_fast_level_is_not_moved_by_other_work_and_the_median_is() -> None:
    quiet, busy = stats(10), stats(10, disturbed=6)
    assert busy.p50 > 1.1 * quiet.p50
    assert fast_level(busy)[0] == pytest.approx(fast_level(quiet)[0], rel=0.01)


def test_intervals_hold_the_median_of_all_processes() -> None:
    held = 0
    for seed in range(40):
        low, high = interval(stats(10, seed=seed))
        held += low <= 10 * 1.0067 <= high  # the median of |normal| is 0.67 deviations
    assert held >= 33
    low, high = interval(stats(10, processes=1))
    assert 10 < low < high < 10.3


def test_a_ratio_of_the_same_processes_is_closer_than_its_parts() -> None:
    rng = np.random.default_rng(0)
    moods = [part * (1 + rng.uniform(0, 0.5)) for part in stats(10).processes]
    one = LatencyStats.joined([part.astype(np.int64) for part in moods])
    other = LatencyStats.joined([(part * 2).astype(np.int64) for part in moods])
    value, low, high = ratio(other, one)
    assert low <= value <= high
    assert 1.99 < low < high < 2.01
    assert interval(one)[1] / interval(one)[0] > 1.05


@pytest.mark.parametrize(
    ("new", "verdict"),
    [
        ({"level": 10.0, "seed": 1}, Verdict.SAME),
        ({"level": 10.5, "seed": 1}, Verdict.SLOWER),
        ({"level": 9.5, "seed": 1}, Verdict.FASTER),
        ({"level": 10.5, "seed": 1, "control": 4.2}, Verdict.SAME),  # the host itself is slower
        ({"level": 10.0, "seed": 1, "disturbed": 4}, Verdict.SAME),
        ({"level": 10.5, "seed": 1, "disturbed": 4}, Verdict.SLOWER),
    ],
)
def test_verdicts(new: dict[str, Any], verdict: Verdict) -> None:
    (change,) = compare(stored(10), stored(**new)).files
    assert change.verdict is verdict
    assert change.slower_by(0.05) == (verdict is Verdict.SLOWER)
    assert not change.slower_by(0.2)


def test_nothing_is_said_where_other_work_left_a_figure_open() -> None:
    uneven = LatencyStats.joined([part * (10 + at) // 10 for at, part in enumerate(stats(10).processes)])
    level, share = fast_level(uneven)
    assert share > 0.05
    new = stored(10)
    call = replace(new.results[0].call, fast_us=level, fast_open=share)
    (change,) = compare(stored(10), replace(new, results=(replace(new.results[0], call=call),))).files
    assert change.verdict is Verdict.OPEN
    assert change.margin == share  # shown as such, not as the 2.5 % of a quiet run


def test_false_alarms_and_planted_slowdowns() -> None:
    verdicts = [compare(stored(10, seed=seed), stored(10, seed=seed + 100)).files[0].verdict for seed in range(40)]
    assert verdicts.count(Verdict.SAME) >= 39
    verdicts = [compare(stored(10, seed=seed), stored(10.5, seed=seed + 100)).files[0].verdict for seed in range(40)]
    assert verdicts.count(Verdict.SLOWER) >= 39


def test_runs_of_two_hosts_are_compared_only_when_forced() -> None:
    with pytest.raises(HostError, match=r"another host, b .*--force"):
        compare(stored(10, cpu="b"), stored(10))
    with pytest.raises(HostError, match="had 2 thread"):
        compare(stored(10, threads=2), stored(10))
    changes = compare(stored(10, cpu="b"), stored(10), force=True)
    assert "another host" in changes.notes[0]
    old = replace(stored(10), versions={"numpy": "1"})
    assert compare(old, stored(10)).notes == ("other versions: numpy 1 → 2",)


def test_the_command_compares_and_fails(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-int8.onnx")
    old = tmp_path / "old.json"
    old.write_text(run("bench", folder, "--runs", 50, "--json").stdout)
    done = run("bench", folder, "--runs", 50, "--compare", old)
    assert "Since old.json" in done.stdout
    content = json.loads(old.read_text())
    for item in content["results"]:
        item["call"]["fast_us"] /= 3
    content["control"]["fast_us"] *= 2
    old.write_text(json.dumps(content))
    arguments = ("bench", folder, "--runs", 50, "--compare", old, "--fail-if-slower", "5%", "--json")
    changes = json.loads(run(*arguments, check=1).stdout)["changes"]
    assert {change["verdict"] for change in changes} == {"slower"}
    content["host"]["cpu"] = "another"
    old.write_text(json.dumps(content))
    before = (folder / "bench.json").read_bytes()
    assert "another host" in run("bench", folder, "--runs", 25, "--compare", old, check=2).stderr
    assert (folder / "bench.json").read_bytes() == before  # it was said before anything was measured


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--fail-if-slower 5%", "--compare"),
        ("--compare nothing.json", "error: there is no file nothing.json. Run mnist-edge bench again"),
        ("--compare {folder}/manifest.json", "schema 1"),
        ("--compare {folder}/manifest.json --fail-if-slower fast", "no percentage"),
        ("--runtime nothing", "have no runtime nothing"),
    ],
)
def test_bad_comparisons_are_one_line(run: Run, exports: Path, options: str, said: str) -> None:
    (line,) = run(
        "bench", exports / "mlp", *options.format(folder=exports / "mlp").split(), check=2
    ).stderr.splitlines()
    assert said in line


def test_the_largest_cache_is_swept(tmp_path: Path) -> None:
    for index, size in enumerate(("32K", "512K", "4M")):
        path = tmp_path / f"sys/devices/system/cpu/cpu0/cache/index{index}/size"
        path.parent.mkdir(parents=True)
        path.write_text(f"{size}\n")
    assert largest_cache(tmp_path) == 4 * 2**20
    assert largest_cache(tmp_path / "nothing") is None
    sweeper(tmp_path)()
