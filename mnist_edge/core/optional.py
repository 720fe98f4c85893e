"""Imports heavy packages when they are needed, without their log lines, or says what to install."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from mnist_edge.core.errors import MissingRuntime


def installed(module: str) -> bool:
    """Return whether `module` (its top level) can be found, without importing it."""
    return importlib.util.find_spec(module.partition(".")[0]) is not None


def pip_install(*packages: str) -> str:
    """Return the command that installs `packages` into this Python, or a new environment."""
    if externally_managed():
        return f"{sys.executable} -m venv --system-site-packages mnist && mnist/bin/pip install {' '.join(packages)}"
    return f"{sys.executable} -m pip install {' '.join(packages)}"


def externally_managed() -> bool:
    """Return whether pip would refuse to install into this Python (PEP 668: Debian's and Raspberry Pi OS's own)."""
    import sysconfig

    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    return sys.prefix == sys.base_prefix and marker.is_file()


def require(module: str, package: str, what: str) -> ModuleType:
    """Return an imported module; its log lines are hidden.

    Args:
        module: dotted name to import.
        package: what pip calls it.
        what: what the user was trying to do, for the message.

    Raises:
        MissingRuntime: the package is not installed.
    """
    if not installed(module):
        raise MissingRuntime(f"{what} needs {package}, which is not installed. Install it: {pip_install(package)}")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime 1.29 and newer report to Microsoft otherwise
    with silenced():
        return importlib.import_module(module)


def require_keras(what: str) -> ModuleType:
    """Return Keras on TensorFlow, imported without log lines. Raises MissingRuntime where they are not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the converters read TensorFlow graphs, whatever the user's default
    require("tensorflow", "tensorflow", what)
    return require("keras", "keras", what)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the installed version of each of `packages` that is installed."""
    from importlib import metadata  # 20 ms that `predict` require not spend

    installed_versions = {}
    for package in packages:
        try:
            installed_versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed_versions


_verbose = False


def set_verbose(on: bool) -> None:
    """Show or hide the libraries' own output from now on (the `-v` flag)."""
    global _verbose
    _verbose = on


@contextmanager
def silenced() -> Iterator[None]:
    """Hide all that native libraries print while the block runs; nothing of ours may print inside it."""
    if _verbose:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (sink, *saved):
            os.close(descriptor)
