"""Plants faults that converters, runtimes and people really make, into files of any recipe and format."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from mnist_edge.core.files import sha256
from mnist_edge.core.manifest import Manifest
from mnist_edge.core.reference import Reference
from mnist_edge.data.dataset import Dataset
from mnist_edge.export.inputs import load_inputs
from mnist_edge.formats import FORMATS
from mnist_edge.formats.request import Request


def resign(folder: Path, name: str) -> None:
    """Write a changed file's size and SHA-256 into the manifest, as a forger would."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    entries = [*content["artifacts"], *({"file": key, **value} for key, value in content["files"].items())]
    for entry in entries:
        if entry["file"] == name:
            entry["bytes"], entry["sha256"] = (folder / name).stat().st_size, sha256(folder / name)
            if name in content["files"]:
                content["files"][name] = entry
    path.write_text(json.dumps(content))


def only(folder: Path, target: Path, *names: str) -> Path:
    """Copy an export with some of its artifacts alone."""
    shutil.copytree(folder, target)
    manifest = Manifest.read(target)
    replace(manifest, artifacts=tuple(item for item in manifest.artifacts if item.path.name in names)).write()
    return target


def record(folder: Path, name: str) -> None:
    """Enter a changed file as if the exporter itself had written it: manifest, digest and recorded outputs."""
    resign(folder, name)
    golden = Reference.read(folder / "reference.npz")
    (artifact,) = Manifest.read(folder).artifacts
    with FORMATS[artifact.format].open(folder / name) as runner:
        golden.outputs[name] = runner.run(golden.images)
    golden.sha256[name] = sha256(folder / name)
    golden.write(folder / "reference.npz")
    resign(folder, "reference.npz")


def export_faulty(folder: Path, name: str, dataset: Dataset, fault: Callable[[Any], Any]) -> None:
    """Replace an artifact by what the real converter makes of a faulty Keras model."""
    start = load_inputs(folder, dataset)
    (artifact,) = Manifest.read(folder).artifacts
    request = Request(artifact.precision, dataset.train.images[start.calibration], {})
    FORMATS[artifact.format].export(fault(start.model), folder / name, request)
    record(folder, name)


def with_kernel(index: int, change: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any], Any]:
    """Change the kernel and bias of a layer, counted among those that have one."""

    def fault(model: Any) -> Any:
        layer = [layer for layer in model.layers if hasattr(layer, "kernel")][index]
        layer.set_weights(list(change(*(array.copy() for array in layer.get_weights()))))
        return model

    return fault


def swap(kernel: Any, bias: Any) -> tuple[Any, Any]:
    """Exchange two output channels."""
    kernel[..., [3, 8]], bias[[3, 8]] = kernel[..., [8, 3]], bias[[8, 3]]
    return kernel, bias


def shift(kernel: Any, bias: Any) -> tuple[Any, Any]:
    """Let output 1 stand for digit 0."""
    return np.roll(kernel, 1, axis=1), np.roll(bias, 1)


def four_bits(kernel: Any, bias: Any) -> tuple[Any, Any]:
    """Round to 15 levels."""
    step = np.abs(kernel).max() / 7
    return np.round(kernel / step) * step, bias


def as_nchw(kernel: Any, bias: Any) -> tuple[Any, Any]:
    """Read the rows of a Dense kernel, which are in the order of 13×13×32 NHWC, as NCHW."""
    side = 13 if len(kernel) == 5408 else 12
    return kernel.reshape(side, side, 32, -1).transpose(2, 0, 1, 3).reshape(kernel.shape), bias


def normalized_twice(model: Any) -> Any:
    """Divide by 255 inside a network that is given pixels divided by 255."""
    import keras

    image = keras.Input((28, 28, 1), name="image")
    return keras.Model(image, model(keras.layers.Rescaling(1 / 255)(image)))


def without_softmax(model: Any) -> Any:
    """End in logits, and call them probabilities."""
    import keras

    model.layers[-1].activation = keras.activations.linear
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def wrapping(model: Any) -> Any:
    """Round probabilities to steps of 1/256 that wrap around at 1, as a fused int8 Softmax did (onnxruntime#29727)."""
    import keras

    class Wrap(keras.layers.Layer):  # type: ignore[misc]
        def call(self, given: Any) -> Any:
            import tensorflow as tf

            steps = tf.floor(given * 256 + 0.5)
            return (steps - 256 * tf.floor(steps / 256)) / 256

    return keras.Model(model.inputs[0], Wrap()(model.outputs[0]))


def edit_onnx(path: Path, change: Callable[[Any, dict[str, Any]], None]) -> None:
    """Change the graph and the constants of an ONNX file, given by name."""
    proto = onnx.load(path)
    arrays = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in proto.graph.initializer}
    change(proto.graph, arrays)
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in arrays.items())
    onnx.save(proto, path)


def onnx_scale_of_first_channel(graph: Any, arrays: dict[str, Any]) -> None:
    """Dequantize every channel of the biggest kernel with the first one's scale."""
    node = _biggest_dequantized(graph, arrays)
    arrays[node.input[1]] = np.full_like(arrays[node.input[1]], arrays[node.input[1]][0])


def onnx_zero_point_of_weights(graph: Any, arrays: dict[str, Any]) -> None:
    """Move the zero point of the biggest kernel by five steps."""
    node = _biggest_dequantized(graph, arrays)
    arrays[node.input[2]] = (arrays[node.input[2]] + 5).astype(arrays[node.input[2]].dtype)


def onnx_zero_point_of_activations(graph: Any, arrays: dict[str, Any]) -> None:
    """Dequantize the last hidden activations with a zero point that is not the one they were quantized with."""
    node = [item for item in graph.node if item.op_type == "DequantizeLinear" and item.input[0] not in arrays][-1]
    arrays["moved"] = arrays.get(node.input[2], np.zeros((), np.uint8)) + np.uint8(12)
    node.input[2] = "moved"


def _biggest_dequantized(graph: Any, arrays: dict[str, Any]) -> Any:
    nodes = [item for item in graph.node if item.op_type == "DequantizeLinear" and item.input[0] in arrays]
    return max(nodes, key=lambda item: arrays[item.input[0]].size)


def edit_tflite(path: Path, change: Callable[[Any, Any], None]) -> None:
    """Change a TFLite file's model and its one subgraph."""
    from tensorflow.lite.tools import flatbuffer_utils as utils

    model = utils.read_model(str(path))
    change(model, model.subgraphs[0])
    utils.write_model(model, str(path))


def tflite_scale_of_first_channel(model: Any, graph: Any) -> None:
    """Return every channel of the first convolution the first one's scale."""
    filters = next(item for item in graph.tensors if len(item.shape) == 4 and item.shape[0] > 1)
    filters.quantization.scale = np.full_like(filters.quantization.scale, filters.quantization.scale[0])


def tflite_zero_point_of_input(model: Any, graph: Any) -> None:
    """Let pixel 10 stand for black."""
    graph.tensors[graph.inputs[0]].quantization.zeroPoint = np.array([10], np.int64)


def tflite_zero_point_of_activations(model: Any, graph: Any) -> None:
    """Put the zero point of the hidden activations high, so that over half of their range is lost."""
    hidden = graph.tensors[graph.operators[-4].outputs[0]]
    hidden.quantization.zeroPoint = np.array([70], np.int64)
