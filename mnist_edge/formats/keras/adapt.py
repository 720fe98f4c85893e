"""Puts a Keras model into the form of the contract: float32 28×28×1 in [0, 1] → ten probabilities, Softmax last.

What comes out has copies of the layers, in float32 and without those that only train, such as Dropout.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mnist_edge.core.errors import ModelError
from mnist_edge.formats.keras.structure import Copies, plain_call, run

RANGES: Mapping[str, tuple[float, float]] = {"0..1": (1.0, 0.0), "0..255": (255.0, 0.0), "-1..1": (2.0, -1.0)}
"""Pixel ranges that networks are trained on, as scale and offset of a pixel in [0, 1]."""
SHAPES = ((28, 28, 1), (28, 28), (784,), (1, 28, 28), (28, 28, 3), (784, 1), (1, 784))
"""Input shapes that a 28×28 image can be brought into."""
ENDS = {"softmax": "softmax", "softmax_v2": "softmax", "sigmoid": "sigmoid"}
ENDS |= dict.fromkeys(("log_softmax", "log_softmax_v2", "logsoftmax"), "log-softmax")
NOTES = {
    "": "a Softmax was added: its ten outputs are taken as logits",
    "sigmoid": "its sigmoid was replaced by a Softmax: the classes are the same, the probabilities sum to 1",
    "log-softmax": "its log-softmax was replaced by a Softmax",
    "softmax": "",
}
OWN_NAMES = ("input_shape", "input_channels", "pixel_range", "ten", "probabilities")


def adapt(model: Any, shape: tuple[int, ...], pixel_range: str, position: int) -> tuple[Any, str]:
    """Return a Keras model in the form of the contract, and a note on what became of its end, "" where nothing.

    Args:
        model: any Keras model with one input.
        shape: its input for one image, one of `SHAPES`.
        pixel_range: what it takes, a key of `RANGES`.
        position: of its output with the ten classes.

    Raises:
        ModelError: a layer is called for training.
    """
    import keras

    copies = Copies(OWN_NAMES)
    image = keras.Input((28, 28, 1), name="image")
    source = _Source(_shaped(image, shape), RANGES[pixel_range])
    made_by: dict[int, tuple[Any, Any]] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if _changes_images(layer):
            return args[0]
        if kwargs.get("training") and ".layers.preprocessing." not in type(layer).__module__:
            raise ModelError(
                f"the layer {layer.name!r} is called with training=True, so its outputs differ at each call. Build the "
                "model without that and load the weights into it: an exported file has no random numbers."
            )
        if ".layers.regularization." in type(layer).__module__:
            return args[0]
        if args and args[0] is source.tensor and (affine := _affine(layer)) is not None:
            return source.rescaled(*affine)
        output = copies.call(layer, *args, **kwargs)
        if args and not isinstance(output, list | tuple | dict):
            made_by[id(output)] = layer, args[0]
        return output

    known = isinstance(model, keras.Sequential) or hasattr(model, "_run_through_graph")
    outputs = run(model, source.tensor, call) if known else model(source.tensor)
    output = keras.tree.flatten(outputs)[position]
    logits, end = _logits(output, made_by, copies)
    if not end and _sums_to_one(keras.Model(image, output)):
        return keras.Model(image, _ten(output)), ""
    if end == "softmax" and type(made_by[id(output)][0]).__name__ == "Dense" and output.shape == (None, 10):
        return keras.Model(image, output), ""
    return keras.Model(image, keras.layers.Softmax(name="probabilities")(_ten(logits))), NOTES[end]


def original_input(images: Any, shape: tuple[int, ...], pixel_range: str) -> Any:
    """Return uint8 images `[N, 28, 28]` as the model itself takes them, float32 `[N, *shape]`."""
    scale, offset = RANGES[pixel_range]
    pixels = images.astype(np.float32) / np.float32(255) * np.float32(scale) + np.float32(offset)
    return np.repeat(pixels[..., None], 3, axis=-1) if shape[-1] == 3 else pixels.reshape(-1, *shape)


class _Source:
    """The image as the model takes it; a Rescaling that the model begins with becomes one with the change of range."""

    def __init__(self, shaped: Any, affine: tuple[float, float]) -> None:
        self._shaped, self._affine = shaped, affine
        self.tensor = self._apply(*affine)

    def rescaled(self, scale: float, offset: float) -> Any:
        """Return what a Rescaling gives."""
        return self._apply(self._affine[0] * scale, self._affine[1] * scale + offset)

    def _apply(self, scale: float, offset: float) -> Any:
        import keras

        if np.allclose((scale, offset), (1, 0), atol=1e-7):
            return self._shaped
        return keras.layers.Rescaling(scale, offset, name="pixel_range")(self._shaped)


def _shaped(image: Any, shape: tuple[int, ...]) -> Any:
    import keras

    if shape == (28, 28, 3):
        return keras.layers.Concatenate(name="input_channels")([image, image, image])
    return image if shape == (28, 28, 1) else keras.layers.Reshape(shape, name="input_shape")(image)


def _affine(layer: Any) -> tuple[float, float] | None:
    """Return scale and offset of a layer that does the same to every pixel; None for other layers."""
    if type(layer).__name__ == "Rescaling" and np.ndim(layer.scale) == 0 and np.ndim(layer.offset) == 0:
        return float(layer.scale), float(layer.offset)
    if type(layer).__name__ == "Normalization" and np.size(layer.mean) == 1 and not layer.invert:
        scale = 1 / max(float(np.sqrt(np.ravel(layer.variance)[0])), 1e-7)
        return scale, -scale * float(np.ravel(layer.mean)[0])
    return None


def _changes_images(layer: Any) -> bool:
    """Return whether a layer changes images at random in training, and gives them back at inference."""
    random = type(layer).__name__.startswith(("Random", "Aug", "Mix", "Cut"))
    return random and ".image_preprocessing." in type(layer).__module__


def _logits(output: Any, made_by: dict[int, tuple[Any, Any]], copies: Copies) -> tuple[Any, str]:
    """Return the tensor before the activation that a network ends in, and its name; the output and "" where none."""
    tensor = output
    while id(tensor) in made_by:
        layer, source = made_by[id(tensor)]
        kind = type(layer).__name__
        if kind in {"Reshape", "Flatten", "Identity"}:
            tensor = source
            continue
        activation = getattr(layer, "activation", None)
        end = ENDS.get(str(getattr(activation, "__name__", kind)).lower(), "")
        if not end:
            break
        if kind in {"Activation", "Softmax", "LogSoftmax", "Sigmoid"}:
            return source, end
        return copies.without_activation(layer, source), end
    return output, ""


def _ten(tensor: Any) -> Any:
    """Return a tensor as `[N, 10]`."""
    import keras

    return tensor if tensor.shape == (None, 10) else keras.layers.Reshape((10,), name="ten")(tensor)


def _sums_to_one(model: Any) -> bool:
    """Return whether a model gives probabilities, for noise and for black."""
    pixels = np.random.default_rng(0).random((8, 28, 28, 1), np.float32) * np.arange(8).reshape(8, 1, 1, 1) / 7
    outputs = np.asarray(plain_call(model, pixels.astype(np.float32), training=False)).reshape(8, 10)
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=1e-3))
