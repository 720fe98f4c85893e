"""What boards said of an export: their `verify.json` and `bench.json`, joined with it by the files' SHA-256."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_edge.bench import benchmark as bench
from mnist_edge.core.errors import FolderError
from mnist_edge.core.files import DAMAGED
from mnist_edge.core.folder import BENCH, DEVICES, VERIFY
from mnist_edge.core.manifest import Manifest
from mnist_edge.verify.result import Status


@dataclass(frozen=True)
class Device:
    """One board's results, as `verify --json` and `bench --json` give them; one of the two may be missing."""

    name: str
    verified: dict[str, Any] | None
    timed: dict[str, Any] | None

    @property
    def host(self) -> dict[str, Any]:
        """The machine that the results come from, with the fields of `Host`."""
        found: dict[str, Any] = (self.verified or self.timed or {})["host"]
        return found

    def passes(self, strict: bool = False) -> bool:
        """Return whether nothing failed there and, where `strict`, no file was skipped."""
        if self.verified is None:
            return True
        files = {Status(item["status"]) for item in self.verified["results"]}
        checks = {Status(item["status"]) for item in self.verified["checks"]}
        return Status.FAIL not in files | checks and not (strict and Status.SKIPPED in files)


def read(manifest: Manifest, more: Iterable[Path] = ()) -> tuple[Device, ...]:
    """Read the results in the folder's `devices/`, and in other folders.

    Raises:
        FolderError: a folder holds no results, damaged ones, or those of other files than the manifest's.
    """
    own = manifest.folder / DEVICES
    here = sorted(path for path in own.iterdir() if path.is_dir() and any(path.iterdir())) if own.is_dir() else []
    places = [*here, *more]
    return tuple(_read(manifest, place) for place in places)


def _read(manifest: Manifest, place: Path) -> Device:
    verified = _verdicts(place / VERIFY)
    timed = bench.read(place)
    if verified is None and timed is None:
        raise FolderError(f"{place} has neither {VERIFY} nor {BENCH}. Bring them there from the board.")
    known = {artifact.path.name: artifact.sha256 for artifact in manifest.artifacts}
    for name, content in ((VERIFY, verified), (BENCH, timed)):
        for item in content["results"] if content else ():
            if known.get(item["file"]) != item["sha256"]:
                here = f"{known[item['file']][:12]}…" if item["file"] in known else "not there"
                raise FolderError(
                    f"{place / name} is of other files than {manifest.folder}: its {item['file']} is "
                    f"{item['sha256'][:12]}…, which here is {here}. Bundle this export and run it on the board, or "
                    f"remove {place}."
                )
    machines = {(content["host"]["cpu"], content["host"]["machine"]) for content in (verified, timed) if content}
    if len(machines) > 1:
        raise FolderError(f"{place} holds results of two machines: {VERIFY} and {BENCH} name different CPUs.")
    return Device(place.resolve().name, verified, timed)


def _verdicts(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for item in content["results"]:
            _ = Status(item["status"]), [str(line) for line in item["reasons"]]
            if item["comparison"]:
                _ = float(item["comparison"]["accuracy"]), len(item["comparison"]["flips"])
            if item["on_host"]:
                _ = float(item["on_host"]["largest_difference"])
        _ = [Status(item["status"]) for item in content["checks"]]
        if not isinstance(content["sample"], str) or not content["results"]:
            raise ValueError("it has no results")
        bench.check_origin(content)
    except DAMAGED as error:
        raise FolderError(
            f"{path} is damaged ({type(error).__name__}: {error}). Run mnist-edge verify again."
        ) from error
    return content
