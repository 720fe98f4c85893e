"""`device run` end to end against a real OpenSSH server on loopback, with the failures that boards have."""

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import faults
from support.commands import Run

pytestmark = pytest.mark.extra("a Debian package")

Board = Callable[..., dict[str, str]]
SHELL_TOOLS = ("sh", "bash", "mktemp", "rm", "tar", "gzip", "cat", "test", "true", "uname", "env")


@pytest.fixture(scope="module")
def folder(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`cnn` with one file."""
    return faults.only(exports / "cnn", tmp_path_factory.mktemp("ssh") / "cnn", "cnn-int8.tflite")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """Start a server whose sessions get certain variables; the result is the environment in which `ssh board` works."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    ssh = shutil.which("ssh")
    if sshd is None or ssh is None:
        pytest.skip("there is no OpenSSH server: apt-get install openssh-server openssh-client")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    servers: list[subprocess.Popen[bytes]] = []

    def start(within: tuple[str, ...] = (), **variables: str) -> dict[str, str]:
        for name in ("host", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        variables = {"XDG_CACHE_HOME": str(tmp_path / "cache"), **variables}
        session = " ".join(f"{name}={value}" for name, value in variables.items())
        settings = {
            "ListenAddress": "127.0.0.1",
            "Port": port,
            "HostKey": tmp_path / "host",
            "AuthorizedKeysFile": tmp_path / "key.pub",
            "StrictModes": "no",
            "UsePAM": "no",
            "PidFile": "none",
            # the shell's own start-up files, which may set PATH, have run by then
            "ForceCommand": f'echo Welcome; {session} sh -c "$SSH_ORIGINAL_COMMAND"',  # as some .bashrc do
        }
        (tmp_path / "sshd.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        client = {
            "HostName": "127.0.0.1",
            "Port": port,
            "User": pwd.getpwuid(os.geteuid()).pw_name,
            "IdentityFile": tmp_path / "key",
            "UserKnownHostsFile": tmp_path / "known",
            "StrictHostKeyChecking": "accept-new",
        }
        (tmp_path / "ssh.conf").write_text(
            "Host board\n" + "".join(f"  {key} {value}\n" for key, value in client.items())
        )
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {ssh} -F {tmp_path}/ssh.conf "$@"\n')
        (tmp_path / "bin" / "ssh").chmod(0o755)
        with (tmp_path / "sshd.log").open("wb") as log:
            servers.append(subprocess.Popen([*within, sshd, "-D", "-e", "-f", tmp_path / "sshd.conf"], stderr=log))
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        return {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}

    yield start
    for server in servers:
        server.terminate()
        server.wait()


def refused(run: Run, env: dict[str, str], folder: Path, *more: object, destination: str = "board") -> str:
    """Run it, and give the one line of error after the steps."""
    done = run("device", "run", destination, folder, *more, check=2, env=env)
    steps = done.stderr.splitlines()
    assert [line for line in steps if line.startswith("error: ")] == steps[-1:]
    return steps[-1]


def test_a_board_is_verified_timed_and_left_clean(folder: Path, run: Run, board: Board, tmp_path: Path) -> None:
    env = board()
    target = shutil.copytree(folder, tmp_path / "cnn")
    done = run("device", "run", "board", target, env=env)
    for step in ("Connected to board", "It has Python", "Copying the bundle", "environment", "Verifying", "Timing"):
        assert step in done.stderr
    for part in ("cnn-int8.tflite", "PASS", "Latency in µs"):
        assert part in done.stdout
    verified, timed = (
        json.loads((target / "devices" / "board" / f"{name}.json").read_text()) for name in ("verify", "bench")
    )
    assert [item["status"] for item in verified["results"]] == ["PASS"]
    assert verified["images"] == 1000
    assert timed["results"][0]["call"]["runs"] >= 100
    cache = tmp_path / "cache"
    assert {str(path.relative_to(cache)) for path in cache.glob("*/*")} == {
        "mnist-edge/lock",
        f"mnist-edge/venv-{python()}",
    }
    assert [path.name for path in cache.iterdir()] == ["mnist-edge"]
    assert run("report", target, "--out", tmp_path).stdout == "PASS\n"
    assert "### board: ✓ PASS" in (tmp_path / "report.md").read_text()

    wrong = shutil.copytree(folder, tmp_path / "wrong")  # the second run uses the environment again, and says no
    content = bytearray((wrong / "cnn-int8.tflite").read_bytes())
    content[100_000:200_000] = content[200_000:300_000]  # weights of the first Dense layer
    (wrong / "cnn-int8.tflite").write_bytes(content)
    faults.resign(wrong, "cnn-int8.tflite")
    done = run("device", "run", "board", wrong, env=env, check=1)
    assert "FAIL" in done.stdout


def python() -> str:
    """Return the version of the `python3` that a session on this machine gets."""
    found = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or sys.executable
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([found, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_wheels_are_brought_to_a_board_without_a_network(folder: Path, run: Run, board: Board, tmp_path: Path) -> None:
    env = board(PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="1", PIP_CONFIG_FILE="/dev/null")
    target = shutil.copytree(folder, tmp_path / "cnn")
    told = refused(run, env, target)
    assert "could not reach the package index" in told
    assert "--wheels" in told
    assert not list((tmp_path / "cache").glob("mnist-edge/run-*"))
    assert not list((target / "devices").glob("*/*"))
    done = run("device", "run", "board", target, "--wheels", env=env)
    assert "PASS" in done.stdout


def test_an_unreachable_host(folder: Path, run: Run, board: Board) -> None:
    env = board()
    assert "Could not resolve hostname" in refused(run, env, folder, destination="pi@no-such-board.invalid")
    conf = Path(env["PATH"].partition(":")[0]).parent / "ssh.conf"
    conf.write_text(conf.read_text().replace("Port ", "Port 1 #"))
    assert "cannot be reached" in refused(run, env, folder)
    assert "is no ssh destination" in run("device", "run", "--", "-oProxyCommand=x", folder, check=2, env=env).stderr
    alone = {**env, "PATH": str(folder)}
    assert "apt install openssh-client" in refused(run, alone, folder)


def test_a_host_that_is_not_reached_leaves_no_folder(folder: Path, run: Run, board: Board, tmp_path: Path) -> None:
    target = shutil.copytree(folder, tmp_path / "cnn", ignore=shutil.ignore_patterns("devices"))
    refused(run, board(), target, destination="pi@no-such-board.invalid")
    assert not (target / "devices").exists()


def test_a_key_that_is_not_accepted(folder: Path, run: Run, board: Board, tmp_path: Path) -> None:
    env = board()
    (tmp_path / "key.pub").write_text("")
    assert "Permission denied" in refused(run, env, folder)


def test_a_board_without_python(folder: Path, run: Run, board: Board, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in SHELL_TOOLS:
        (tools / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    assert "has no python3. Install it there" in refused(run, board(PATH=str(tools)), folder)


def test_a_cpu_without_wheels(folder: Path, run: Run, board: Board, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    real = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or sys.executable
    (tools / "python3").write_text(f'#!/bin/sh\nexec setarch i686 {real} "$@"\n')  # the kernel then names an i686
    (tools / "python3").chmod(0o755)
    told = refused(run, board(PATH=f"{tools}:/usr/bin:/bin"), folder)
    assert "no runtime of tflite has a wheel for Python" in told
    assert "i686" in told


def test_a_full_disk(folder: Path, run: Run, board: Board, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted: unshare is not allowed here")
    mount = f'mount -t tmpfs -o size=4m tmpfs {small} && exec "$0" "$@"'
    env = board((*namespace, "sh", "-c", mount), XDG_CACHE_HOME=str(small))
    told = refused(run, env, folder)
    assert "its disk is full: 4 MB free" in told


def test_an_environment_that_was_left_half_made_is_made_anew(
    folder: Path, run: Run, board: Board, tmp_path: Path
) -> None:
    env = board()
    target = shutil.copytree(folder, tmp_path / "cnn")
    broken = tmp_path / "cache" / "mnist-edge" / f"venv-{python()}"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", broken], check=True)
    old = tmp_path / "cache" / "mnist-edge" / "run-killed"
    old.mkdir()
    os.utime(old, (0, 0))
    assert "bench failed; the verdict is in" in refused(run, env, target, "--cpu", 999)
    assert (target / "devices" / "board" / "verify.json").is_file()
    assert not old.exists()
    assert "PASS" in run("device", "run", "board", target, env=env).stdout


def test_a_folder_that_cannot_take_results_is_found_before_the_work(
    folder: Path, run: Run, board: Board, tmp_path: Path
) -> None:
    target = shutil.copytree(folder, tmp_path / "cnn")
    shutil.rmtree(target / "devices", ignore_errors=True)
    (target / "devices").write_text("")
    done = run("device", "run", "board", target, check=2, env=board())
    assert "Connected" not in done.stderr
