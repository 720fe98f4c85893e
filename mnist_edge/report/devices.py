"""What boards said of an export: their `verify.json` and `bench.json`, joined with it by the files' SHA-256."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mnist_edge.core.errors import FolderError
from mnist_edge.core.folder import BENCH, DEVICES, VERIFY
from mnist_edge.core.host import Host
from mnist_edge.core.manifest import Manifest
from mnist_edge.core.text import one_line
from mnist_edge.report.stored import BenchResults, VerifyResults


@dataclass(frozen=True)
class Device:
    """One board's results; one of the two may be missing."""

    name: str
    host: Host
    verified: VerifyResults | None
    timed: BenchResults | None

    def passes(self, strict: bool = False) -> bool:
        """Return whether nothing failed there and, where `strict`, no file was skipped."""
        return self.verified is None or self.verified.passes(strict)


def read_devices(manifest: Manifest, more: Iterable[Path] = ()) -> tuple[Device, ...]:
    """Return the results in the folder's `devices/`, and in other folders.

    Raises:
        FolderError: a folder holds no results, damaged ones, or those of other files than the manifest's.
    """
    own = manifest.folder / DEVICES
    here = sorted(path for path in own.iterdir() if path.is_dir() and any(path.iterdir())) if own.is_dir() else []
    return tuple(_read(manifest, folder) for folder in [*here, *more])


def check_results(manifest: Manifest, name: str, path: Path) -> bool:
    """Return whether nothing failed, by a `verify.json` or `bench.json` that a board sent of all files of a bundle.

    Raises:
        FolderError: it is of another form, of other files, or not of all of them.
    """
    results = VerifyResults.read_file(path) if name == VERIFY else BenchResults.read_file(path)
    for item in results.results:
        _check_digest(manifest, path, item.file, item.sha256)
    if isinstance(results, BenchResults):
        return True
    if absent := {artifact.path.name for artifact in manifest.artifacts} - {item.file for item in results.results}:
        raise FolderError(f"it says nothing of {', '.join(sorted(absent))}.")
    return results.passes()


def _read(manifest: Manifest, folder: Path) -> Device:
    verified, timed = VerifyResults.read(folder), BenchResults.read(folder)
    for name, results in ((VERIFY, verified), (BENCH, timed)):
        for item in results.results if results else ():
            _check_digest(manifest, folder / name, item.file, item.sha256)
    hosts = [results.host for results in (verified, timed) if results]
    if not hosts:
        raise FolderError(f"{folder} has neither {VERIFY} nor {BENCH}. Bring them there from the board.")
    if len({(host.cpu, host.machine) for host in hosts}) > 1:
        raise FolderError(f"{folder} holds results of two machines: {VERIFY} and {BENCH} name different CPUs.")
    return Device(folder.resolve().name, hosts[0], verified, timed)


def _check_digest(manifest: Manifest, path: Path, file: str, digest: str) -> None:
    """Raise FolderError where a result is of another file than the manifest's."""
    known = {artifact.path.name: artifact.sha256 for artifact in manifest.artifacts}
    if known.get(file) != digest:
        here = f"{known[file][:12]}…" if file in known else "not there"
        raise FolderError(
            f"{path} is of other files than {manifest.folder}: its {one_line(file, 80)} is {digest[:12]}…, "
            f"which here is {here}. "
            f"Bundle this export and run it on the board, or remove {path.parent}."
        )
