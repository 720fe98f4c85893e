"""The same file computed in other ways: runtime settings, threads, batches. The classes must be the same."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.metrics import margins
from mnist_edge.formats.base import Format

BATCH = 32


@dataclass(frozen=True)
class VariantResult:
    """One way to compute a file, beside the default: which images change class, their margins, largest difference.

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
        """Return whether the classes are the same, but for images on which rounding may decide."""
        return self.error is None and max(self.margins, default=0.0) <= self.allowed


def run_variants(
    file_format: Format,
    path: Path,
    any_batch: bool,
    images: NDArray[np.uint8],
    usual: NDArray[np.float32],
    allowed: float,
) -> Iterator[VariantResult]:
    """Run a file in every way that its runtime and its shape allow.

    Args:
        file_format: of the file.
        path: the file.
        any_batch: it takes any number of images a call.
        images: uint8 `[N, 28, 28]`.
        usual: what it gives by default: one thread, batch 1, the runtime's own settings.
        allowed: the margin up to which rounding may change a class.
    """
    threads = max(os.cpu_count() or 1, 2)
    settings: dict[str, dict[str, Any]] = {name: {"variant": name} for name in file_format.variants}
    if file_format.platform is None:
        settings[f"{threads} threads"] = {"threads": threads}
    if any_batch:
        settings[f"batch {BATCH}"] = {"batch": BATCH}
    for name, setting in settings.items():
        try:
            with file_format.open(path, **setting) as runner:
                outputs = runner.run(images)
        except ArtifactError as error:
            yield VariantResult(name, (), (), float("nan"), allowed, str(error))
            continue
        flips = np.flatnonzero(outputs.argmax(axis=1) != usual.argmax(axis=1))
        largest = float(np.nan_to_num(np.abs(outputs - usual), nan=1.0).max())
        yield VariantResult(name, tuple(flips.tolist()), tuple(margins(usual[flips]).tolist()), largest, allowed)
