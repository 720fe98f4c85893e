"""What a file has to take and give: one 28×28 image in, ten numbers out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.manifest import Tensor


def image_and_numbers(path: Path, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Give a file's input and its first output.

    Raises:
        ArtifactError: it takes anything but 28×28 images, or gives anything but ten numbers for each.
    """
    if len(inputs) == 1 and outputs and _is_image(inputs[0]) and _is_ten(outputs[0], inputs[0].shape[0]):
        return inputs[0], outputs[0]
    takes, gives = (", ".join(map(_words, ends)) or "nothing" for ends in (inputs, outputs))
    raise ArtifactError(f"{path} takes {takes} and gives {gives}: not one 28×28 image in, ten probabilities out.")


def _is_image(tensor: Tensor) -> bool:
    """Tell whether the sizes behind the batch are an image's; those that are free or 1 do not count."""
    return _is_number(tensor) and [size for size in tensor.shape[1:] if size not in (1, None)] in ([28, 28], [784])


def _is_ten(tensor: Tensor, batch: int | None) -> bool:
    if not _is_number(tensor) or tensor.shape[-1:] != (10,) or {*tensor.shape[1:-1]} - {1, None}:
        return False
    rows = 1 if len(tensor.shape) == 1 else tensor.shape[0]
    return batch is None or rows in (batch, None)


def _is_number(tensor: Tensor) -> bool:
    try:
        return np.dtype(tensor.dtype).kind in "fiu"
    except TypeError:
        return False  # text, or a kind of number that NumPy does not have


def _words(tensor: Tensor) -> str:
    return f"{tensor.dtype} [{', '.join('N' if size is None else str(size) for size in tensor.shape)}]"
