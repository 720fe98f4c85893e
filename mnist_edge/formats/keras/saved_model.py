"""Takes over a SavedModel: its graph becomes a layer that a `.keras` file can hold, with its constants as weights."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.optional import silenced
from mnist_edge.core.reading import check_size, reading
from mnist_edge.formats.base import MOST_BYTES

SIGNATURES = "serving_default", "serve"
ACTIVATIONS = {"Sigmoid": "sigmoid", "Relu": "relu", "Tanh": "tanh"}
LINEAR = "BiasAdd", "MatMul", "Add", "AddV2"


def load_saved_model(path: Path) -> Any:
    """Return a Keras model that computes what the serving signature of a SavedModel does.

    Raises:
        ArtifactError: it cannot be read, or has not one input and one output.
    """
    import base64

    import keras
    import tensorflow as tf

    with reading(ArtifactError, f"{path} is not a SavedModel that can be taken over"):
        check_size(sum(file.stat().st_size for file in path.rglob("*") if file.is_file()), MOST_BYTES)
        with silenced():
            loaded = tf.saved_model.load(str(path))
            function = _signature(path, loaded.signatures)
            source, sink, graph = _frozen(tf, path, function)
            sink, last = _before_softmax(graph, sink)
            graph = tf.compat.v1.graph_util.extract_sub_graph(graph, [sink.partition(":")[0]])
            graph, weights = _split(tf, graph)
            image = keras.Input(batch_shape=source.shape.as_list(), dtype=source.dtype.name)
            layer = frozen_graph()(
                base64.b64encode(graph.SerializeToString(deterministic=True)).decode(),
                [source.name, sink],
                "linear" if last in LINEAR else ACTIVATIONS.get(last),
                name="saved_model",
            )
            outputs = layer(image)
            layer.set_weights([*weights, layer.get_weights()[-1]])
            return keras.Model(
                image, keras.layers.Softmax(name="probabilities")(outputs) if last == "Softmax" else outputs
            )


def _signature(path: Path, signatures: Any) -> Any:
    """Return the function that a SavedModel serves. Raises ArtifactError where it is not clear which."""
    name = next((name for name in SIGNATURES if name in signatures), None)
    if name is None and len(signatures) == 1:
        (name,) = signatures
    if name is None:
        names = ", ".join(signatures) or "none"
        raise ArtifactError(
            f"{path} has no signature {SIGNATURES[0]} ({names}). Save it with one: model.export('folder')."
        )
    return signatures[name]


def _frozen(tf: Any, path: Path, function: Any) -> tuple[Any, str, Any]:
    """Return the input, the output's name and the GraphDef of a function without variables. Raises ArtifactError."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    inputs = [tensor for tensor in frozen.inputs if tensor.dtype != tf.resource]
    if len(inputs) != len(frozen.inputs):
        raise ArtifactError(f"{path} holds tables besides its weights, which no .tflite or .onnx file can hold here.")
    if len(inputs) != 1 or len(frozen.outputs) != 1:
        raise ArtifactError(
            f"{path} has {len(inputs)} inputs and {len(frozen.outputs)} outputs, not one of each. Save one that has: "
            "keras.Model(inputs, output).export('folder')."
        )
    graph = frozen.graph.as_graph_def()
    for node in graph.node:
        node.device = ""
        node.attr.pop("_output_shapes", None)
    return inputs[0], frozen.outputs[0].name, graph


def _split(tf: Any, graph: Any) -> tuple[Any, list[NDArray[Any]]]:
    """Return the graph with a placeholder for each constant of real numbers, and those constants, in order."""
    weights = []
    for node in graph.node:
        if node.op != "Const":
            continue
        values = tf.make_ndarray(node.attr["value"].tensor)
        if values.dtype.kind == "f" and values.ndim:
            weights.append(values)
            kind = tf.as_dtype(values.dtype).as_datatype_enum
            node.op = "Placeholder"
            node.attr.clear()
            node.attr["dtype"].type = kind
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(values.shape).as_proto())
            node.attr["weight"].b = True
    return graph, weights


