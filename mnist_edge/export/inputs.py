"""What an export starts from: a Keras model, the record of its training, and choices of training images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import DataError
from mnist_edge.data.dataset import Dataset, balanced, split
from mnist_edge.formats.request import Quantization
from mnist_edge.training import store
from mnist_edge.training.store import Trained

CALIBRATION_PER_CLASS, CALIBRATION_SEED = 50, 0
HELD_OUT_PER_CLASS = 1000


@dataclass(frozen=True)
class ExportInputs:
    """A folder with a trained model, the model itself, and indices of training images.

    `training` are those that the model was trained on; `calibration` is the representative dataset, class-balanced;
    `held_out` are other training images, the validation split where there is one, on which a choice may be made without
    looking at test images. Where the model is not `stored` in the folder yet, the export does that.
    """

    folder: Path
    dataset: Dataset
    model: Any
    record: dict[str, Any]
    training: NDArray[np.int64]
    calibration: NDArray[np.int64]
    held_out: NDArray[np.int64]
    stored: bool = True

    @property
    def name(self) -> str:
        """Return the model's name, which is its folder's."""
        return self.folder.resolve().name

    @property
    def quantization(self) -> Quantization:
        """Return how int8 is quantized where nothing else is asked for: with the model's own ranges, if it has some."""
        record = self.record.get("quantization")
        return Quantization(ranges=tuple((low, high) for low, high in record["ranges"]) if record else ())

    @property
    def calibration_images(self) -> NDArray[np.uint8]:
        """Return the representative dataset, uint8 `[N, 28, 28]`."""
        return self.dataset.train.images[self.calibration]

    @property
    def held_out_images(self) -> NDArray[np.uint8]:
        """Return the held-out training images, uint8 `[N, 28, 28]`."""
        return self.dataset.train.images[self.held_out]


def load_inputs(folder: Path, dataset: Dataset, trained: Trained | None = None) -> ExportInputs:
    """Return the trained model of a folder with its calibration and held-out images.

    Args:
        folder: holds `model.keras` and `training.json`.
        dataset: the one that the model was trained on.
        trained: the model, where it is in memory already; the export stores it in the folder, unless it is there.

    Raises:
        ModelError: the folder's model cannot be used.
        DataError: the dataset is not the one that the model was trained on.
    """
    trained = trained or store.load(folder)
    stored = trained.folder == folder or store.holds(folder, trained)
    recorded = trained.record["dataset"]
    if (recorded["train_sha256"], recorded["test_sha256"]) != (dataset.train.digest, dataset.test.digest):
        raise DataError(
            f"the model in {folder} was trained on {recorded['name']}, but {dataset.source} is {dataset.name}. "
            "Give the data it was trained on with --data, or train again."
        )
    parts = trained.record["split"]
    training, validation = split(len(dataset.train), parts["validation_share"], parts["random_state"])
    calibration = balanced(dataset.train.labels, training, CALIBRATION_PER_CLASS, CALIBRATION_SEED)
    rest = validation if len(validation) else np.setdiff1d(training, calibration)
    held_out = balanced(dataset.train.labels, rest, HELD_OUT_PER_CLASS, CALIBRATION_SEED)
    return ExportInputs(folder, dataset, trained.model, trained.record, training, calibration, held_out, stored)
