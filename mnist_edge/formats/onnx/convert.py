"""Converts a Keras model with tf2onnx, then stores or quantizes its weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge.core.contract import IOOptions, Precision
from mnist_edge.core.optional import require
from mnist_edge.formats.keras.folding import ungrouped
from mnist_edge.formats.keras.ranges import check_ranges
from mnist_edge.formats.keras.signature import INPUT, serving
from mnist_edge.formats.onnx import graph
from mnist_edge.formats.onnx.compact import compact
from mnist_edge.formats.onnx.quantize import quantize
from mnist_edge.formats.onnx.ranges import quantize_to_ranges
from mnist_edge.formats.request import Request
from mnist_edge.formats.runner import pixel_table

OPSET, IR_VERSION = 17, 8  # ONNX Runtime 1.15 of 2023 loads these


def convert(model: Any, request: Request, traced_batch: int | None = 1) -> Any:
    """Return the ModelProto that a request asks for, without its metadata; None traces a batch of any size."""
    proto = _float32_proto(model, request.io, traced_batch)
    if request.precision is Precision.INT8:
        pixels = pixel_table(np.dtype(np.float32))[request.calibration]
        options = request.quantization
        if options.ranges:
            check_ranges(model, options.ranges)
            proto = quantize_to_ranges(proto, options.ranges, options.float_layers)
        else:
            proto = quantize(proto, pixels, options.method, options.per_channel, options.float_layers)
    elif request.precision is Precision.DYNAMIC:
        proto = _weights_to_int8(proto)
    elif request.precision is Precision.FLOAT16:
        graph.store_float16(proto.graph)
    _finish(proto, request.io, traced_batch)
    if request.precision is Precision.INT8:
        compact(proto.graph)
    return proto


def _float32_proto(model: Any, io: IOOptions, batch: int | None) -> Any:
    """Return the float32 ModelProto with NCHW input for a batch of images; permuted weights replace Transposes."""
    import logging

    tf2onnx = require("tf2onnx", "tf2onnx", "exporting ONNX")

    _, serve, signature = serving(ungrouped(model), io, batch)
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    proto, _ = tf2onnx.convert.from_function(
        _with_constants(serve, signature), input_signature=signature, opset=OPSET, inputs_as_nchw=[INPUT]
    )
    graph.replace_unknown(proto.graph)
    graph.group_convolutions(proto.graph)
    graph.drop_identity_reshapes(proto.graph)
    graph.fold_transposes(proto)
    graph.canonical(proto.graph)
    _state_versions(proto)
    return proto


def _with_constants(serve: Callable[[Any], Any], signature: list[Any]) -> Any:
    """Return a `tf.function` whose captured tensors are constants; tf2onnx would make inputs of them."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    function = tf.function(serve, input_signature=signature)
    concrete = function.get_concrete_function()
    if all(tensor.dtype == tf.resource for tensor in concrete.captured_inputs):
        return function
    frozen = convert_variables_to_constants_v2(concrete)
    (name,) = concrete.structured_outputs
    return tf.function(lambda image: {name: frozen(image)[0]}, input_signature=signature)


def _weights_to_int8(proto: Any) -> Any:
    """Quantize the weights of Dense layers to uint8, which no CPU saturates; activations at every call."""
    import tempfile

    import onnx
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "dynamic.onnx"
        # ConvInteger is slower than a float convolution and a convolution's weights are few
        layers = ["MatMul", "Gemm"]
        quantization.quantize_dynamic(
            proto, target, op_types_to_quantize=layers, weight_type=quantization.QuantType.QUInt8, per_channel=True
        )
        return onnx.load(target)


def _finish(proto: Any, io: IOOptions, traced_batch: int | None) -> None:
    """Set the batch that was asked for, canonical names, and the versions that old runtimes load."""
    graph.set_batch(proto.graph, io.batch, traced_batch == 1)
    graph.canonical(proto.graph)
    _state_versions(proto)
    proto.producer_name, proto.producer_version, proto.doc_string = "mnist-edge", "", ""


def _state_versions(proto: Any) -> None:
    """Keep only the opsets that nodes use, and state IR version 8."""
    used = {node.domain for node in proto.graph.node}
    kept = [item for item in proto.opset_import if item.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    proto.ir_version = IR_VERSION
