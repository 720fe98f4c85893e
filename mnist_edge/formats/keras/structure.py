"""The graph of a Keras model: run layer by layer, nested models too, and rebuilt from copies of its layers."""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from mnist_edge.core.errors import ConversionError, ModelError
from mnist_edge.core.reading import reading

Call = Callable[..., Any]
"""Takes a layer and the arguments that it is called with, and returns its output."""


def plain_call(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a layer. Raises ModelError where that fails."""
    with reading(ModelError, f"the layer {layer.name!r} ({type(layer).__name__}) does not run"):
        return layer(*args, **kwargs)


def is_graph(layer: Any) -> bool:
    """Return whether a layer is a Sequential or Functional model, whose layers are known."""
    import keras

    return isinstance(layer, keras.Sequential | keras.src.models.Functional) and bool(layer.built)


def run(model: Any, inputs: Any, call: Call = plain_call) -> Any:
    """Run a model layer by layer, those of nested models too.

    Args:
        model: Sequential or Functional.
        inputs: tensors, or symbolic ones, which add the layers to another graph.
        call: called in place of each layer, in the order of computation.

    Returns:
        The outputs, in the model's own structure.
    """

    def inside(layer: Any, *args: Any, **kwargs: Any) -> Any:
        # a nested model that is called for training (dropout, batch statistics) is not what its layers give alone
        return (
            run(layer, args[0], call)
            if is_graph(layer) and not kwargs.get("training")
            else call(layer, *args, **kwargs)
        )

    graph = getattr(model, "_functional", None) or model
    # the method behind keras.models.clone_model and Functional.call, which do not take a nested model apart
    return graph._run_through_graph(inputs, operation_fn=lambda layer: layer, call_fn=inside)


def outputs_of(model: Any, values: Any) -> list[Any]:
    """Return a model's outputs for one input, taken alone, in a list or in a dict. Raises ModelError where it fails."""
    import keras

    struct = getattr(getattr(model, "_functional", None) or model, "_inputs_struct", None)
    inputs = values if struct is None else keras.tree.pack_sequence_as(struct, [values])
    with reading(ModelError, f"the model {model.name!r} does not run"):
        return list(keras.tree.flatten(model(inputs, training=False)))


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer: the places of the calls that made its inputs, -1 for the image, and its output's shape."""

    layer: Any
    sources: tuple[int, ...]
    shape: tuple[int, ...]


def layer_calls(model: Any) -> list[LayerCall]:
    """Return every call of a layer that changes its input, in the order of computation."""
    import keras

    calls: list[LayerCall] = []
    made_by: dict[int, int] = {}
    kept = []  # an id is another tensor's as soon as its own is gone

    def note(layer: Any, *args: Any, **kwargs: Any) -> Any:
        output = layer(*args, **kwargs)
        inputs = [item for item in keras.tree.flatten((args, kwargs)) if hasattr(item, "dtype")]
        if any(output is item for item in inputs):
            return output  # a layer that does nothing at inference returns its input itself
        for item in keras.tree.flatten(output):
            made_by[id(item)] = len(calls)
            kept.append(item)
        sources = tuple(made_by.get(id(item), -1) for item in inputs)
        calls.append(LayerCall(layer, sources, tuple(keras.tree.flatten(output)[0].shape)))
        return output

    run(model, black_image(), note)
    return calls


def structure_digest(model: Any) -> str:
    """Return the SHA-256 of what a model computes but for its weights; names do not count."""
    digest = hashlib.sha256()
    for item in layer_calls(model):
        config = item.layer.get_config() if hasattr(item.layer, "get_config") else {}
        config.pop("name", None)
        digest.update(f"{type(item.layer).__name__} {config} {item.sources}".encode())
    return digest.hexdigest()


def check_int8(model: Any) -> None:
    """Raise ConversionError where a network has a loop, which no converter computes in int8."""
    loops = [item.layer for item in layer_calls(model) if has_loop(item.layer)]
    if loops:
        kind, name = type(loops[0]).__name__, loops[0].name
        raise ConversionError(
            f"{kind} {name!r} runs in a loop, and no converter computes a loop in int8. Build it with unroll=True and "
            "load the weights into it, or export --float32"
        )


def has_loop(layer: Any) -> bool:
    """Return whether a layer computes step by step, in a loop of the graph."""
    inner = getattr(layer, "forward_layer", None) or layer
    return (hasattr(inner, "unroll") and not inner.unroll) or getattr(layer, "graph_with_loop", False)


def holds_loop(model: Any) -> bool:
    """Return whether a model holds a graph of a SavedModel in which there is a loop."""
    return any(getattr(item.layer, "graph_with_loop", False) for item in layer_calls(model))


def black_image() -> Any:
    """Return the input of one black image, a tensor `[1, 28, 28, 1]`."""
    import keras

    return keras.ops.convert_to_tensor(np.zeros((1, 28, 28, 1), np.float32))


def rebuilt(model: Any, call: Call) -> Any:
    """Return a Functional model 28×28×1 → `model`'s output, from what `call` makes of each layer."""
    import keras

    image = keras.Input((28, 28, 1), name="image")
    return keras.Model(image, run(model, image, call))


class Copies:
    """Copies of layers, each made once, in float32, and with a name of its own."""

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._by_id: dict[int, Any] = {}
        self._names: set[str] = {"image", *reserved}

    def of(self, layer: Any, **changes: Any) -> Any:
        """Return the copy of a layer, not yet built where it is new; `changes` are to its configuration."""
        import keras

        if id(layer) in self._by_id:
            return self._by_id[id(layer)]
        if not isinstance(layer, keras.layers.Layer):
            return layer  # an operation, such as keras.ops.add, has neither weights nor a dtype
        with _errors_of(layer):
            config = _in_float32(layer.get_config()) | changes
        while config["name"] in self._names:
            config["name"] += "_"
        self._names.add(config["name"])
        with _errors_of(layer):
            copy = type(layer).from_config(config)
        self._by_id[id(layer)] = copy
        return copy

    def call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what the copy of a layer gives, with the same weights."""
        copy = self.of(layer)
        with _errors_of(layer):
            output = copy(*args, **kwargs)
        if copy is not layer:
            copy.set_weights(layer.get_weights())
        if hasattr(copy, "finalize_state"):
            copy.finalize_state()  # Normalization computes with what it makes of its weights here
        return output

    def without_activation(self, layer: Any, source: Any) -> Any:
        """Return what a layer gives for `source` before its activation."""
        self._by_id.pop(id(layer), None)
        linear = self.of(layer, activation="linear")
        output = linear(source)
        linear.set_weights(layer.get_weights())
        return output


def _errors_of(layer: Any) -> AbstractContextManager[None]:
    """Name the layer in whatever Keras, or a layer of the user's, raises on being built anew. Raises ModelError."""
    kind = type(layer).__name__
    return reading(ModelError, f"the layer {layer.name!r} ({kind}) cannot be built for a 28×28 image")


def _in_float32(config: Any) -> Any:
    """Return a layer's configuration with every dtype policy set to float32, those of layers inside it too."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {"name": "float32"}}
        return {
            name: "float32" if name == "dtype" and isinstance(value, str) and "float16" in value else _in_float32(value)
            for name, value in config.items()
        }
    return [_in_float32(item) for item in config] if isinstance(config, list) else config
