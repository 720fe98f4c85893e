"""Folds BatchNormalization into the layer before it, and Relu into its layer: what a converter computes anyway.

Both converters start from the folded network, and `verify` compares files with its layers.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats.keras.structure import Copies, LayerCall, layer_calls, rebuilt

CHANNEL_AXIS = {"DepthwiseConv2D": (2, 3), "Conv2DTranspose": (2,)}
"""The axes of a kernel that make its output channels; the last one where a class is not named."""
FOLDABLE = ("Conv1D", "Conv2D", "Dense", *CHANNEL_AXIS)


def folded(model: Any) -> Any:
    """Return a Keras model with fewer layers that gives the same; the model itself where there is nothing to fold.

    Args:
        model: float32 28×28×1 → ten numbers, Sequential or Functional.
    """
    calls = layer_calls(model)
    norms, relus = _found(calls)
    if not norms and not relus:
        return model
    copies = Copies()
    gone = {id(layer) for layer in (*norms.values(), *relus.values())}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if id(layer) in gone:
            return args[0]
        norm, relu = norms.get(id(layer)), relus.get(id(layer))
        if norm is None and relu is None:
            return copies.call(layer, *args, **kwargs)
        changes: dict[str, Any] = {} if norm is None else {"use_bias": True}
        if relu is not None:
            changes["activation"] = "relu6" if activation_name(relu) == "relu6" else "relu"
        copy = copies.of(layer, **changes)
        output = copy(*args, **kwargs)
        copy.set_weights(layer.get_weights() if norm is None else _weights(layer, norm))
        return output

    return rebuilt(model, call)


def _found(calls: list[LayerCall]) -> tuple[dict[int, Any], dict[int, Any]]:
    """Return the BatchNormalization and the Relu that can be folded into a layer, by the layer's id."""
    users: dict[int, list[int]] = {}
    for index, item in enumerate(calls):
        for source in item.sources:
            users.setdefault(source, []).append(index)
    once = {id(item.layer) for item in calls}
    for layer_id in list(once):
        if sum(id(item.layer) == layer_id for item in calls) > 1:
            once.discard(layer_id)  # a shared layer has other neighbours at each call
    norms: dict[int, Any] = {}
    relus: dict[int, Any] = {}

    def only_user(index: int) -> int | None:
        found = users.get(index, [])
        return found[0] if len(found) == 1 and id(calls[found[0]].layer) in once else None

    for index, item in enumerate(calls):
        layer = item.layer
        if type(layer).__name__ not in FOLDABLE or id(layer) not in once or activation_name(layer) != "linear":
            continue
        following = only_user(index)
        if following is not None and _is_channel_norm(calls[following]):
            norms[id(layer)] = calls[following].layer
            following = only_user(following)
        if following is not None and _is_relu(calls[following].layer):
            relus[id(layer)] = calls[following].layer
    return norms, relus


def activation_name(layer: Any) -> str:
    """Return the name of a layer's activation, `linear` where it has none."""
    if type(layer).__name__ == "ReLU":
        plain = layer.negative_slope == 0 and layer.threshold == 0
        return {None: "relu", 6.0: "relu6"}.get(layer.max_value, "other") if plain else "other"
    activation = getattr(layer, "activation", None)
    return "linear" if activation is None else str(getattr(activation, "__name__", "other"))


def _is_relu(layer: Any) -> bool:
    return type(layer).__name__ in {"ReLU", "Activation"} and activation_name(layer) in {"relu", "relu6"}


def _is_channel_norm(call: LayerCall) -> bool:
    """Return whether a call is a BatchNormalization over the last axis."""
    layer, rank = call.layer, len(call.shape)
    return type(layer).__name__ == "BatchNormalization" and layer.axis in (-1, rank - 1)


def _weights(layer: Any, norm: Any) -> list[NDArray[np.float32]]:
    """Return kernel and bias of a layer with a BatchNormalization folded in, computed in float64."""
    mean, variance = (np.asarray(item, np.float64) for item in (norm.moving_mean, norm.moving_variance))
    gamma = 1.0 if norm.gamma is None else np.asarray(norm.gamma, np.float64)
    beta = 0.0 if norm.beta is None else np.asarray(norm.beta, np.float64)
    factor = gamma / np.sqrt(variance + norm.epsilon)
    kernel = np.asarray(layer.kernel, np.float64)
    axes = CHANNEL_AXIS.get(type(layer).__name__, (kernel.ndim - 1,))
    shape = [size if axis in axes else 1 for axis, size in enumerate(kernel.shape)]
    bias = np.asarray(layer.bias, np.float64) if layer.use_bias else 0.0
    return [
        np.asarray(kernel * factor.reshape(shape), np.float32),
        np.asarray((bias - mean) * factor + beta, np.float32),
    ]


def ungrouped(model: Any) -> Any:
    """Return a Keras model whose grouped convolutions are full ones, with zeros between the groups; it gives the same.

    tf2onnx has no grouped convolution; the zeros are taken out of the finished graph again.
    """
    if all(_groups(call.layer) == 1 for call in layer_calls(model)):
        return model
    copies = Copies()

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        groups = _groups(layer)
        if groups == 1:
            return copies.call(layer, *args, **kwargs)
        copy = copies.of(layer, groups=1)
        output = copy(*args, **kwargs)
        kernel, *rest = layer.get_weights()
        inputs, outputs = kernel.shape[-2:]
        whole = np.zeros((*kernel.shape[:-2], inputs * groups, outputs), np.float32)
        for group in range(groups):
            channels = slice(group * outputs // groups, (group + 1) * outputs // groups)
            whole[..., group * inputs : (group + 1) * inputs, channels] = kernel[..., channels]
        copy.set_weights([whole, *rest])
        return output

    return rebuilt(model, call)


def _groups(layer: Any) -> int:
    """Return the groups of a convolution, 1 of other layers; GroupNormalization has some of another kind."""
    return int(layer.groups) if type(layer).__name__ in {"Conv1D", "Conv2D"} else 1


def stable(model: Any) -> Any:
    """Return a Keras model whose softplus and mish are computed from numbers of a small range; it gives the same.

    TFLite has no softplus. It takes log(1 + exp(x)), whose exponential no 256 values hold.
    """
    if not {activation_name(call.layer) for call in layer_calls(model)} & set(STABLE):
        return model
    copies, small_range = Copies(), _small_range()
    activations: dict[int, Any] = {}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        function = activation_name(layer)
        if function not in STABLE:
            return copies.call(layer, *args, **kwargs)
        before = args[0] if type(layer).__name__ == "Activation" else copies.without_activation(layer, args[0])
        name = f"{layer.name}_in_a_small_range"
        return activations.setdefault(id(layer), small_range(function, name=name))(before)

    return rebuilt(model, call)


def _small_range() -> Any:
    """Return a class of layers that compute a function of `STABLE`."""
    import keras

    class SmallRange(keras.layers.Layer):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self, function: str, **options: Any) -> None:
            super().__init__(**options)
            self.function = function

        def call(self, values: Any) -> Any:
            return STABLE[self.function](values)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "function": self.function}

    return SmallRange


def _softplus(values: Any) -> Any:
    from keras import ops

    return ops.relu(values) + ops.log(ops.exp(-ops.abs(values)) + 1)


def _mish(values: Any) -> Any:
    from keras import ops

    return values * ops.tanh(_softplus(values))


STABLE = {"softplus": _softplus, "mish": _mish}
