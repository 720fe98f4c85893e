"""The page's runtimes: the few files of them that a browser loads, fetched by npm once, in the user's cache."""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from mnist_edge.core.errors import MissingRuntime, excerpt

STATIC = Path(__file__).parent / "static"
LOCK = ("package.json", "package-lock.json")
NPM_SECONDS = 600
# LiteRT's build without relaxed SIMD, whose results depend on the CPU
FILES = (
    "onnxruntime-web/dist/ort.wasm.bundle.min.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
    "@litertjs/core/dist/index.js",
    "@litertjs/core/wasm/litert_wasm_compat_internal.js",
    "@litertjs/core/wasm/litert_wasm_compat_internal.wasm",
    "@litertjs/wasm-utils/dist/index.js",
)


def install(notify: Callable[[str], None] = lambda line: None) -> Path:
    """Return the folder that holds `FILES` at the locked versions; npm fetches them where it is not there yet.

    Args:
        notify: told, in one line, before npm starts.

    Raises:
        MissingRuntime: npm is not installed, or failed.
    """
    from platformdirs import user_cache_path

    locked = hashlib.sha256(b"".join((STATIC / name).read_bytes() for name in LOCK)).hexdigest()
    folder = user_cache_path("mnist-edge") / f"web-{locked[:12]}"
    if not all((folder / name).is_file() for name in FILES):
        npm = shutil.which("npm")
        if npm is None:
            raise MissingRuntime(
                "the page needs onnxruntime-web, which comes through npm, and npm is not installed. "
                "Install Node.js with npm (Debian: apt-get install npm), then say mnist-edge demo again."
            )
        notify("Fetching onnxruntime-web and LiteRT.js with npm, once; this takes some seconds …")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as work:
            _fetch(npm, Path(work), folder)
    return folder


def _fetch(npm: str, work: Path, folder: Path) -> None:
    for name in LOCK:
        shutil.copy(STATIC / name, work)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=NPM_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise MissingRuntime(f"npm gave no answer in {NPM_SECONDS} s. Check the network and try again.") from error
    if done.returncode:
        lines = [line.removeprefix("npm error ") for line in done.stderr.splitlines() if line.startswith("npm error ")]
        reason = excerpt("; ".join(lines[:3])) or f"exit code {done.returncode}"
        raise MissingRuntime(f"npm could not fetch the page's runtimes ({reason}). Check the network and try again.")
    whole = work / "whole"
    for name in FILES:
        source, target = work / "node_modules" / name, whole / name
        if not source.is_file():
            raise MissingRuntime(
                f"npm's package has no {name}. Remove npm's cache and try again: npm cache clean --force"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    shutil.rmtree(folder, ignore_errors=True)  # one that somebody has deleted files from
    whole.replace(folder)
