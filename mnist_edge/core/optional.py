"""Imports heavy packages when they are needed, without their log lines, or says what to install."""

import importlib
import importlib.util
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType

from mnist_edge.core.errors import BrokenRuntime, MissingRuntime

EXTRAS = {
    **dict.fromkeys(("tensorflow", "keras", "tf2onnx", "onnx", "scikit-learn"), "mnist-edge[export]"),
    **dict.fromkeys(("jinja2", "matplotlib", "scipy"), "mnist-edge[report]"),
    **dict.fromkeys(("tflite-micro", "bitarray"), "mnist-edge[mcu]"),
}
"""The extra of ours that brings a package, with all that goes with it."""
FOR_NUMPY_2 = {"onnxruntime": (1, 19), "ai-edge-litert": (1, 1), "tensorflow": (2, 18), "tflite-runtime": (3,)}
"""The first version of each package that was built for NumPy 2; an older one may end the process without a word."""


def installed(module: str) -> bool:
    """Return whether `module` (its top level) can be found, without importing it."""
    return importlib.util.find_spec(module.partition(".")[0]) is not None


def pip_install(*packages: str) -> str:
    """Return the command that installs `packages` into this Python, or a new environment."""
    wanted = shlex.join(dict.fromkeys(EXTRAS.get(package, package) for package in packages))
    if externally_managed():
        return f"{shlex.quote(sys.executable)} -m venv --system-site-packages mnist && mnist/bin/pip install {wanted}"
    return f"{shlex.quote(sys.executable)} -m pip install {wanted}"


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
        BrokenRuntime: it is installed, and does not load.
    """
    if not installed(module):
        raise MissingRuntime(f"{what} needs {package}, which is not installed. Install it: {pip_install(package)}")
    if loaded := sys.modules.get(module):
        return loaded
    _check_numpy(module, package, what)
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime 1.29 and newer report to Microsoft otherwise
    try:
        with silenced():
            return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        release = " ".join((package, *versions([package]).values()))
        again = pip_install("--upgrade", "--force-reinstall", package)
        raise BrokenRuntime(
            f"{what} needs {package}; {release}, which is installed, does not load here ({reason}). "
            f"Install it anew: {again}"
        ) from error


def _check_numpy(module: str, package: str, what: str) -> None:
    """Raise BrokenRuntime where a package was built for NumPy 1 and NumPy is newer."""
    first = FOR_NUMPY_2.get(package)
    if first is None:
        return
    found = {package: version_beside(package, module), "numpy": version_beside("numpy")}
    if found[package] and _numbers(found["numpy"] or "1") >= (2,) and _numbers(found[package]) < first:
        newer = f"{package}>={'.'.join(map(str, first))}"
        advice = "numpy<2" if package == "tflite-runtime" else newer  # whose last version is 2.14.0
        raise BrokenRuntime(
            f"{what} needs {package}; {package} {found[package]}, which is installed, was built for NumPy 1, and NumPy "
            f"{found['numpy']} is here. Install what goes together: {pip_install(advice)}"
        )


@cache
def version_beside(package: str, module: str = "") -> str:
    """Return a package's version from the name of its folder of metadata, "" where there is none.

    `predict` has no time for `importlib.metadata`, which reads the metadata itself. `module` is what Python imports of
    the package, where that is not its own name.
    """
    spec = importlib.util.find_spec((module or package.replace("-", "_")).partition(".")[0])
    start, end = f"{package.replace('-', '_')}-", ".dist-info"
    for place in (spec and spec.submodule_search_locations) or ():
        for name in _names_in(Path(place).parent):
            if name.startswith(start) and name.endswith(end):
                return name[len(start) : -len(end)]
    return ""


@cache
def _names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, `1.16.3rc1` as (1, 16)."""
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def require_keras(what: str) -> ModuleType:
    """Return Keras on TensorFlow, imported without log lines. Raises MissingRuntime where they are not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow leaves oneDNN off on CPUs without AVX-512 VNNI, where small convolutions then take 1.5 times as long
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
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


def is_verbose() -> bool:
    """Return whether the libraries' own output is shown."""
    return _verbose


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
