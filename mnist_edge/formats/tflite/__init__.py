"""TFLite: written by TensorFlow's converter, run by LiteRT, tflite-runtime or TensorFlow's own interpreter."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import ArtifactError, ConversionError, MissingRuntime, UnsupportedPrecision
from mnist_edge.core.manifest import Contract, Ends, Precision, Tensor
from mnist_edge.core.optional import installed, need
from mnist_edge.core.quiet import quiet
from mnist_edge.formats.base import BatchRunner, Description, Images, Inside, Request, pixel_table
from mnist_edge.formats.ends import image_and_numbers
from mnist_edge.formats.keras.signature import least_logit, serving
from mnist_edge.formats.tflite import graph as tflite_graph
from mnist_edge.formats.tflite import inspect as tflite_describe
from mnist_edge.formats.tflite import trace as tflite_trace

RUNTIMES = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime", "tensorflow": "tensorflow"}
METADATA = "mnist-edge.json"


class Runner(BatchRunner):
    """An interpreter with one input and one output."""

    def __init__(self, path: Path, threads: int, batch: int, **settings: Any) -> None:
        self._path, self._interpreter = path, interpreter(path, threads, **settings)
        try:
            inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
            names = _names(self._interpreter)
        except ValueError as error:  # a name that is not UTF-8, or a signature of other tensors
            raise ArtifactError(f"{path} is damaged ({_reason(error)}).") from error
        ends = ([_end(details, names) for details in given] for given in (inputs, outputs))
        self._prepare(*image_and_numbers(path, *ends), batch)
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        if self.batch != inputs[0]["shape"][0]:
            try:
                self._interpreter.resize_tensor_input(self._input, self._shape)
                self._interpreter.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                raise ArtifactError(f"{path} does not take {self.batch} images a call ({_reason(error)}).") from error
        self.invoke = self._interpreter.invoke

    def _call(self, pixels: NDArray[Any]) -> NDArray[Any]:
        try:
            self._interpreter.set_tensor(self._input, pixels)
            self._interpreter.invoke()
            output: NDArray[Any] = self._interpreter.get_tensor(self._output)
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"{self._path} does not run ({_reason(error)}).") from error
        return output


def _names(opened: Any) -> dict[int, str]:
    """Give the names that the first signature has for tensors, by their index; none where the file has no signature."""
    signatures = list(opened.get_signature_list())
    if not signatures:
        return {}
    runner = opened.get_signature_runner(signatures[0])
    named = {**runner.get_input_details(), **runner.get_output_details()}
    return {details["index"]: name for name, details in named.items()}


def _end(details: Any, names: dict[int, str]) -> Tensor:
    """Give an input or output of an interpreter."""
    scale, zero_point = details["quantization"]
    shape = tuple(None if size < 0 else int(size) for size in details["shape_signature"])
    quantized = (float(scale), int(zero_point)) if scale else (None, None)
    name = names.get(details["index"], details["name"])
    return Tensor(name, np.dtype(details["dtype"]).name, shape, "", *quantized)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


class TFLite:
    """The TFLite format."""

    name = "tflite"
    suffix = ".tflite"
    precisions = tuple(Precision)
    unsupported: dict[Precision, str] = {}  # noqa: RUF012 (never changed)
    methods = ("minmax",)
    variants = ("without XNNPACK",)
    target = None
    packages = ("tensorflow", *(package for package in RUNTIMES.values() if package != "tensorflow"))
    folder = Path(__file__).parent

    def missing(self) -> str | None:
        """Say what has to be installed before `open` works; None where it works."""
        if any(installed(module) for module in RUNTIMES):
            return None
        from mnist_edge.deploy.boards import how_to_install

        return f"no TFLite runtime is installed. {how_to_install(self.name)}"

    def contract(self, precision: Precision, ends: Ends) -> Contract:
        """Give the ends that a file of this precision has."""
        if ends.full_integer and precision is not Precision.INT8:
            raise UnsupportedPrecision(f"full-integer ends are for int8 files, not for {precision}.")
        return Contract.of(precision, "NHWC", ends)

    def export(self, model: Any, path: Path, request: Request) -> Contract:
        """Convert with TFLiteConverter; int8 is full-integer but for Softmax, per-tensor in Dense layers."""
        import tempfile
        import zipfile

        contract = self.contract(request.precision, request.ends)
        tf = need("tensorflow", "tensorflow", "exporting TFLite")
        with quiet(), tempfile.TemporaryDirectory() as folder:
            try:
                content = _convert(tf, model, folder, request)
            except (ValueError, RuntimeError, tf.errors.OpError, _converter_error()) as error:
                raise ConversionError(f"TensorFlow's converter could not convert the model ({error}).") from error
            names = contract.input.name, contract.output.name
            path.write_bytes(tflite_graph.canonical(content, names, request.ends.batch is None))
        contract = _as_converted(path, contract)
        with zipfile.ZipFile(path, "a") as archive:
            entry = zipfile.ZipInfo(METADATA, date_time=(1980, 1, 1, 0, 0, 0))  # the same bytes at every export
            archive.writestr(entry, json.dumps({**request.metadata, "contract": asdict(contract)}, indent=1))
        return contract

    def describe(self, path: Path) -> Description:
        """Read any TFLite file, and what the installed runtime makes of it."""
        opened = interpreter(path) if self.missing() is None else None
        described = tflite_describe.describe(path, METADATA)
        return described if opened is None else replace(described, executed=tflite_describe.executed(opened))

    def look_inside(self, path: Path, images: Images) -> Inside:
        """Run the interpreter's own kernels, operator by operator, and keep every tensor."""
        with self.open(path) as runner:
            parts = list(runner.parts(images))
        opened = interpreter(path, experimental_preserve_all_tensors=True, **without_delegate(path))
        try:
            return tflite_trace.look_inside(opened, parts, len(images))
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"{path} does not run operator by operator ({_reason(error)}).") from error

    def open(self, path: Path, *, threads: int = 1, batch: int = 1, variant: str | None = None) -> Runner:
        """Load a file into the first TFLite runtime that is installed."""
        return Runner(path, threads, batch, **(without_delegate(path) if variant else {}))


