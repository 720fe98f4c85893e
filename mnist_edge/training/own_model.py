"""Takes over a Keras model of the user's own: checks it, finds its pixel range, and gives it the contract's form."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge.core.errors import ModelError
from mnist_edge.core.optional import require_keras, silenced
from mnist_edge.core.typed_json import SCHEMA
from mnist_edge.data.dataset import Dataset, Digits
from mnist_edge.formats.first_look import SCAN, first_look
from mnist_edge.formats.keras import FORMAT as KERAS
from mnist_edge.formats.keras.adapt import RANGES, SHAPES, adapt, original_input
from mnist_edge.formats.keras.files import digest, load_any
from mnist_edge.formats.keras.model import predict
from mnist_edge.formats.keras.structure import outputs_of, structure_digest
from mnist_edge.formats.runner import softmax
from mnist_edge.training.store import Trained
from mnist_edge.training.trainer import dataset_record, evaluate, origin, split_record

GUESSING = 0.2  # a share of images that says nothing
AS_GOOD = 0.01  # share of images by which another range has to beat 0..1, the usual one
TRIED, CHECKED = 1000, 200


@dataclass(frozen=True)
class OwnModelOptions:
    """What a user says of a model.

    `pixel_range` is a key of `RANGES`, found by trying where it is None; `output` the name of the output with the ten
    classes, where there are several.
    """

    pixel_range: str | None = None
    output: str | None = None


@dataclass(frozen=True)
class OwnModel:
    """A model in the form of the contract, the pixel range that the original takes, and what is worth telling."""

    model: Any
    pixel_range: str
    notes: tuple[str, ...]


def take_over(model: Any, name: str, digits: Digits, options: OwnModelOptions = OwnModelOptions()) -> OwnModel:
    """Return a user's model in the form of the contract.

    Args:
        model: Keras model with one input.
        name: for messages.
        digits: training images, on which the pixel range is found.
        options: what the user says of it.

    Raises:
        ModelError: it cannot be used; the message says what to change.
    """
    _check_weights(model, name)
    shape = _input_shape(model, name)
    position, note = _output(model, name, options.output)
    notes = [note]
    ranges = RANGES if options.pixel_range is None else (options.pixel_range,)
    with silenced():
        candidates = {item: adapt(model, shape, item, position) for item in ranges}
    pixel_range = options.pixel_range
    if pixel_range is None:
        pixel_range, note = _find_range({item: own for item, (own, _) in candidates.items()}, digits)
        notes.append(note)
    own, note = candidates[pixel_range]
    _check_same(model, own, (shape, pixel_range, position), digits, name)
    return OwnModel(own, pixel_range, tuple(filter(None, (*notes, note))))


def adopt(source: Path | Any, dataset: Dataset, options: OwnModelOptions = OwnModelOptions()) -> Trained:
    """Take over a Keras model of the user's own: one 28×28 image in, ten classes out.

    Args:
        source: a file or folder that `load_any` takes, loaded in safe mode, or a model in memory.
        dataset: for calibration, and to say how good the model is.
        options: what the user says of the model.

    Raises:
        ArtifactError: it cannot be read.
        ModelError: it has another shape, or cannot be used; the message says what to change.
    """
    require_keras("taking over a model")
    path = source if isinstance(source, Path) else None
    name = str(path or "the model")
    if path:
        first_look(path, KERAS, step=SCAN)
    model = load_any(path) if path else source
    own = take_over(model, name, dataset.train, options)
    record = {
        "schema": SCHEMA,
        "recipe": None,
        "taken_from": {"file": path.name, "sha256": digest(path)} if path else None,
        "pixel_range": own.pixel_range,
        "notes": list(own.notes),
        "structure_sha256": structure_digest(own.model),
        "split": split_record(len(dataset.train), 0, None, None),
        "dataset": dataset_record(dataset),
        "test": evaluate(own.model, dataset.test),
        "floor": None,
        **origin(own.model),
    }
    return Trained(own.model, record, dataset)


def _check_weights(model: Any, name: str) -> None:
    """Raise ModelError where a weight is not finite."""
    for weight in model.weights:
        values = np.asarray(weight).astype(np.float32)
        if bad := int((~np.isfinite(values)).sum()):
            raise ModelError(
                f"{bad} of {values.size} weights in {weight.path} of {name} are not finite: train it again."
            )


def _input_shape(model: Any, name: str) -> tuple[int, ...]:
    """Return the shape, without the batch, that an image is brought into. Raises ModelError where none fits."""
    shapes = [tuple(item.shape[1:]) for item in getattr(model, "inputs", None) or []]
    for wanted in SHAPES if len(shapes) == 1 else ():
        if len(wanted) == len(shapes[0]) and all(
            size in (None, other) for size, other in zip(shapes[0], wanted, strict=True)
        ):
            return wanted
    takes = " and ".join(str((None, *shape)) for shape in shapes) or "no input of a known shape"
    raise ModelError(
        f"{name} takes {takes}. It has to take one 28×28 image, as (28, 28, 1), (28, 28), (784,), (1, 28, 28) or "
        "(28, 28, 3). Put a layer in front that brings the image into its shape."
    )


def _output(model: Any, name: str, wanted: str | None) -> tuple[int, str]:
    """Return the position of the output with the ten classes, and a note where there are others."""
    outputs = list(model.outputs)
    names = list(map(str, getattr(model, "output_names", range(len(outputs)))))
    ten = [index for index, item in enumerate(outputs) if None not in item.shape[1:] and np.prod(item.shape[1:]) == 10]
    shapes = [str(tuple(item.shape)) for item in outputs]
    listed = ", ".join(map(" ".join, zip(names, shapes, strict=True))) if len(shapes) > 1 else shapes[0]
    if wanted is not None:
        if wanted not in names:
            raise ModelError(f"{name} has no output {wanted!r}. Say one of {', '.join(names)}.")
        ten = [index for index in ten if names[index] == wanted]
    if not ten:
        raise ModelError(f"{name} gives {listed}; wanted are ten numbers, one for each digit.")
    if len(ten) > 1:
        raise ModelError(f"{name} has {len(ten)} outputs of ten numbers, {listed}. Say which one: --output NAME.")
    taken = len(outputs) > 1 and wanted is None
    return ten[0], f"of its outputs {listed}, {names[ten[0]]} was taken" if taken else ""


def _find_range(models: dict[str, Any], digits: Digits) -> tuple[str, str]:
    """Return the pixel range with which a model reads training images best, and a note where it is not 0..1."""
    images, labels = digits.images[:TRIED], digits.labels[:TRIED]
    right = {item: float((predict(own, images).argmax(axis=1) == labels).mean()) for item, own in models.items()}
    best = max(right, key=lambda item: right[item])
    if right[best] <= max(right["0..1"] + AS_GOOD, GUESSING):
        return "0..1", ""
    tried = ", ".join(f"{item} {share:.1%}" for item, share in right.items())
    return best, (
        f"its pixels go from {best.replace('..', ' to ')}: found by trying on {len(labels)} training images ({tried} "
        "right). The exported files take the same pixels as all others; --input-range says it where this is wrong"
    )


def _check_same(model: Any, own: Any, form: tuple[tuple[int, ...], str, int], digits: Digits, name: str) -> None:
    """Raise ModelError where a model gives other answers at each call, none, or others than before it was changed."""
    shape, pixel_range, position = form
    images = digits.images[:CHECKED]
    pixels = original_input(images, shape, pixel_range)

    def original() -> Any:
        with silenced():
            # one by one: an input may have a fixed batch of 1
            batch = model.inputs[0].shape[0] or len(pixels)
            parts = [
                outputs_of(model, pixels[start : start + batch])[position] for start in range(0, len(pixels), batch)
            ]
        return np.concatenate([np.asarray(part, np.float32) for part in parts])

    before = original().reshape(-1, 10)
    if not np.isfinite(before).all():
        raise ModelError(f"{name} gives outputs that are not finite for {CHECKED} training images: train it again.")
    if not np.allclose(before, original().reshape(-1, 10), atol=1e-3 * float(np.ptp(before)) + 1e-6):
        raise ModelError(
            f"{name} gives other outputs at each call: a layer of it draws random numbers at inference. Build it "
            "without that, and load the weights into it: an exported file has no random numbers."
        )
    after = predict(own, images)
    same = (before.argmax(axis=1) == after.argmax(axis=1)).mean()
    exact = any(
        np.allclose(after, scores, atol=1e-2) for scores in (before, softmax(before), softmax_of_sigmoid(before))
    )
    if same < 0.99 or not exact:
        raise ModelError(f"{name} could not be put into the form of the contract: it then gives other answers.")


def softmax_of_sigmoid(outputs: Any) -> Any:
    """Return Softmax over the numbers whose sigmoid the outputs are."""
    inside = np.clip(outputs, 1e-30, 1 - 1e-7)
    return softmax(np.asarray(np.log(inside / (1 - inside)), np.float32))
