"""`bench`: the machine's state before and after, one CPU, and no figures from an emulation."""

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import faults
from support.commands import Run

from mnist_edge.bench import benchmark
from mnist_edge.bench.benchmark import BenchOptions, Latency, bench
from mnist_edge.bench.machine import State, describe_change, pinned, stability_warnings, usable_cpus
from mnist_edge.bench.processes import measured
from mnist_edge.core import host
from mnist_edge.core.errors import HostError
from mnist_edge.core.host import Host

PI = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "sys/class/thermal/thermal_zone0/temp": "48686\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    **{f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq": "600000\n" for cpu in range(4)},
    **{f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor": "ondemand\n" for cpu in range(4)},
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "1500000\n",
}
FINE = State("ondemand", 1500.0, 48.7, 0)
CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def tree(root: Path, **changed: str) -> Path:
    """What a Raspberry Pi 4's /proc and /sys say, with some files changed by the end of their names."""
    for name, text in PI.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(next((new for end, new in changed.items() if name.endswith(end)), text))
    return root


def test_a_pi_tells_its_state(tmp_path: Path) -> None:
    root = tree(tmp_path, get_throttled="50005\n")
    assert State.read(root=root) == State("ondemand", 600.0, 48.686, 0x50005)
    assert State.read(root=root).throttled_now == ("under-voltage", "throttled")
    assert State.read(root=root).throttled_since_boot == ("under-voltage", "throttled")
    assert replace(FINE, throttled=0xA0000).throttled_since_boot == ("frequency capped", "soft temperature limit")
    assert Host.read(root).cpu == "Raspberry Pi 4 Model B Rev 1.4"
    assert (Host.read(root).governor, Host.read(root).temperature) == ("ondemand", 48.686)


def test_amx_is_found_where_the_cpu_has_it(tmp_path: Path) -> None:
    assert not host.has_amx(tmp_path)
    for flags, has in (("avx512_vnni amx_bf16 amx_tile amx_int8", True), ("avx512_vnni amx_bf16", False)):
        (tmp_path / "proc").mkdir(exist_ok=True)
        (tmp_path / "proc/cpuinfo").write_text(f"model name\t: A CPU\nflags\t\t: fpu {flags}\n")
        assert host.has_amx(tmp_path) == has


def test_a_slow_int8_file_is_told_with_amx_as_the_cause_where_litert_uses_it(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"mlp-{precision}.{suffix}" for precision in ("float32", "int8") for suffix in ("onnx", "tflite")]
    report = bench(faults.only(exports / "mlp", tmp_path / "mlp", *names), BenchOptions(25, processes=1, starts=0))

    def slowed(latency: Latency) -> Latency:
        call, factor = latency.call, 1 if "float32" in latency.name else 100
        return replace(latency, call=replace(call, samples_ns=call.samples_ns * factor))

    report = replace(report, latencies=tuple(map(slowed, report.latencies)))
    for amx, causes in ((True, 1), (False, 0)):
        monkeypatch.setattr(host, "has_amx", lambda amx=amx: amx)
        onnx, tflite = report.slower_than_float()
        assert onnx.startswith("mlp-int8.onnx takes ")
        assert onnx.endswith("it is smaller, not faster.")
        assert tflite.count("AMX") == causes


def test_the_clock_is_the_given_cpus_or_the_fastest(tmp_path: Path) -> None:
    (tree(tmp_path) / "sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq").write_text("1800000\n")
    assert State.read(root=tmp_path).clock == 1800
    assert State.read(cpu=2, root=tmp_path).clock == 1800
    assert State.read(cpu=1, root=tmp_path).clock == 600


def test_a_pi_5_has_an_address_in_the_path(tmp_path: Path) -> None:
    path = tmp_path / "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"
    path.parent.mkdir(parents=True)
    path.write_text("80008\n")
    assert State.read(root=tmp_path).throttled_now == ("soft temperature limit",)


