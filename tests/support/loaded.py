"""Runs commands in copies of a process that has TensorFlow loaded already, which saves each of them four seconds.

The process is `python -m support.loaded`; for each line of JSON on its standard input it forks, and the copy runs the
command line as `python -m mnist_edge` does. It computes nothing itself, so that no thread of TensorFlow is lost.
"""

import atexit
import importlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

TESTS = Path(__file__).parents[1]
LIBRARIES = ("scipy.stats", "sklearn.metrics", "sklearn.model_selection", "rich.console", "cattrs")


def run_loaded(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the command line in a copy of the loaded process, in the working directory and environment of this one."""
    process = _server()
    assert process.stdin
    assert process.stdout
    with TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("stdout", "stderr")]
        request = {"arguments": arguments, "cwd": str(Path.cwd()), "environment": dict(os.environ), "paths": paths}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        stdout, stderr = (Path(path).read_text(encoding="utf-8") for path in paths)
    return subprocess.CompletedProcess(["mnist-edge", *arguments], code, stdout, stderr)


@cache
def _server() -> subprocess.Popen[str]:
    """Return the loaded process; it ends when this process closes its standard input."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "support.loaded"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    atexit.register(process.communicate)
    return process


def _serve() -> None:
    from mnist_edge.core.optional import require_keras

    require_keras("this test")
    for name in LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(arguments: list[str], cwd: str, environment: dict[str, str], paths: list[str]) -> None:
    """Run one command, and end the copy."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in enumerate((os.devnull, *paths)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = ["mnist-edge", *arguments]
    code: object = 1
    try:
        from mnist_edge.cli import main

        main()
    except SystemExit as error:
        code = error.code
    except BaseException:  # noqa: BLE001 - the copy ends here, and never goes on as the loaded process
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    _serve()
