"""`reference.npz`: enough to check a model and its runtime on a device, without TensorFlow or the dataset."""

import json
import zipfile
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import FolderError
from mnist_edge.core.files import DAMAGED, atomic_write

OUTPUT = "output/"
STORED = {"run_to_run": "spread", "float16_rounding": "half", "logit_step": "step"}  # names in the file


@dataclass(frozen=True)
class KerasVariation:
    """What tolerances are measured in: taken at export, in Keras itself, over `images` training images.

    `run_to_run` is the largest difference in probability between the `runs`: the same model in other batch sizes, on
    one thread, and optimized otherwise. `float16_rounding` is the largest difference that half a float16 unit in the
    last place makes, added to or taken from every weight by chance. `logit_step` is what 8 bits make of the logits: the
    widest span of an image's ten logits, divided by 255.
    """

    run_to_run: float
    float16_rounding: float
    logit_step: float
    images: int
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Reference:
    """Golden images with what Keras and the exporting host made of them.

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
        """Raise ValueError where an array has not the form that stands above, or a figure is none."""
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
            raise ValueError("it has no images, or labels and indices that cannot be")
        texts = [self.test_sha256, *self.sha256.values(), *self.keras_variation.runs]
        figures = [
            self.keras_variation.run_to_run,
            self.keras_variation.float16_rounding,
            self.keras_variation.logit_step,
        ]
        if not all(isinstance(text, str) for text in texts) or not all(0 <= figure < np.inf for figure in figures):
            raise ValueError("what it tells of itself cannot be")

    def subset(self, count: int) -> Self:
        """Return it with `count` of the golden images, taken at equal distances, so that the classes stay balanced."""
        some = np.linspace(0, len(self.labels) - 1, min(count, len(self.labels))).round().astype(np.int64)
        outputs = {name: values[some] for name, values in self.outputs.items()}
        images, labels, indices = self.images[some], self.labels[some], self.indices[some]
        return replace(self, images=images, labels=labels, indices=indices, outputs=outputs)

    def write(self, path: Path) -> None:
        """Write it, atomically; the same content gives the same bytes."""
        arrays: dict[str, Any] = {OUTPUT + name: values for name, values in sorted(self.outputs.items())}
        variation = {STORED.get(name, name): value for name, value in asdict(self.keras_variation).items()}
        about = {"test_sha256": self.test_sha256, "sha256": self.sha256, "yardstick": variation}
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
        """Read it back. Raises FolderError where it is damaged."""
        try:
            if not zipfile.is_zipfile(path):  # np.load would leave the file open
                raise ValueError("not a zip archive")
            with np.load(path, allow_pickle=False) as content:
                arrays = dict(content.items())
            outputs = {name.removeprefix(OUTPUT): arrays.pop(name) for name in list(arrays) if name.startswith(OUTPUT)}
            about = json.loads(str(arrays.pop("about")))
            stored = about.pop("yardstick")
            measured = {name: stored[STORED.get(name, name)] for name in KerasVariation.__dataclass_fields__}
            keras_variation = KerasVariation(**{**measured, "runs": tuple(measured["runs"])})
            found = cls(**arrays, **about, outputs=outputs, keras_variation=keras_variation)
            found.check()
            return found
        except (OSError, *DAMAGED, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise FolderError(f"{path} cannot be read ({error}). Export again.") from error