@pytest.mark.parametrize(
    ("script", "bits"),
    [
        ("echo throttled=0x50000", 0x50000),
        ("echo 'VCHI initialization failed'", None),
        ("echo 'error=1 error_msg=\"Command not registered\"'", None),
        ("exit 255", None),
    ],
)
def test_vcgencmd_is_asked_where_the_kernel_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, bits: int | None
) -> None:
    tool = tmp_path / "vcgencmd"
    tool.write_text(f'#!/bin/sh\n[ "$1" = get_throttled ] || exit 3\n{script}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert State.read(root=tmp_path / "nothing").throttled == bits


def test_what_the_system_does_not_tell_is_not_called_fine(tmp_path: Path) -> None:
    unknown = State.read(root=tmp_path)
    assert unknown == State(None, None, None, None)
    assert describe_change(unknown, unknown) == "not known here: governor, clock, temperature, throttling"
    assert describe_change(FINE, replace(FINE, temperature=61.2)) == (
        "governor ondemand; clock 1500 MHz; temperature 49 °C → 61 °C; throttling none"
    )
    assert not stability_warnings(unknown, FINE)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({}, {}, None),
        ({}, {"clock": 1490.0, "temperature": 79.0}, None),
        ({}, {"clock": 600.0}, "from 1500 to 600 MHz"),
        ({"clock": 2400.0}, {"clock": 2300.0}, "from 2400 to 2300 MHz"),
        ({"clock": 600.0}, {}, "from 600 to 1500 MHz"),
        ({}, {"governor": "powersave"}, "from ondemand to powersave"),
        ({}, {"throttled": 0x4}, ": throttled."),
        ({}, {"throttled": 0x50000}, ": under-voltage, throttled."),
        ({"throttled": 0x80008}, {"throttled": 0x80000}, ": soft temperature limit."),
        ({"throttled": 0x50000}, {"throttled": 0x50000}, None),  # before the run, not in it
        ({"throttled": 0x10000}, {"throttled": 0x50000}, ": throttled."),
        ({"throttled": None}, {"throttled": 0x50005}, None),
    ],
)
def test_a_changed_clock_and_throttling_are_told(
    before: dict[str, float], after: dict[str, float], said: str | None
) -> None:
    lines = stability_warnings(replace(FINE, **before), replace(FINE, **after))  # type: ignore[arg-type]
    assert len(lines) == (said is not None)
    assert all(said is not None and said in line for line in lines)


def test_throttling_of_earlier_is_shown_as_such() -> None:
    old = replace(FINE, throttled=0x50000)
    assert "throttling none; earlier since boot: under-voltage, throttled" in describe_change(old, old)


@pytest.mark.skipif(len(CPUS) < 2, reason="needs Linux and two CPUs")
def test_pinned_threads_old_and_new_stay_on_one_cpu_and_are_freed() -> None:
    seen: dict[str, set[int]] = {}
    inside, leave = threading.Event(), threading.Event()

    def old() -> None:
        inside.wait()
        seen["old"] = os.sched_getaffinity(0)
        leave.wait()
        seen["old after"] = os.sched_getaffinity(0)

    def new() -> None:
        seen["new"] = os.sched_getaffinity(0)

    threads = [threading.Thread(target=old)]
    threads[0].start()
    with pinned(CPUS[-1]):
        threads.append(threading.Thread(target=new))
        threads[1].start()
        threads[1].join()
        inside.set()
        while "old" not in seen:
            pass
        assert os.sched_getaffinity(0) == {CPUS[-1]}
    leave.set()
    threads[0].join()
    assert os.sched_getaffinity(0) == seen["old after"] == set(CPUS)
    assert seen["old"] == seen["new"] == {CPUS[-1]}


def test_a_cpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(HostError, match="cannot run on CPU 4096"), pinned(4096):
        pass


def test_a_system_that_cannot_pin_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    with pytest.raises(HostError, match="Leave --cpu out"), pinned(0):
        pass


