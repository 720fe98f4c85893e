"""Changes of an export folder: one process at a time, old or new at every instant, and nothing is left behind."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import fault_points
import pytest
from support.commands import ROOT

from mnist_edge.core.errors import LockError
from mnist_edge.core.files import atomic_write, temporary_folder
from mnist_edge.core.lock import LOCK, locked
from mnist_edge.core.manifest import Manifest
from mnist_edge.core.publish import PUBLISHING, changing, publish, reading_folder, settled
from mnist_edge.predict import choose

HOLD = """
import sys, time
from pathlib import Path
from mnist_edge.core.publish import changing
from mnist_edge.core.files import temporary_folder, atomic_write
folder = Path(sys.argv[1])
with changing(folder), temporary_folder(folder), atomic_write(folder / "result.json"):
    print("holds", flush=True)
    time.sleep(60)
"""
SWAP = """
import sys
from pathlib import Path
import fault_points
from mnist_edge.core.publish import changing
(export,) = [case for case in fault_points.cases(Path(sys.argv[1]), Path(sys.argv[2])) if case.name == "export"]
print(export.old, flush=True)
sys.stdin.readline()
for _ in range(8):
    export.step(export.old)
    export.restore(export.old)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A process that has locked a folder, and has a temporary file and folder in it."""
    folder = tmp_path / "mlp"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        yield process, folder
        process.kill()


def hidden(folder: Path) -> list[str]:
    """Return the names in a folder that only commands at work leave there."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_old_or_new_and_nothing_left_whatever_is_injected_before_any_change(exports: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "faults.py"), "--exports", str(exports), "--points"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [line.strip("|").split("|") for line in done.stdout.splitlines()[2:]]
    assert len(rows) == 2 * len(fault_points.KINDS)
    for _, _, points, old, new, *bad in [[cell.strip() for cell in row] for row in rows]:
        assert int(points) > 20
        assert int(old) > 5
        assert int(new) > 5
        assert set(bad) == {"0"}, done.stdout


def test_the_second_process_is_told_who_holds_the_folder(
    holder: tuple["subprocess.Popen[str]", Path],
) -> None:
    process, folder = holder
    said: list[str] = []
    with pytest.raises(LockError, match=rf"in use by process {process.pid} on .*did not end within 0 s"):
        changing(folder, said.append, wait=0.05).__enter__()
    assert f"process {process.pid}" in said[0]
    assert "waiting" in said[0]


def test_what_a_dead_process_left_goes_and_what_a_live_one_writes_stays(
    holder: tuple["subprocess.Popen[str]", Path],
) -> None:
    process, folder = holder
    (folder / ".writing-dead").write_text("half", encoding="utf-8")
    (folder / ".writing-folder").mkdir()
    with atomic_write(folder / "other.json") as temporary:
        temporary.write_text("{}", encoding="utf-8")
    assert len(hidden(folder)) == 3  # the lock, a file and a folder of the process that lives
    assert ".writing-dead" not in hidden(folder)
    process.kill()
    process.wait()
    (folder / ".exporting-of-version-0.1").mkdir()
    with changing(folder):
        pass
    assert hidden(folder) == []
    assert not (folder / "result.json").exists()


def test_a_dead_holder_of_the_lock_holds_it_no_more(holder: tuple["subprocess.Popen[str]", Path]) -> None:
    process, folder = holder
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (folder / LOCK).is_file()
    with locked(folder, wait=0):
        pass
    assert not (folder / LOCK).exists()


def test_who_may_only_read_finds_the_new_export_where_it_was_cut_short(exports: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        work.chmod(0o755)
        export, _ = fault_points.cases(exports, work)
        new = shutil.copytree(export.old, work / "whole")
        export.step(new)
        point = 0
        while not (export.old / PUBLISHING).exists():
            point += 1
            fault_points.stop_at(export.step, export.old, point, "SIGKILL")
        (export.old / LOCK).unlink(missing_ok=True)
        export.old.chmod(0o555)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                if os.getuid() == 0:
                    os.setuid(65534)
                whole = fault_points.contents(export.old) == fault_points.contents(new)
                places = {settled(export.old), choose(export.old).parent}
                code = 0 if whole and places == {export.old / PUBLISHING} else 3
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        export.old.chmod(0o755)
        assert export.state(export.old) == fault_points.NEW  # and who may write finishes it
        assert hidden(export.old) == []


def test_readers_find_whole_exports_while_another_process_publishes(exports: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SWAP, str(exports), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])}
    seen = set()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        process.stdin.write("\n")
        process.stdin.flush()
        while process.poll() is None:
            with reading_folder(folder) as place:
                manifest = Manifest.read(place)
                for artifact in manifest.artifacts:
                    artifact.check()
                for name in manifest.files:
                    manifest.check(name)
                seen.add(tuple(item.path.name for item in manifest.artifacts))
            time.sleep(0.002)  # a reader that never rests would keep the writer waiting
        assert process.returncode == 0
    assert len(seen) == 2


def test_what_is_new_waits_for_a_reader_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnist_edge.core.publish.WRITER_WAITS", 0.1)
    folder, said = tmp_path / "mlp", list[str]()
    folder.mkdir()
    begun, end = threading.Event(), threading.Event()

    def read() -> None:
        with reading_folder(folder):
            begun.set()
            assert end.wait(60)

    def say(line: str) -> None:
        said.append(line)
        end.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(60)
    with changing(folder, say), changing(folder), temporary_folder(folder) as new:
        (new / "model.keras").write_text("hours of training")
        publish(folder, new)
    reader.join()
    assert (folder / "model.keras").read_text() == "hours of training"
    assert said == [f"{folder} is being read by another mnist-edge process: waiting for it to end …"]


def test_a_file_is_not_written_through_a_hostile_journal(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside.txt", tmp_path / "mlp"
    outside.write_text("mine", encoding="utf-8")
    (folder / PUBLISHING).mkdir(parents=True)
    (folder / PUBLISHING / ".removed").write_text("../outside.txt\n..\n\n/etc/x\n", encoding="utf-8")
    (folder / PUBLISHING / "link").symlink_to(outside)
    assert settled(folder) == folder
    assert outside.read_text(encoding="utf-8") == "mine"
    assert list(folder.iterdir()) == []
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "manifest.json").write_text("{}", encoding="utf-8")
    (folder / PUBLISHING).symlink_to(elsewhere)
    assert settled(folder) == folder
    assert not (folder / "manifest.json").exists()


def test_files_are_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with changing(tmp_path / "mlp"), temporary_folder(tmp_path / "mlp") as new:
            with atomic_write(new / "model.keras") as temporary:
                temporary.write_bytes(b"model")
            publish(tmp_path / "mlp", new)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "mlp" / "model.keras").stat().st_mode) == 0o600


def test_a_child_ends_with_its_parent_also_while_it_imports(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text("import time; time.sleep(60)")
    parent = (
        "import os, subprocess, sys, time; from mnist_edge.core.children import for_child, python_command\n"
        f"sys.path.append({str(tmp_path)!r})\n"
        "child = subprocess.Popen(python_command('endless', 'main'), env={**os.environ, **for_child()})\n"
        "time.sleep(0.5); print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        process.kill()
        process.wait()
    status = Path(f"/proc/{number}/status")
    for _ in range(100):
        if not status.exists() or "State:\tZ" in status.read_text(encoding="utf-8"):
            return
        time.sleep(0.02)
    pytest.fail("the child outlives its parent")
