"""A process that works for another one ends with it."""

import json
import os
import signal
import sys
import threading
import time

PARENT = "MNIST_EDGE_PARENT"  # the process for which a child works
PR_SET_PDEATHSIG = 1
POLL = 0.5


def python_command(module: str, function: str, *arguments: str) -> list[str]:
    """Return the command of a Python that calls a function of ours, with this process's search path.

    The function finds the arguments in `sys.argv[2:]`. With `for_child` in its environment, the process ends with this
    one, also while it imports the module.
    """
    search_path = json.dumps([place for place in sys.path if place])
    code = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
        f"from {__name__} import end_with_parent; end_with_parent(); from {module} import {function}; {function}()"
    )
    return [sys.executable, "-P", "-c", code, search_path, *arguments]


def for_child() -> dict[str, str]:
    """Return the variable with which a child calls `end_with_parent`."""
    return {PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """End this process as soon as the one that started it has ended; call this first."""
    parent = os.environ.get(PARENT)
    if parent is None:
        return  # started by hand
    if not _asked_kernel():
        threading.Thread(target=_watch, args=(int(parent),), daemon=True).start()
    if os.getppid() != int(parent):  # it ended before that
        os._exit(1)


def _asked_kernel() -> bool:
    """Return whether the kernel kills this process when its parent ends; only Linux does."""
    if sys.platform != "linux":
        return False
    import ctypes

    return bool(ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) == 0)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    os._exit(1)
