"""A connection to a board over the user's own ssh."""

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import IO, Self, cast

from mnist_edge.core.errors import DeviceError
from mnist_edge.core.text import one_line

CONNECT_SECONDS = 15
MARK = "mnist-edge-answers"
ANSWER_BYTES = 32_000_000  # bench.json with the raw samples of 20 files that were timed for minutes
UNREACHABLE = 255  # ssh's own exit code; all others are the remote command's


class Connection:
    """One ssh connection that all steps share, so that a password is asked for once."""

    def __init__(self, destination: str, control: Path) -> None:
        self.destination = destination
        options = ["ControlMaster=auto", f'ControlPath="{control}"', "ControlPersist=60"]
        options += [f"ConnectTimeout={CONNECT_SECONDS}", "ServerAliveInterval=15"]
        self._ssh = ["ssh", *(part for option in options for part in ("-o", option)), "--", destination]

    @classmethod
    @contextmanager
    def to(cls, destination: str) -> Iterator[Self]:
        """Connect, and close the connection at the end.

        Raises:
            DeviceError: there is no ssh, or it does not get there.
        """
        if not destination or destination.startswith("-"):
            raise DeviceError(f"{destination!r} is no ssh destination. Say user@host, or a Host of your ~/.ssh/config.")
        if shutil.which("ssh") is None:
            raise DeviceError("ssh is not here. Install it: apt install openssh-client")
        with tempfile.TemporaryDirectory(prefix="me-") as name:  # a socket's path may have 100 characters
            ssh = cls(destination, Path(name) / "ssh")
            try:
                ssh.run("true")
                yield ssh
            finally:
                subprocess.run([*ssh._ssh[:-2], "-O", "exit", "--", destination], capture_output=True, check=False)

    def run(self, script: str, content: bytes | None = None) -> subprocess.CompletedProcess[str]:
        """Run a script in the board's `sh`, with `content` as its standard input.

        Raises:
            DeviceError: ssh could not connect.
        """
        marked = f"echo {MARK}; {script}"  # what the login shell's own start-up files print comes before
        command = [*self._ssh, f"exec sh -c {shlex.quote(marked)}"]
        code, answer, errors = self._answer(command, content or b"")
        out, err = answer.decode(errors="replace"), errors.decode(errors="replace")
        if code == UNREACHABLE:
            lines = [line.strip() for line in err.splitlines() if line.strip() and "Warning:" not in line]
            raise DeviceError(
                f"{self.destination} cannot be reached: {lines[-1].rstrip('.') if lines else 'ssh gave no message'}. "
                f"Does this work: ssh {self.destination} true?"
            )
        return subprocess.CompletedProcess(script, code, out.partition(f"{MARK}\n")[2], err)

    def _answer(self, command: list[str], content: bytes) -> tuple[int, bytes, bytes]:
        """Return the exit code of a command, and what it wrote on standard output and standard error.

        Raises:
            DeviceError: it wrote more than `ANSWER_BYTES`.
        """
        written: dict[str, bytes] = {}
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as ssh:

            def read(name: str, stream: IO[bytes]) -> None:
                written[name] = stream.read(ANSWER_BYTES + 1)
                if len(written[name]) > ANSWER_BYTES:
                    ssh.kill()

            pairs = (("out", ssh.stdout), ("err", ssh.stderr))
            readers = [Thread(target=read, args=pair, daemon=True) for pair in pairs]
            for reader in readers:
                reader.start()
            try:
                with suppress(BrokenPipeError), cast(IO[bytes], ssh.stdin) as stdin:
                    stdin.write(content)
                for reader in readers:
                    reader.join()
            except BaseException:
                ssh.kill()
                raise
        if any(len(part) > ANSWER_BYTES for part in written.values()):
            raise DeviceError(
                f"{self.destination} sent more than {ANSWER_BYTES // 10**6} MB in one answer, and none is so long. "
                "Is it the board that you mean?"
            )
        return ssh.returncode, written["out"], written["err"]

    def failure(self, what: str, done: subprocess.CompletedProcess[str]) -> DeviceError:
        """Return the error for a remote command that failed."""
        lines = done.stderr.strip().splitlines()
        if "No space left" in done.stderr:
            return DeviceError(f"{self.destination}: {what}: its disk is full. Free some space there.")
        why = one_line(lines[-1].removeprefix("error: ")) if lines else f"exit {done.returncode}"
        return DeviceError(f"{self.destination}: {what}: {why}")
