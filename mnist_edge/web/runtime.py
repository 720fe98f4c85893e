"""The page's runtimes: the few files of them that a browser loads, fetched by npm once, in the user's cache."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from mnist_edge.core.errors import MissingRuntime
from mnist_edge.core.files import publish_folder, sha256, temporary_folder
from mnist_edge.core.text import one_line

STATIC = Path(__file__).parent / "static"
LOCK = ("package.json", "package-lock.json")
NPM_SECONDS = 600
# LiteRT's build without relaxed SIMD, whose results depend on the CPU
FILES = {
    "onnxruntime-web/dist/ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm": (
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
    ),
    "@litertjs/core/dist/index.js": "e7daccc3a31eef890848a737ccb863ded5f046a6b40c3fdc0556495adeb5d9b3",
    "@litertjs/core/wasm/litert_wasm_compat_internal.js": (
        "4d8f894b7883654fd6e8439730aa41e79ceaab7d19184fc4f1f0b0f1a2a2c8a5"
    ),
    "@litertjs/core/wasm/litert_wasm_compat_internal.wasm": (
        "5255c8ad06eabdbd2522cdebf6b22fc10faf74625c23a49b9e072570cd1fa41c"
    ),
    "@litertjs/wasm-utils/dist/index.js": "e0e20bc28ab001ac732cf40d15b6eebd24fb0deaeb95eeba5100f51eebf015f2",
}
"""The SHA-256 of each file at the locked version. Renew with the lock: sha256sum in the cache's `web-*` folder."""


def install(notify: Callable[[str], None] = lambda line: None) -> Path:
    """Return the folder that holds `FILES`, each with its SHA-256; npm fetches them where they are not there whole.

    Args:
        notify: told, in one line, before npm starts.

    Raises:
        MissingRuntime: npm is not installed, or failed.
    """
    from platformdirs import user_cache_path

    locked = hashlib.sha256(b"".join((STATIC / name).read_bytes() for name in LOCK)).hexdigest()
    folder = user_cache_path("mnist-edge") / f"web-{locked[:12]}"
    if not all(_is_whole(folder / name, digest) for name, digest in FILES.items()):
        npm = shutil.which("npm")
        if npm is None:
            raise MissingRuntime(
                "the page needs onnxruntime-web, which comes through npm, and npm is not installed. "
                "Install Node.js with npm (Debian: apt-get install npm), then say mnist-edge demo again."
            )
        notify("Fetching onnxruntime-web and LiteRT.js with npm, once; this takes some seconds …")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder.parent) as work:
            _fetch(npm, work, folder)
    return folder


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path) == digest


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
        reason = one_line("; ".join(lines[:3])) or f"exit code {done.returncode}"
        raise MissingRuntime(f"npm could not fetch the page's runtimes ({reason}). Check the network and try again.")
    whole = work / "whole"
    for name in FILES:
        source, target = work / "node_modules" / name, whole / name
        if not _is_whole(source, FILES[name]):
            raise MissingRuntime(
                f"npm's package has no {name}, or another one. Remove npm's cache and try again: "
                "npm cache clean --force"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    shutil.rmtree(folder, ignore_errors=True)  # one whose files are damaged or gone
    publish_folder(whole, folder)
