"""Finds the formats: every module here that has a `FORMAT` is one. Nothing is registered anywhere else.

`FORMATS` has all by their names; those for another kind of machine than this come last. The modules are imported when
it is first asked for: `predict`, which needs one format, looks into the module of that name alone.
"""

import importlib
import importlib.util
import pkgutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.optional import versions
from mnist_edge.formats.base import Format

if TYPE_CHECKING:
    FORMATS: dict[str, Format]


def __getattr__(name: str) -> Any:
    """Return `FORMATS`, which this module has not when it is imported."""
    if name != "FORMATS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _all_formats()


@cache
def _all_formats() -> dict[str, Format]:
    formats = [item for found in pkgutil.iter_modules(__path__) if (item := _format_in(found.name))]
    return {item.name: item for item in sorted(formats, key=lambda item: (item.platform is not None, item.name))}


def _format_in(module: str) -> Format | None:
    """Return the format that a module here has; None where it has none, or there is no such module."""
    if not module.isidentifier() or importlib.util.find_spec(f"{__name__}.{module}") is None:
        return None
    found: Format | None = getattr(importlib.import_module(f"{__name__}.{module}"), "FORMAT", None)
    return found


def format_named(name: str) -> Format | None:
    """Return the format of this name; None where there is none."""
    likely = _format_in(name)
    return likely if likely and likely.name == name else _all_formats().get(name)


def format_of(path: Path) -> Format:
    """Return the format that a file's ending names. Raises ArtifactError with the endings there are."""
    likely = _format_in(path.suffix[1:])
    for candidate in (likely,) if likely and likely.suffix == path.suffix else _all_formats().values():
        if path.suffix == candidate.suffix:
            return candidate
    endings = ", ".join(candidate.suffix for candidate in _all_formats().values())
    raise ArtifactError(f"{path} has none of the endings that can be run: {endings}.")


def runtime_versions() -> dict[str, str]:
    """Return the installed versions of NumPy and of every package that a format rests on."""
    packages = (package for item in _all_formats().values() for package in item.packages)
    return versions(dict.fromkeys(["numpy", *packages]))
