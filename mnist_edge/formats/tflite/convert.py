"""Converts a Keras model with TensorFlow's converter."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from mnist_edge.core.contract import Contract, Precision
from mnist_edge.core.errors import ConversionError
from mnist_edge.core.optional import require, silenced
from mnist_edge.core.text import one_line
from mnist_edge.formats.keras.folding import stable
from mnist_edge.formats.keras.ranges import check_ranges
from mnist_edge.formats.keras.signature import logit_floor, serving
from mnist_edge.formats.keras.structure import holds_loop
from mnist_edge.formats.request import Request
from mnist_edge.formats.runner import pixel_table
from mnist_edge.formats.tflite import graph


def convert(model: Any, request: Request, traced_batch: int | None) -> bytes:
    """Return the bytes of a TFLite file, as the converter writes it; None traces a batch of any size.

    Raises:
        ConversionError: the converter failed.
        MissingRuntime: TensorFlow is not installed.
    """
    import tempfile

    tf = require("tensorflow", "tensorflow", "exporting TFLite")
    from tensorflow.lite.python.convert import ConverterError

    with silenced(), tempfile.TemporaryDirectory() as folder:
        try:
            converter = _converter(tf, model, folder, request, traced_batch)
            if request.precision is Precision.INT8:
                return _int8(tf, converter, model, request)
            return bytes(converter.convert())
        except (ValueError, RuntimeError, tf.errors.OpError, ConverterError) as error:
            if holds_loop(model):
                raise ConversionError(
                    "TensorFlow's converter cannot convert the loop in a SavedModel, whose batch is not fixed. Save "
                    "the model itself, model.save('my.keras'), or export --format onnx."
                ) from error
            raise ConversionError(f"TensorFlow's converter could not convert the model ({one_line(error)}).") from error


def _converter(tf: Any, model: Any, folder: str, request: Request, traced_batch: int | None) -> Any:
    """Return a converter over a SavedModel in `folder`, whose signature names the input and the output."""
    import keras

    traced, serve, signature = serving(stable(model), request.io, traced_batch)
    archive = keras.export.ExportArchive()
    archive.track(traced)
    archive.add_endpoint("serve", serve, input_signature=signature)
    archive.write_out(folder, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    # FULLY_CONNECTED version 12 (per-channel) is refused by runtimes of 2023
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    if request.precision is not Precision.FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if request.precision is Precision.FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    kinds = {
        Precision.INT16X8: tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        Precision.INT8: tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
    }
    if request.precision in kinds:
        converter.representative_dataset = lambda: _representative_dataset(request)
        converter.target_spec.supported_ops = [kinds[request.precision]]
    return converter


def _representative_dataset(request: Request) -> Iterator[list[Any]]:
    """Yield the calibration images in whole batches; repeated where there are fewer than one batch."""
    batch = request.io.batch or 1
    images = pixel_table(np.dtype(np.float32))[request.calibration]
    images = np.resize(images, (max(batch, len(images)), 28, 28))
    for start in range(0, len(images) - batch + 1, batch):
        yield [images[start : start + batch].reshape(batch, 28, 28, 1)]


def layer_count(model: Any, request: Request) -> int:
    """Return how many layers with weights the converter makes of a model. Raises as `convert` does."""
    import tempfile

    tf = require("tensorflow", "tensorflow", "exporting TFLite")
    few = replace(request, calibration=request.calibration[:1])
    with silenced(), tempfile.TemporaryDirectory() as folder:
        return len(graph.layers(_calibrated(_converter(tf, model, folder, few, 1))))


def _calibrated(converter: Any) -> bytes:
    """Return the float file with the range of each tensor in it."""
    converter._experimental_calibrate_only = True
    return bytes(converter.convert())


def _int8(tf: Any, converter: Any, model: Any, request: Request) -> bytes:
    """Return an int8 file with Softmax in float, unless its output is to be int8 too.

    The converter itself has no way to leave an operator in float; the step that it calls after calibration has.
    """
    from tensorflow.lite.python.convert import mlir_quantize
    from tensorflow.lite.python.util import modify_model_io_type

    ranges = request.quantization.ranges
    if ranges:
        check_ranges(model, ranges)
        few = replace(request, calibration=request.calibration[:1])  # the converter wants some, and none counts
        converter.representative_dataset = lambda: _representative_dataset(few)
        calibrated = graph.set_ranges(_calibrated(converter), ranges)
    else:
        images = pixel_table(np.dtype(np.float32))[request.calibration]
        calibrated = _calibrated(converter)
        with suppress(ConversionError):  # a Softmax inside a nested model: its logits stay as calibrated
            calibrated = graph.cut_logits(calibrated, logit_floor(model, images))
    quantized = mlir_quantize(
        calibrated,
        disable_per_channel=not request.quantization.per_channel,
        disable_per_channel_for_dense_layers=True,
        denylisted_ops=None if request.io.full_integer else ["SOFTMAX"],
        denylisted_nodes=[graph.layers(calibrated)[index] for index in request.quantization.float_layers] or None,
    )
    types = (tf.int8, tf.int8) if request.io.full_integer else (tf.uint8, tf.float32)
    pixels = Contract.of(request.precision, "NHWC", request.io).input
    whole = bytes(modify_model_io_type(quantized, *types))
    # an operator that joins the image with signed numbers gives it their scale
    return (
        graph.with_pixels(whole, pixels)
        or graph.with_pixels(bytes(modify_model_io_type(quantized, tf.uint8, types[1])), pixels)
        or whole
    )
