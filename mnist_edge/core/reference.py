"""`reference.npz`: enough to check a model and its runtime on a device, without TensorFlow or the dataset."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.archives import read_arrays
from mnist_edge.core.errors import FolderError
from mnist_edge.core.files import atomic_write
from mnist_edge.core.reading import MEGABYTE, reading
from mnist_edge.core.typed_json import FileName, parse, structure

OUTPUT = "output/"
VARIATION = "keras_variation"
MOST_BYTES = 100 * MEGABYTE  # unpacked; 20 files of MNIST take 2


@dataclass(frozen=True)
class KerasVariation:
    """How far Keras's outputs vary over `images` training images, measured at export; the measure of tolerances.

    `run_to_run` is the largest difference in probability between the `runs`: the same model in other batch sizes, on
    one thread, and optimized otherwise. `float16_rounding` is the largest difference that half a float16 unit in the
    last place makes, added to or taken from every weight by chance. `logit_step` is what 8 bits make of the logits: the
    widest span of an image's ten logits, divided by 255. `int8_noise` and `int8_error` are the root mean square and the
    largest error of a logit where weights and activations are rounded to 8 bits in Keras; 0 in files of version 0.1.
    """

    STORED_NAMES: ClassVar[Mapping[str, str]] = {
        "run_to_run": "spread",
        "float16_rounding": "half",
        "logit_step": "step",
    }

    run_to_run: float
    float16_rounding: float
    logit_step: float
    images: int
    runs: tuple[str, ...]
    int8_noise: float = 0.0
    int8_error: float = 0.0


@dataclass(frozen=True)
class _Digests:
    """The SHA-256 of the test set, and of each file by its name, as `reference.npz` holds them."""

    test_sha256: str
    sha256: dict[FileName, str]


@dataclass(frozen=True)
class Reference:
    """Golden images, with the outputs of Keras and of the exporting host.

    `images` uint8 `[K, 28, 28]` and `labels` `[K]` are class-balanced test images, `indices` int64 `[K]` their
    places in the test set, whose SHA-256 is `test_sha256`. `keras` float32 `[N, 10]` are Keras's probabilities for
    the whole test set; `outputs` maps a file's name to its probabilities `[K, 10]` for the golden images on the
    exporting host, and `sha256` to its digest there.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    indices: NDArray[np.int64]
    test_sha256: str
    keras: NDArray[np.float32]
    outputs: dict[str, NDArray[np.float32]]
    sha256: dict[str, str]
    keras_variation: KerasVariation

    def check(self) -> None:
        """Raise ValueError where an array or a figure is not as the class says."""
        count, total = len(self.labels), len(self.keras)
        wanted: dict[str, tuple[NDArray[Any], str, tuple[int, ...]]] = {
            "images": (self.images, "uint8", (count, 28, 28)),
            "labels": (self.labels, "uint8", (count,)),
            "indices": (self.indices, "int64", (count,)),
            "keras": (self.keras, "float32", (total, 10)),
            **{OUTPUT + name: (values, "float32", (count, 10)) for name, values in self.outputs.items()},
        }
        for name, (values, dtype, shape) in wanted.items():
            if values.dtype != dtype or values.shape != shape:
                raise ValueError(f"{name} is {values.dtype} {list(values.shape)}, not {dtype} {list(shape)}")
        if not count or self.labels.max() > 9 or self.indices.min() < 0 or self.indices.max() >= total:
            raise ValueError("it has no images, or labels or indices out of range")
        if not np.isfinite(self.keras).all():
            raise ValueError("Keras's outputs in it are not all finite")
        variation = self.keras_variation
        if min(variation.run_to_run, variation.float16_rounding) < 0 or variation.logit_step <= 0:
            raise ValueError("a variation of Keras is negative, or the step of its logits is not above 0")

    def subset(self, count: int) -> Self:
        """Return the reference with `count` of the golden images, at equal distances, so that classes stay balanced."""
        some = np.linspace(0, len(self.labels) - 1, min(count, len(self.labels))).round().astype(np.int64)
        outputs = {name: values[some] for name, values in self.outputs.items()}
        images, labels, indices = self.images[some], self.labels[some], self.indices[some]
        return replace(self, images=images, labels=labels, indices=indices, outputs=outputs)

    def write(self, path: Path) -> None:
        """Write the reference, atomically; the same content gives the same bytes."""
        arrays: dict[str, Any] = {OUTPUT + name: values for name, values in sorted(self.outputs.items())}
        names = KerasVariation.STORED_NAMES
        variation = {names.get(name, name): value for name, value in asdict(self.keras_variation).items()}
        about = {"test_sha256": self.test_sha256, "sha256": self.sha256, VARIATION: variation}
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                images=self.images,
                labels=self.labels,
                indices=self.indices,
                keras=self.keras,
                about=np.array(json.dumps(about, sort_keys=True)),
                **arrays,
            )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the reference in a file. Raises FolderError where it is damaged."""
        with reading(FolderError, f"{path} cannot be read", "Export again."):
            arrays = read_arrays(path, MOST_BYTES)
            outputs = {name.removeprefix(OUTPUT): arrays.pop(name) for name in list(arrays) if name.startswith(OUTPUT)}
            about = parse(str(arrays.pop("about")))
            digests = structure(about, _Digests)
            (variation,) = (about[name] for name in about if name not in asdict(digests))  # 0.1 gave it another name
            reference = cls(
                **arrays, **asdict(digests), outputs=outputs, keras_variation=structure(variation, KerasVariation)
            )
            reference.check()
            return reference
