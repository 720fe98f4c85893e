"""What a Keras model takes in memory, known before it is built or run: a few bytes can ask for many gigabytes."""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mnist_edge.core.optional import silenced
from mnist_edge.core.reading import MEGABYTE

SLACK = 10 * MEGABYTE  # what a model may have besides the weights that its file stores
MOST_OUTPUT = 2**24
"""Numbers that a layer may give for one image; 28×28×64 are 2**16."""
AT_ONCE = 2**26
"""Numbers that a layer may give for a batch."""


def check_weights(build: Callable[[], Any], stored: int) -> None:
    """Build a model without the memory of its weights. Raises ValueError where its file cannot hold so many bytes.

    Args:
        build: makes the model from its architecture.
        stored: bytes that the file holds.
    """
    import keras
    from keras.src.backend.common import global_state
    from keras.src.utils.dtype_utils import dtype_size  # in bits

    with silenced(), suppress(Exception), keras.StatelessScope(initialize_variables=False):
        build()  # what is wrong with it, Keras says when it is loaded
    variables = global_state.get_global_attribute("uninitialized_variables") or []
    global_state.set_global_attribute("uninitialized_variables", [])
    size = sum(math.prod(item.shape) * dtype_size(item.dtype) // 8 for item in variables)
    if size > stored + SLACK:
        raise ValueError(
            f"its layers have {size / MEGABYTE:,.0f} MB of weights, of which the file holds {stored / MEGABYTE:,.1f}"
        )


def largest_output(model: Any) -> int:
    """Return how many numbers the largest output of a layer has for one image; sizes that are free count as 1."""
    nodes = [node for layer in model._flatten_layers() for node in layer._inbound_nodes]
    shapes = [tensor.shape for node in nodes for tensor in node.output_tensors]
    return max((math.prod(size or 1 for size in shape[1:]) for shape in shapes), default=1)


def check_outputs(model: Any) -> None:
    """Raise ValueError where a layer gives an absurd number of numbers."""
    if (largest := largest_output(model)) > MOST_OUTPUT:
        raise ValueError(f"a layer gives {largest:,} numbers for one image, and the limit is {MOST_OUTPUT:,}")
