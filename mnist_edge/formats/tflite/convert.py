"""Converts a Keras model with TensorFlow's converter."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import ConversionError
from mnist_edge.formats.base import Request
from mnist_edge.formats.keras.signature import logit_floor, serving
from mnist_edge.formats.runner import pixel_table
from mnist_edge.formats.tflite import graph as tflite_graph


def _converter_error() -> type[Exception]:
    from tensorflow.lite.python.convert import ConverterError

    error: type[Exception] = ConverterError
    return error


def _convert(tf: Any, model: Any, folder: str, request: Request) -> bytes:
    """Convert through a SavedModel, whose signature names the ends."""
    import keras
    from tensorflow.lite.python.convert import mlir_quantize
    from tensorflow.lite.python.util import modify_model_io_type

    traced, serve, signature = serving(model, request.io)
    archive = keras.export.ExportArchive()
    archive.track(traced)
    archive.add_endpoint("serve", serve, input_signature=signature)
    archive.write_out(folder, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    precision, batch = request.precision, request.io.batch or 1

    def representative_dataset() -> Iterator[list[Any]]:
        images = pixel_table(np.dtype(np.float32))[request.calibration]
        for start in range(0, len(images) - batch + 1, batch):
            yield [images[start : start + batch].reshape(batch, 28, 28, 1)]

    # FULLY_CONNECTED version 12 (per-channel) is refused by runtimes of 2023
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    if precision is not Precision.FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision is Precision.FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if precision is Precision.INT16X8:
        converter.representative_dataset = representative_dataset
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
    if precision is not Precision.INT8:
        return bytes(converter.convert())
    converter.representative_dataset = representative_dataset
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter._experimental_calibrate_only = True
    # the converter itself has no way to leave an operator in float; the step it calls after calibration has
    images = pixel_table(np.dtype(np.float32))[request.calibration]
    calibrated = converter.convert()
    with suppress(ConversionError):  # a Softmax inside a nested model: its logits stay as calibrated
        calibrated = tflite_graph.cut_logits(calibrated, logit_floor(model, images))
    quantized = mlir_quantize(
        calibrated,
        disable_per_channel=not request.quantization.per_channel,
        disable_per_channel_for_dense_layers=True,
        denylisted_ops=None if request.io.full_integer else ["SOFTMAX"],
        denylisted_nodes=tflite_graph.layers(calibrated, request.quantization.float_layers) or None,
    )
    ends = (tf.int8, tf.int8) if request.io.full_integer else (tf.uint8, tf.float32)
    return bytes(modify_model_io_type(quantized, *ends))
