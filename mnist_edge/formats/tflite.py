"""TFLite: written by TensorFlow's converter, run by LiteRT, tflite-runtime or TensorFlow's own interpreter."""

import json
import math
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np

from mnist_edge.artifact import Contract, Precision
from mnist_edge.errors import ArtifactError, ConversionError, MissingRuntime, UnsupportedPrecision
from mnist_edge.formats.base import Images, Probabilities, one_by_one, pixel_table
from mnist_edge.imports import installed, need, pip_install
from mnist_edge.quiet import quiet
from mnist_edge.serving import serving

RUNTIMES = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime", "tensorflow": "tensorflow"}
METADATA = "mnist-edge.json"


class Runner:
    """An interpreter with one input and one output."""

    def __init__(self, path: Path, threads: int) -> None:
        if path.is_file() and path.read_bytes()[4:8] != b"TFL3":
            raise ArtifactError(f"{path} is not a TFLite file (its identifier is not TFL3).")
        runtime = _runtime(path)
        try:
            with quiet():
                self._interpreter = runtime.Interpreter(str(path), num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise ArtifactError(f"{path} is not a TFLite file that this runtime loads ({reason}).") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        source, sink = inputs[0], outputs[0]
        shapes = [tuple(int(size) for size in end["shape"]) for end in (source, sink)]
        if len(inputs) != 1 or math.prod(shapes[0]) != 784 or math.prod(shapes[1]) != 10:
            raise ArtifactError(
                f"{path} takes {list(shapes[0])} and gives {list(shapes[1])}: "
                "not one 28×28 image in, ten probabilities out."
            )
        self._input, self._output, self._shape = source["index"], sink["index"], shapes[0]
        dtype = np.dtype(source["dtype"])
        self._table = pixel_table(dtype, *source["quantization"])
        self._raw = dtype == np.uint8 and np.array_equal(self._table, np.arange(256))
        self._scale, self._zero_point = sink["quantization"]
        self.invoke = self._interpreter.invoke

    def run(self, images: Images) -> Probabilities:
        """Take uint8 `[N, 28, 28]`, give float32 `[N, 10]`."""
        return one_by_one(images, self._one)

    def _one(self, image: Images) -> Probabilities:
        pixels = image if self._raw else self._table[image]
        self._interpreter.set_tensor(self._input, pixels.reshape(self._shape))
        self._interpreter.invoke()
        output: Probabilities = self._interpreter.get_tensor(self._output)
        if not self._scale:
            return output
        return (output.astype(np.float32) - np.float32(self._zero_point)) * np.float32(self._scale)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self.invoke, self._interpreter


class TFLite:
    """The TFLite format."""

    name = "tflite"
    suffix = ".tflite"
    precisions = (Precision.FLOAT32, Precision.INT8)
    packages = ("tensorflow", *(package for package in RUNTIMES.values() if package != "tensorflow"))

    def missing(self) -> str | None:
        """Say what has to be installed before `open` works; None where it works."""
        if any(installed(module) for module in RUNTIMES):
            return None
        return f"no TFLite runtime is installed. Install one: {pip_install('ai-edge-litert')}"

    def contract(self, precision: Precision) -> Contract:
        """Give the ends that a file of this precision has."""
        return Contract.of(precision, "NHWC")

    def export(
        self, model: Any, path: Path, precision: Precision, calibration: Images, metadata: dict[str, str]
    ) -> None:
        """Convert with TFLiteConverter; int8 is full-integer but for Softmax, per-tensor in Dense layers."""
        if precision not in self.precisions:
            raise UnsupportedPrecision(f"TFLite has no {precision} here, but {', '.join(self.precisions)}.")
        tf = need("tensorflow", "tensorflow", "exporting TFLite")
        with quiet(), tempfile.TemporaryDirectory() as folder:
            try:
                content = _convert(tf, model, folder, calibration if precision is Precision.INT8 else None)
            except (ValueError, RuntimeError, tf.errors.OpError, _converter_error()) as error:
                raise ConversionError(f"TensorFlow's converter could not convert the model ({error}).") from error
        path.write_bytes(content)
        contract = self.contract(precision)
        with zipfile.ZipFile(path, "a") as archive:
            entry = zipfile.ZipInfo(METADATA, date_time=(1980, 1, 1, 0, 0, 0))  # the same bytes at every export
            archive.writestr(entry, json.dumps({**metadata, "contract": asdict(contract)}, indent=1))
        self._check_ends(path, contract)

    def _check_ends(self, path: Path, contract: Contract) -> None:
        """Raise ConversionError where the converter gave other ends than the contract promises."""
        interpreter = _runtime(path).Interpreter(str(path))
        for promised, end in (
            (contract.input, interpreter.get_input_details()[0]),
            (contract.output, interpreter.get_output_details()[0]),
        ):
            found = np.dtype(end["dtype"]).name, tuple(end["shape"].tolist())
            if found != (promised.dtype, promised.shape):
                raise ConversionError(f"the converter gave {found}, not the contract's {promised}.")
            raw = pixel_table(np.dtype(promised.dtype), *end["quantization"])
            if promised.dtype == "uint8" and not np.array_equal(raw, np.arange(256)):
                raise ConversionError(
                    f"the converter gave the input scale and zero point {end['quantization']}, not 1/255 and 0: "
                    "the calibration images do not span black to white."
                )

    def open(self, path: Path, *, threads: int = 1) -> Runner:
        """Load a file into the first TFLite runtime that is installed."""
        return Runner(path, threads)


def _runtime(path: Path) -> ModuleType:
    """Import the module that has `Interpreter`: ai-edge-litert's, else tflite-runtime's, else TensorFlow's."""
    for module, package in RUNTIMES.items():
        if installed(module):
            name = "tensorflow.lite.python.interpreter" if module == "tensorflow" else f"{module}.interpreter"
            return need(name, package, f"running {path.name}")
    raise MissingRuntime(str(FORMAT.missing()))


def _converter_error() -> type[Exception]:
    from tensorflow.lite.python.convert import ConverterError

    error: type[Exception] = ConverterError
    return error


def _convert(tf: Any, model: Any, folder: str, calibration: Images | None) -> bytes:
    """Convert through a SavedModel, whose signature names the ends; int8 where calibration images are given."""
    import keras

    serve, signature = serving(model)
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve, input_signature=signature)
    archive.write_out(folder, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    if calibration is None:
        return bytes(converter.convert())
    from tensorflow.lite.python.util import modify_model_io_type
    from tensorflow.lite.tools.optimize.debugging.python import debugger

    def representative_dataset() -> Iterator[list[Any]]:
        for image in pixel_table(np.dtype(np.float32))[calibration]:
            yield [image.reshape(1, 28, 28, 1)]

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = representative_dataset
    # FULLY_CONNECTED version 12 (per-channel) is refused by runtimes of 2023
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    # the debugger is the converter's only way to leave an operator in float
    options = debugger.QuantizationDebugOptions(denylisted_ops=["SOFTMAX"])
    quantizer = debugger.QuantizationDebugger(
        converter=converter, debug_dataset=representative_dataset, debug_options=options
    )
    content = quantizer.get_nondebug_quantized_model()
    return bytes(modify_model_io_type(content, tf.uint8, tf.float32))


FORMAT = TFLite()
