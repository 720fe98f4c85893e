"""Opens a model file that is not known here in a process of its own first: a file can crash its runtime, or never end.

That process has limits on memory, CPU time and wall time, and ends with its parent. It holds accidents, and is no
sandbox. A file that comes through is remembered by its SHA-256 and the versions of its runtime. `predict` passes here
at every start, so what a file that is known does not need is imported inside functions.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnist_edge import __version__
from mnist_edge.core import errors, known_files
from mnist_edge.core.errors import ArtifactError, CustomCodeNeeded, MissingRuntime, MnistEdgeError
from mnist_edge.core.files import sha256 as sha256_of
from mnist_edge.core.optional import version_beside
from mnist_edge.core.reading import check_file_size
from mnist_edge.formats.base import MOST_BYTES, Format
from mnist_edge.formats.runner import ANY, Images

CPU_SECONDS, SECONDS = 4, 6  # for each step; more for a larger file
BYTES_A_SECOND = 20_000_000
START_SECONDS = 120  # importing TensorFlow may take that long on a busy machine
MIB = 2**20
MEMORY, MEMORY_A_CORE, MEMORY_A_BYTE = 512 * MIB, 16 * MIB, 10  # beyond what the runtime took when it was imported
OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "ailed to allocate memory", "MemoryError", "more memory than")
KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")
"""The environment variables that the process gets; others may be secrets, or change how Python starts."""
SCAN = "scan"
_in_child = False
Answer = dict[str, tuple[str, str] | None]
"""The error of each step that failed, by its class and text; None where the parent meets it too."""


def first_look(path: Path, file_format: Format, sha256: str | None = None, step: str = "open") -> None:
    """Return where this process may open a file: at once where it is known here, else after a child has opened it.

    Args:
        path: the file; where there is none, its opener says so.
        file_format: its format.
        sha256: of the file, where it has been computed.
        step: what is to be done, `open`, `describe`, `layers`, `scan`, or to open it in one of the format's
            `other_runtimes`; the errors of the others are no matter.

    Raises:
        ArtifactError: it crashes its runtime, does not end, needs more memory than the limit, or cannot be opened.
    """
    other_runtime = step in file_format.other_runtimes
    missing = file_format.missing_variant(step) if other_runtime else step == "open" and file_format.missing()
    if _in_child or not path.is_file() or missing:
        return
    check_file_size(ArtifactError, path, MOST_BYTES)
    key = _key(file_format, sha256 or sha256_of(path))
    own = f"{key}-{step}"
    if known_files.is_known(own if other_runtime else key) or (step == SCAN and known_files.is_known(own)):
        return
    answer = _ask_child(path, file_format, step)
    if answer is None:
        return
    for name in ("memory", step):
        if (error := answer.get(name)) is not None:
            raise _error(*error)
    if other_runtime or step == SCAN:
        known_files.remember(own)
    elif "open" not in answer:
        known_files.remember(key)


def remember(file_format: Format, sha256: str) -> None:
    """Remember a file that this process has written and run."""
    known_files.remember(_key(file_format, sha256))


def _key(file_format: Format, sha256: str) -> str:
    """Return the name under which a file is known: another release of its runtime may crash on it."""
    import hashlib

    releases = [f"{package} {version_beside(package)}" for package in ("numpy", *file_format.packages)]
    python = f"python {sys.version_info.major}.{sys.version_info.minor}"
    return hashlib.sha256(" ".join([sha256, file_format.name, __version__, python, *releases]).encode()).hexdigest()


def _ask_child(path: Path, file_format: Format, step: str) -> Answer | None:
    """Return the errors that the child met; None where no child can start. Raises ArtifactError where it died."""
    import errno
    import subprocess

    from mnist_edge.core.children import for_child, python_command

    command = python_command(__name__, "child", file_format.name, str(path), step)
    environment = {name: os.environ[name] for name in KEPT if name in os.environ} | for_child()
    try:
        done = subprocess.run(
            command,
            cwd=".",  # so Python 3.13 does not use posix_spawn, which under emulation hides that no child can start
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=START_SECONDS + _seconds(path),
        )
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        return None  # under user-mode emulation no child can start; the emulator is a process of its own already
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(_endless(path)) from error
    return read_answer(path, done.returncode, done.stdout)


def read_answer(path: Path, code: int, answer: bytes) -> Answer:
    """Return what the child wrote. Raises ArtifactError where a signal ended it (`code` below 0), or it wrote none."""
    if code < 0:
        import signal

        known = {item.value: item.name for item in signal.Signals}
        name = known.get(-code, f"signal {-code}")
        out_of_time = name in ("SIGALRM", "SIGXCPU")
        raise ArtifactError(_endless(path) if out_of_time else f"{path}: the runtime crashes on it ({name}).")
    try:
        if code == 0:
            return {step: error and (str(error[0]), str(error[1])) for step, error in json.loads(answer).items()}
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError):
        pass  # the runtime ended the process, or wrote where it should not
    raise ArtifactError(f"{path}: the runtime ends the process on it (exit code {code}).")


def _error(kind: str, text: str) -> ArtifactError:
    """Return an error of the child as this process would have raised it."""
    found = getattr(errors, kind, None)
    raised = found if isinstance(found, type) and issubclass(found, ArtifactError) else ArtifactError
    return raised(text)


def _endless(path: Path) -> str:
    return f"{path}: the runtime does not come to an end on it (limit {_seconds(path)} s)."


def _seconds(path: Path) -> int:
    """Return the limit on the time of a step; where more wants to run than there are cores, each takes longer."""
    busy = os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 1
    return int(SECONDS * max(1, busy)) + _more_seconds(path)


def _more_seconds(path: Path) -> int:
    return path.stat().st_size // BYTES_A_SECOND


def child() -> None:
    """Open, run, trace and describe the file of the command line, or scan it, and print the errors that were met."""
    global _in_child
    _in_child = True
    name, path, step = sys.argv[2], Path(sys.argv[3]), sys.argv[4]
    answer = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # runtimes print

    from mnist_edge.formats import format_named

    file_format = format_named(name)
    assert file_format is not None, name
    if step in file_format.other_runtimes:
        errors_met = _look_in(path, file_format, step)
    else:
        errors_met = (_scan if step == SCAN else _look)(path, file_format)
    os.write(answer, json.dumps(errors_met).encode())


def _look(path: Path, file_format: Format) -> Answer:
    """Return the errors of the steps that this process takes with a file."""
    from contextlib import suppress
    from functools import partial

    with suppress(Exception):
        file_format.open(_nothing(path))  # imports the runtime, untimed
    _limit_memory(path)
    images = _images()
    answer: Answer = {}
    _step(answer, "open", path, partial(_run, path, file_format, images))
    for variant in file_format.variants:
        if variant not in file_format.other_runtimes:
            _step(answer, variant, path, partial(_run, path, file_format, images, variant=variant))
    _step(answer, "2 threads", path, partial(_run, path, file_format, images, threads=2, batch=ANY))
    _step(answer, "trace", path, lambda: file_format.trace(path, images))
    _step(answer, "describe", path, lambda: file_format.describe(path))
    _step(answer, "layers", path, lambda: file_format.layers(path))
    return answer


def _look_in(path: Path, file_format: Format, variant: str) -> Answer:
    """Return the errors of running a file in another runtime."""
    from contextlib import suppress
    from functools import partial

    with suppress(Exception):
        file_format.open(_nothing(path), variant=variant)  # imports the runtime, untimed
    _limit_memory(path)
    answer: Answer = {}
    run = partial(_run, path, file_format, _images(), variant=variant)
    _step(answer, variant, path, run)
    _step(answer, "2 threads", path, partial(run, threads=2, batch=ANY))  # a crash counts, another error does not
    return answer


def _images() -> Images:
    import numpy as np

    return np.stack([np.eye(28) * 255, np.zeros((28, 28)), np.arange(784).reshape(28, 28) / 4]).astype(np.uint8)


def _scan(path: Path, file_format: Format) -> Answer:
    """Return the error of reading a file without its runtime."""
    from contextlib import suppress

    with suppress(Exception):
        file_format.scan(_nothing(path))  # imports what reads it, untimed
    _limit_memory(path)
    answer: Answer = {}
    _step(answer, SCAN, path, lambda: file_format.scan(path))
    return answer


def _nothing(path: Path) -> Path:
    """Return a path beside a file at which there is nothing."""
    return path.with_name(f"none-{os.getpid()}{path.suffix}")


def _run(path: Path, file_format: Format, images: Images, **options: Any) -> None:
    with file_format.open(path, **options) as runner:
        runner.run(images)


def _step(answer: Answer, name: str, path: Path, action: Callable[[], object]) -> None:
    """Run a step under limits on its time, and note the error that it raises."""
    _limit_time(path)
    try:
        action()
    except (MissingRuntime, CustomCodeNeeded):
        answer[name] = None  # the parent may have been given the code, and says what is missing
    except Exception as error:  # noqa: BLE001  # those that are not ours the parent meets again: bugs have to show
        answer[name] = (type(error).__name__, str(error)) if isinstance(error, MnistEdgeError) else None
        if isinstance(error, MemoryError) or any(word in str(error) for word in OUT_OF_MEMORY):
            limit = _memory(path) // MIB
            answer["memory"] = "ArtifactError", f"{path} needs more than {limit} MiB of memory, so it is not opened."


def _memory(path: Path) -> int:
    return MEMORY + MEMORY_A_CORE * (os.cpu_count() or 1) + MEMORY_A_BYTE * path.stat().st_size


def _limit_memory(path: Path) -> None:
    """Limit the memory that can be written to, which address space that a runtime only reserves does not count in."""
    try:
        import resource
    except ImportError:
        return  # not a POSIX system
    status = Path("/proc/self/status")
    used = 0
    for line in status.read_text(encoding="utf-8").splitlines() if status.is_file() else ():
        if line.startswith("VmData:"):
            used = int(line.split()[1]) * 1024
    _lower(resource.RLIMIT_DATA, used + _memory(path))
    _lower(resource.RLIMIT_CORE, 0)


def _limit_time(path: Path) -> None:
    """Let the system end this process when it has used the time of one step."""
    try:
        import resource
        import signal
    except ImportError:
        return  # not a POSIX system; the parent ends it
    for number in (signal.SIGALRM, signal.SIGXCPU):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM, signal.SIGXCPU})
    signal.setitimer(signal.ITIMER_REAL, _seconds(path))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _lower(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime) + 1 + CPU_SECONDS + _more_seconds(path))


def _lower(kind: int, limit: int) -> None:
    """Set a limit of this process, unless it has a lower one that cannot be raised."""
    import resource

    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
