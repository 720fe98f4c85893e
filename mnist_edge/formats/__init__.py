"""Finds the formats: every module here that has a `FORMAT` is one. Nothing is registered anywhere else.

Those for another kind of machine than this come last.
"""

import importlib
import pkgutil
from pathlib import Path

from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.optional import versions
from mnist_edge.formats.base import Format

_modules = (importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
_found: list[Format] = [module.FORMAT for module in _modules if hasattr(module, "FORMAT")]
FORMATS = {item.name: item for item in sorted(_found, key=lambda item: (item.platform is not None, item.name))}


def format_of(path: Path) -> Format:
    """Return the format that a file's ending names. Raises ArtifactError with the endings there are."""
    for candidate in FORMATS.values():
        if path.suffix == candidate.suffix:
            return candidate
    endings = ", ".join(candidate.suffix for candidate in FORMATS.values())
    raise ArtifactError(f"{path} has none of the endings that can be run: {endings}.")


def runtime_versions() -> dict[str, str]:
    """Return the installed versions of NumPy and of every package that a format rests on."""
    return versions(dict.fromkeys(["numpy", *(package for item in FORMATS.values() for package in item.packages)]))