def test_the_command_pins_keeps_the_time_and_records_the_state(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-float32.tflite", "mlp-int8.tflite")
    cpu = CPUS[-1]
    content = json.loads(run("bench", folder, "--duration", 0.05, "--cpu", cpu, "--json").stdout)
    assert content == json.loads((folder / "bench.json").read_text())
    assert (content["schema"], content["cpu"], content["duration_s"]) == (2, cpu, 0.05)
    for item in content["results"]:
        for kind in ("invoke", "call"):
            stats = item[kind]
            assert stats["runs"] >= 1000
            assert stats["seconds"] >= 0.05
            assert len(stats["samples_ns"]) == content["processes"] >= 20
            assert stats["p90_us"] == pytest.approx(np.percentile(np.concatenate(stats["samples_ns"]), 90) / 1000)
            assert stats["p50_interval_us"][0] <= stats["p50_us"] <= stats["p50_interval_us"][1]
        assert all(sum(map(len, item[kind]["samples_ns"])) >= least for kind, least in (("cold", 100), ("idle", 50)))
        assert len(item["start"]["seconds"]) == 3
        assert 10 * 2**20 < item["start"]["peak_bytes"] < 2**30
        assert (item["baseline"] is None) == ("float32" in item["file"])
    for state in (content["before"], content["after"]):
        assert {"governor", "clock", "temperature", "throttled"} <= set(state)
    done = run("bench", folder, "--runs", 25, "--cpu", cpu)
    assert f"on CPU {cpu}, interleaved" in done.stdout
    assert "State before → after: " in done.stdout


def test_warnings_reach_the_table_the_json_and_the_report(
    run: Run, exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mnist_edge.cli import commands

    before = State.read(root=tree(tmp_path / "pi"))
    after = State.read(root=tree(tmp_path / "hot pi", get_throttled="20002\n"))
    monkeypatch.setattr(benchmark, "measured", lambda *a: replace(measured(*a), before=before, after=after))
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-int8.tflite")
    commands.main(["bench", str(folder), "--runs", "25"], standalone_mode=False)
    shown = " ".join(capsys.readouterr().out.split())
    said = "the CPU was slowed down while it was measured: frequency capped."
    assert f"Note: {said}" in shown
    assert "throttling none → frequency capped" in shown
    content = json.loads((folder / "bench.json").read_text())
    assert any(line.startswith(said) for line in content["warnings"])
    assert content["before"]["throttled_now"] == []
    assert content["after"]["throttled_now"] == ["frequency capped"]
    run("report", folder)
    assert f"Note: {said}" in (folder / "report.md").read_text()
    assert f"Note: {said}" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--cpu 4096", "cannot run on CPU 4096. Choose one of"),
        ("--cpu 0 --threads 2", "2 threads would wait"),
        ("--runs 10 --duration 1", "exclude each other"),
        ("--duration 0", "--duration"),
    ],
)
def test_what_cannot_be_measured_is_one_line(run: Run, exports: Path, options: str, said: str) -> None:
    (line,) = run("bench", exports / "mlp", *options.split(), check=2).stderr.splitlines()
    assert said in line


def test_an_emulated_board_is_not_timed(run: Run, exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(host.EMULATED, "Raspberry Pi 4, Cortex-A72")
    assert Host.read().cpu == "Raspberry Pi 4, Cortex-A72"
    before = {path: path.stat().st_mtime_ns for path in (exports / "mlp").iterdir()}
    done = run("bench", exports / "mlp", check=2)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "emulated (Raspberry Pi 4, Cortex-A72)" in line
    assert {path: path.stat().st_mtime_ns for path in (exports / "mlp").iterdir()} == before
    with pytest.raises(HostError):
        bench(exports / "mlp", BenchOptions(runs=25))


def test_no_calls_are_no_measurement(exports: Path) -> None:
    for wrong in (BenchOptions(runs=0), BenchOptions(processes=0), BenchOptions(threads=0)):
        with pytest.raises(HostError, match="is 0; give 1 or more"):
            bench(exports / "mlp", wrong)


def test_operators_and_throughput(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-float32.onnx", "mlp-float32.tflite")
    both = ("--runtime", "default", "--runtime", "graph optimizations off")
    content = json.loads(run("bench", folder, "--runs", 25, "--operators", "--scaling", *both, "--json").stdout)
    onnx, unoptimized, tflite = content["results"]
    assert unoptimized["runtime"] == "graph optimizations off"
    assert not unoptimized["operators"]
    assert "default runtime alone" in content["skipped"]["mlp-float32.onnx (graph optimizations off), by operator"]
    kinds = [item["kind"] for item in onnx["operators"]]
    assert sum("Gemm" in kind for kind in kinds) == 2
    times = [item["microseconds"] for item in onnx["operators"]]
    assert times == sorted(times, reverse=True)
    assert times[0] > 0
    assert not tflite["operators"]
    assert "no profiler" in content["skipped"]["mlp-float32.tflite, by operator"]
    threads = [1 << at for at in range(len(onnx["throughput"]))]
    assert [item["threads"] for item in onnx["throughput"]] == threads
    assert all(item["batch"] == 1 and item["images_per_second"] > 0 for item in tflite["throughput"])


def test_threads_are_counted_on_the_cpus_that_this_process_may_use() -> None:
    with pinned(min(os.sched_getaffinity(0))):
        assert usable_cpus() == 1
