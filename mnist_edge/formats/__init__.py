"""Finds the formats: every module here that has a `FORMAT` is one. Nothing is registered anywhere else."""

import importlib
import pkgutil
from pathlib import Path

from mnist_edge.errors import ArtifactError
from mnist_edge.formats.base import Format
from mnist_edge.imports import versions

FORMATS: dict[str, Format] = {
    module.FORMAT.name: module.FORMAT
    for module in (
        importlib.import_module(f"{__name__}.{found.name}")
        for found in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name)
    )
    if hasattr(module, "FORMAT")
}


def format_of(path: Path) -> Format:
    """Give the format that a file's ending names. Raises ArtifactError with the endings there are."""
    for candidate in FORMATS.values():
        if path.suffix == candidate.suffix:
            return candidate
    endings = ", ".join(candidate.suffix for candidate in FORMATS.values())
    raise ArtifactError(f"{path} has none of the endings that can be run: {endings}.")


def runtime_versions() -> dict[str, str]:
    """Give the installed versions of NumPy and of every package that a format rests on."""
    return versions(dict.fromkeys(["numpy", *(package for item in FORMATS.values() for package in item.packages)]))