def _before_softmax(graph: Any, sink: str) -> tuple[str, str]:
    """Return the output's name, or that of the logits where it is their Softmax, and the last operator's kind."""
    nodes = {node.name: node for node in graph.node}
    node = nodes[sink.partition(":")[0]]
    while node.op == "Identity":
        node = nodes[node.input[0].partition(":")[0]]
    if node.op != "Softmax":
        return sink, node.op
    logits = node.input[0]
    return logits if ":" in logits else f"{logits}:0", node.op


def _copy(node: Any) -> Any:
    """Return a node that stays when its graph changes."""
    return type(node).FromString(node.SerializeToString())


def _remove(graph: Any, names: set[str]) -> None:
    """Remove the nodes that stand for what is fed, which XLA cannot compile."""
    kept = [_copy(node) for node in graph.node if node.name not in names]
    del graph.node[:]
    for node in kept:
        inputs = [name for name in node.input if not (name.startswith("^") and name[1:] in names)]
        del node.input[:]
        node.input.extend(inputs)
    graph.node.extend(kept)


@functools.cache
def frozen_graph() -> Any:
    """Return the layer's class; Keras knows it by its name from then on."""
    import base64
    import hashlib

    import keras
    import tensorflow as tf
    from tensorflow.python.eager import context

    class FrozenGraph(keras.layers.Layer):  # type: ignore[misc,name-defined,unused-ignore]
        """A TensorFlow graph: `graph` is a GraphDef in base64, `ends` name its input and its output.

        Its last weight is the graph's digest, so that models of other graphs have other weights.
        """

        def __init__(self, graph: str, ends: list[str], activation: str | None = None, **options: Any) -> None:
            super().__init__(**options)
            self.graph, self.ends = graph, list(ends)
            self.activation = keras.activations.get(activation) if activation else None
            content = base64.b64decode(graph)
            proto = tf.compat.v1.GraphDef.FromString(content)
            for function in proto.library.function:  # bodies of loops, which importing the graph does not make known
                context.context().add_function_def(function)
            self.graph_with_loop = any("While" in node.op for node in proto.node)
            constants = [_copy(node) for node in proto.node if "weight" in node.attr]
            for node in constants:
                shape = [size.size for size in node.attr["shape"].shape.dim]
                kind = tf.as_dtype(node.attr["dtype"].type).name
                self.add_weight(shape=shape, dtype=kind, initializer="zeros", trainable=False, autocast=False)
            _remove(proto, {self.ends[0].partition(":")[0], *(node.name for node in constants)})
            self._digest = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
            self.add_weight(shape=(32,), dtype="uint8", initializer=self._initial, trainable=False, autocast=False)

            def imported(image: Any) -> Any:
                feeds = {f"{node.name}:0": weight.value for node, weight in zip(constants, self.weights, strict=False)}
                return tf.graph_util.import_graph_def(
                    proto, input_map={self.ends[0]: image, **feeds}, return_elements=[self.ends[1]]
                )[0]

            compiled = tf.function(imported, autograph=False, reduce_retracing=True)
            self._run: Any = lambda image: (compiled if tf.executing_eagerly() else imported)(image)

        def _initial(self, shape: Any, dtype: Any = None) -> Any:
            return tf.constant(self._digest, dtype)

        def call(self, image: Any) -> Any:
            """Compute the graph; inside another graph it is imported there, which knows the shape of the batch."""
            return self._run(image)

        def get_config(self) -> dict[str, Any]:
            """Return what makes the same layer, without its weights."""
            activation = self.activation and keras.activations.serialize(self.activation)
            return {**super().get_config(), "graph": self.graph, "ends": self.ends, "activation": activation}

    register: Any = keras.saving.register_keras_serializable(package="mnist_edge")
    return register(FrozenGraph)
