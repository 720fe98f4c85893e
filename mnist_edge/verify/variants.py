"""Variants: the same file with other runtime settings, threads and batches. The classes must be the same."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import ArtifactError, BrokenRuntime, MissingRuntime
from mnist_edge.core.manifest import Artifact
from mnist_edge.core.metrics import margins
from mnist_edge.formats.base import Format

BATCH = 32


@dataclass(frozen=True)
class VariantResult:
    """The images that change class in a variant, their margins, and the largest difference from the default.

    `allowed` is the margin up to which rounding may change a class; `error` says why the file does not run so,
    `skipped` why that could not be tried here. `nearer` says by how much smaller the mean square difference to Keras is
    than without the setting.
    """

    name: str
    flips: tuple[int, ...]
    margins: tuple[float, ...]
    largest_difference: float
    allowed: float
    error: str | None = None
    skipped: str | None = None
    nearer: float = 1.0

    @property
    def passed(self) -> bool:
        """Return whether the classes are the same, except for images on which rounding may decide."""
        return self.error is None and max(self.margins, default=0.0) <= self.allowed


@dataclass(frozen=True)
class Usual:
    """The uint8 `images` `[N, 28, 28]` of the variants, with a file's usual `outputs` and Keras's, `[N, 10]` each.

    Usual is one thread, a batch of 1 and the runtime's own settings.
    """

    images: NDArray[np.uint8]
    outputs: NDArray[np.float32]
    keras: NDArray[np.float32]

    def nearer(self, outputs: NDArray[np.float32]) -> float:
        """Return by how much smaller the mean square difference of other outputs to Keras's is."""
        with np.errstate(over="ignore", invalid="ignore"):  # outputs may be no numbers at all
            usual, other = (float(np.square(values - self.keras).mean()) for values in (self.outputs, outputs))
        return usual / max(other, 1e-30)


def run_variants(file_format: Format, artifact: Artifact, usual: Usual, allowed: float) -> Iterator[VariantResult]:
    """Run a file in every variant that its runtime and its shape allow.

    Args:
        file_format: of the file.
        artifact: the file.
        usual: what it gives without them.
        allowed: the margin up to which rounding may change a class.
    """
    threads = max(os.cpu_count() or 1, 2)
    settings: dict[str, dict[str, Any]] = {name: {"variant": name} for name in file_format.variants}
    if file_format.platform is None:
        settings[f"{threads} threads"] = {"threads": threads}
    if artifact.contract.input.shape[0] is None:
        settings[f"batch {BATCH}"] = {"batch": BATCH}
    for name, setting in settings.items():
        missing = file_format.missing_variant(name) if name in file_format.variants else None
        if missing:
            yield VariantResult(name, (), (), float("nan"), allowed, skipped=missing)
            continue
        try:
            with file_format.open(artifact.path, **setting) as runner:
                outputs = runner.run(usual.images)
        except (ArtifactError, BrokenRuntime) as error:
            yield VariantResult(name, (), (), float("nan"), allowed, str(error))
            continue
        except MissingRuntime as error:
            yield VariantResult(name, (), (), float("nan"), allowed, skipped=str(error))
            continue
        flips = np.flatnonzero(outputs.argmax(axis=1) != usual.outputs.argmax(axis=1))
        largest = float(np.nan_to_num(np.abs(outputs - usual.outputs), nan=1.0).max())
        changed, at = tuple(flips.tolist()), tuple(margins(usual.outputs[flips]).tolist())
        yield VariantResult(name, changed, at, largest, allowed, nearer=usual.nearer(outputs))
