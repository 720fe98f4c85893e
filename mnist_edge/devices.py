"""What boards said of an export: their `verify.json` and `bench.json`, joined with it by the files' SHA-256."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnist_edge import bench, parity
from mnist_edge.artifact import Manifest
from mnist_edge.errors import FolderError

FOLDER = "devices"
"""The folder of an export that has one folder a device."""


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

    @property
    def good(self) -> bool:
        """Whether nothing failed there."""
        return self.verified is None or bool(self.verified["good"])


def read(manifest: Manifest, more: Iterable[Path] = ()) -> tuple[Device, ...]:
    """Read the results in the folder's `devices/`, and in other folders.

    Raises:
        FolderError: a folder holds no results, damaged ones, or those of other files than the manifest's.
    """
    own = manifest.folder / FOLDER
    places = [*(sorted(path for path in own.iterdir() if path.is_dir()) if own.is_dir() else []), *more]
    return tuple(_read(manifest, place) for place in places)


def _read(manifest: Manifest, place: Path) -> Device:
    verified = _verdicts(place / parity.NAME)
    timed = bench.read(place)
    if verified is None and timed is None:
        raise FolderError(f"{place} has neither {parity.NAME} nor {bench.NAME}. Bring them there from the board.")
    known = {artifact.path.name: artifact.sha256 for artifact in manifest.artifacts}
    for name, content in ((parity.NAME, verified), (bench.NAME, timed)):
        for item in content["results"] if content else ():
            if known.get(item["file"]) != item["sha256"]:
                here = known.get(item["file"], "not there")[:12]
                raise FolderError(
                    f"{place / name} is of other files than {manifest.folder}: its {item['file']} is "
                    f"{item['sha256'][:12]}…, here it is {here}…. Bundle this export and run it on the board, or "
                    f"remove {place}."
                )
    machines = {(content["host"]["cpu"], content["host"]["machine"]) for content in (verified, timed) if content}
    if len(machines) > 1:
        raise FolderError(f"{place} holds results of two machines: {parity.NAME} and {bench.NAME} name different CPUs.")
    return Device(place.resolve().name, verified, timed)


def _verdicts(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for item in content["results"]:
            _ = item["file"], item["sha256"], item["status"], item["reasons"]
            _ = item["comparison"] and (item["comparison"]["accuracy"], item["comparison"]["flips"])
            _ = item["on_host"] and item["on_host"]["largest_difference"]
        _ = content["good"], content["sample"], content["host"]["cpu"], content["host"]["machine"]
    except (ValueError, KeyError, TypeError) as error:
        raise FolderError(
            f"{path} is damaged ({type(error).__name__}: {error}). Run mnist-edge verify again."
        ) from error
    return content
