"""Variants: the same file with other runtime settings, threads and batches. The classes must be the same."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.manifest import Artifact
from mnist_edge.core.metrics import margins
from mnist_edge.formats.base import Format

BATCH = 32


@dataclass(frozen=True)
class VariantResult:
    """The images that change class in a variant, their margins, and the largest difference from the default.

    `allowed` is the margin up to which rounding may change a class; `error` says why the file does not run so.
    """

    name: str
    flips: tuple[int, ...]
    margins: tuple[float, ...]
    largest_difference: float
    allowed: float
    error: str | None = None

    @property
    def passed(self) -> bool:
        """Return whether the classes are the same, except for images on which rounding may decide."""
        return self.error is None and max(self.margins, default=0.0) <= self.allowed


def run_variants(
    file_format: Format, artifact: Artifact, images: NDArray[np.uint8], default: NDArray[np.float32], allowed: float
) -> Iterator[VariantResult]:
    """Run a file in every variant that its runtime and its shape allow.

    Args:
        file_format: of the file.
        artifact: the file.
        images: uint8 `[N, 28, 28]`.
        default: its outputs with one thread, batch 1 and the runtime's own settings, `[N, 10]`.
        allowed: the margin up to which rounding may change a class.
    """
    threads = max(os.cpu_count() or 1, 2)
    settings: dict[str, dict[str, Any]] = {name: {"variant": name} for name in file_format.variants}
    if file_format.platform is None:
        settings[f"{threads} threads"] = {"threads": threads}
    if artifact.contract.input.shape[0] is None:
        settings[f"batch {BATCH}"] = {"batch": BATCH}
    for name, setting in settings.items():
        try:
            with file_format.open(artifact.path, **setting) as runner:
                outputs = runner.run(images)
        except ArtifactError as error:
            yield VariantResult(name, (), (), float("nan"), allowed, str(error))
            continue
        flips = np.flatnonzero(outputs.argmax(axis=1) != default.argmax(axis=1))
        largest = float(np.nan_to_num(np.abs(outputs - default), nan=1.0).max())
        yield VariantResult(name, tuple(flips.tolist()), tuple(margins(default[flips]).tolist()), largest, allowed)
