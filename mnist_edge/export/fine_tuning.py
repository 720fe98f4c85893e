"""Quantization-aware fine-tuning of the model of an export folder, before its int8 files are written."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge.data.dataset import Digits, balanced
from mnist_edge.export.inputs import CALIBRATION_SEED, ExportInputs
from mnist_edge.formats.keras.structure import structure_digest
from mnist_edge.training import store
from mnist_edge.training.qat import QatData, QatOptions, fine_tune, plain_batches
from mnist_edge.training.store import Trained
from mnist_edge.training.trainer import Progress, evaluate, origin

SHARE = 60  # one image in so many of the training images is held out, of each class


def fine_tuned_before(folder: Path, trained: Trained) -> Trained:
    """Return the fine-tuned model that a folder holds of this one, or the model itself."""
    return store.load(folder) if store.fine_tuned_from(folder, trained) else trained


def fine_tuned(
    inputs: ExportInputs,
    options: QatOptions | None = None,
    on_progress: Progress = lambda epoch, done, total, metrics, ended: None,
) -> ExportInputs:
    """Return the inputs of an export with their model fine-tuned for int8; as they are where it has been already.

    The export stores the new model in the folder, in place of the one that it came from.

    Args:
        inputs: the model, its folder and its data.
        options: how to train; the defaults with the model's own seed where it is None.
        on_progress: called after each batch and each epoch.

    Raises:
        ModelError: the network has a layer that fine-tuning does not know.
    """
    record = inputs.record
    if record.get("quantization"):
        return inputs
    train = inputs.dataset.train
    # of a small dataset most images are trained on
    held_out = balanced(train.labels, inputs.held_out, -(-len(train) // SHARE), CALIBRATION_SEED)
    rest = np.setdiff1d(inputs.training, held_out)
    options = options or QatOptions(seed=record.get("seed") or 0)
    data = QatData(
        plain_batches(Digits(train.images[rest], train.labels[rest]), seed=options.seed),
        inputs.calibration_images,
        Digits(train.images[held_out], train.labels[held_out]),
    )
    result = fine_tune(inputs.model, data, options, on_progress)
    changed: dict[str, Any] = {
        "test": evaluate(result.model, inputs.dataset.test),
        "qat": result.record,
        "quantization": {"ranges": list(map(list, result.ranges)), "source_sha256": record["weights_sha256"]},
        **origin(result.model),
    }
    if record.get("structure_sha256"):
        changed["structure_sha256"] = structure_digest(result.model)
    return replace(inputs, model=result.model, record={**record, **changed}, stored=False)
