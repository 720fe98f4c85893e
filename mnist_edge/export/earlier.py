"""What the earlier exports into a folder left, as far as the next one can keep it."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import ArtifactError, FolderError
from mnist_edge.core.folder import REFERENCE
from mnist_edge.core.manifest import About, Artifact, Manifest
from mnist_edge.core.reference import KerasVariation, Reference

VARYING_BY = ("cpu", "machine", "cores", "system", "python")
"""The fields of a host on which it may depend how far Keras's outputs vary."""


@dataclass(frozen=True)
class Earlier:
    """The whole artifacts of earlier exports of a model by name, their outputs `[K, 10]`, and the names of the others.

    `keras_variation` is None where it has to be measured anew: another machine, another version, other images.
    """

    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    outputs: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    keras_variation: KerasVariation | None = None

    @classmethod
    def read(cls, folder: Path, about: About) -> "Earlier":
        """Return what a folder holds of the model that `about` tells of."""
        try:
            manifest = Manifest.read(folder)
        except FolderError:
            return cls()
        names = tuple(artifact.path.name for artifact in manifest.artifacts)
        try:
            reference = Reference.read(manifest.check(REFERENCE))
        except (FolderError, ArtifactError):
            return cls(left_out=names)
        if manifest.about.weights_sha256 != about.weights_sha256:
            return cls(left_out=names)
        whole = {}
        for artifact in manifest.artifacts:
            with suppress(ArtifactError):
                artifact.check()
                whole[artifact.path.name] = artifact
        outputs = {name: reference.outputs[name] for name in whole if name in reference.outputs}
        variation = reference.keras_variation if _measured_alike(manifest.about, about) else None
        if variation is not None and not variation.int8_noise:
            variation = None  # of version 0.1, which did not simulate int8
        return cls(whole, outputs, tuple(name for name in names if name not in whole), variation)


def _measured_alike(before: About, now: About) -> bool:
    """Return whether Keras would vary as it did: the same images, versions and machine."""
    same = all(
        getattr(before, name) == getattr(now, name) for name in ("mnist_edge", "dataset", "calibration", "versions")
    )
    return same and all(before.host.get(name) == now.host.get(name) for name in VARYING_BY)