def without_metadata(path: Path) -> bytes:
    """Give a file of ours up to the JSON that is zipped onto it: all that a runtime reads."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        return path.read_bytes()[: min(entry.header_offset for entry in archive.infolist())]


def without_delegate(path: Path) -> dict[str, Any]:
    """Give the setting under which the interpreter's own kernels compute every operator, not XNNPACK's."""
    return {"experimental_op_resolver_type": _runtime(path).OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}


def interpreter(path: Path, threads: int = 1, **settings: Any) -> Any:
    """Open an Interpreter with its tensors allocated; `settings` are its other arguments. Raises ArtifactError."""
    if path.is_file():
        with path.open("rb") as file:
            if file.read(8)[4:] != b"TFL3":
                raise ArtifactError(f"{path} is not a TFLite file (its identifier is not TFL3).")
    runtime = _runtime(path)
    try:
        with quiet():
            opened = runtime.Interpreter(str(path), num_threads=threads, **settings)
            opened.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(f"{path} is not a TFLite file that this runtime loads ({_reason(error)}).") from error
    return opened


def _runtime(path: Path) -> ModuleType:
    """Import the module that has `Interpreter`: ai-edge-litert's, else tflite-runtime's, else TensorFlow's."""
    for module, package in RUNTIMES.items():
        if installed(module):
            name = "tensorflow.lite.python.interpreter" if module == "tensorflow" else f"{module}.interpreter"
            return need(name, package, f"running {path.name}")
    raise MissingRuntime(str(FORMAT.missing()))


def _as_converted(path: Path, contract: Contract) -> Contract:
    """Check the file's ends against the contract, and give it with the scale that only the converter knows."""
    with Runner(path, threads=1, batch=1) as opened:
        sink = opened.ends[1]
        breaches = contract.breaches(opened.ends)
    if breaches:
        raise ConversionError(f"what the converter wrote breaks the contract: {'; '.join(breaches)}.")
    return replace(contract, output=replace(contract.output, scale=sink.scale, zero_point=sink.zero_point))


def _converter_error() -> type[Exception]:
    from tensorflow.lite.python.convert import ConverterError

    error: type[Exception] = ConverterError
    return error


def _convert(tf: Any, model: Any, folder: str, request: Request) -> bytes:
    """Convert through a SavedModel, whose signature names the ends."""
    import keras
    from tensorflow.lite.python.convert import mlir_quantize
    from tensorflow.lite.python.util import modify_model_io_type

    traced, serve, signature = serving(model, request.ends)
    archive = keras.export.ExportArchive()
    archive.track(traced)
    archive.add_endpoint("serve", serve, input_signature=signature)
    archive.write_out(folder, verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    precision, batch = request.precision, request.ends.batch or 1

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
        calibrated = tflite_graph.cut_logits(calibrated, least_logit(model, images))
    quantized = mlir_quantize(
        calibrated,
        disable_per_channel=not request.quantization.per_channel,
        disable_per_channel_for_dense_layers=True,
        denylisted_ops=None if request.ends.full_integer else ["SOFTMAX"],
        denylisted_nodes=tflite_graph.layers(calibrated, request.quantization.float_layers) or None,
    )
    ends = (tf.int8, tf.int8) if request.ends.full_integer else (tf.uint8, tf.float32)
    return bytes(modify_model_io_type(quantized, *ends))


FORMAT = TFLite()
