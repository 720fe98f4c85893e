"""ONNX: written by tf2onnx and ONNX Runtime's quantizer, run by ONNX Runtime."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import ArtifactError, ConversionError, UnsupportedPrecision
from mnist_edge.core.manifest import Contract, Ends, Precision, Tensor
from mnist_edge.core.optional import installed, need
from mnist_edge.core.quiet import quiet
from mnist_edge.formats.base import BatchRunner, Description, Images, Inside, Request, pixel_table
from mnist_edge.formats.ends import image_and_numbers
from mnist_edge.formats.keras.signature import INPUT, serving
from mnist_edge.formats.onnx import graph as onnx_graph
from mnist_edge.formats.onnx import inspect as onnx_describe
from mnist_edge.formats.onnx import quantize as onnx_int8
from mnist_edge.formats.onnx import trace as onnx_trace

OPSET, IR_VERSION = 17, 8  # ONNX Runtime 1.15 of 2023 loads these


class Runner(BatchRunner):
    """A session of ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int, batch: int, **settings: Any) -> None:
        self._path = path
        self._session = session(path, threads, **settings)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        try:
            ends = [*map(_end, inputs)], [*map(_end, outputs)]
        except UnicodeDecodeError as error:
            raise ArtifactError(f"{path} is damaged: the name of an end is not UTF-8.") from error
        source, sink = image_and_numbers(path, *ends)
        self._input, self._output = source.name, sink.name
        self._prepare(source, sink, batch)
        self._binding = self._session.io_binding()
        self._binding.bind_cpu_input(self._input, np.zeros(self._shape, self._table.dtype))
        self._binding.bind_output(self._output)

    def _call(self, pixels: NDArray[Any]) -> NDArray[Any]:
        try:
            output: NDArray[Any] = self._session.run([self._output], {self._input: pixels})[0]
        except _ort_errors() as error:
            raise ArtifactError(f"{self._path} does not run: {str(error).strip().splitlines()[0][:200]}") from error
        return output

    def invoke(self) -> None:
        """Run once on bound memory."""
        self._session.run_with_iobinding(self._binding)


def _end(given: Any) -> Tensor:
    """Give an input or output of a session; ONNX keeps scales inside the graph."""
    kind = given.type[7:-1] if given.type.startswith("tensor(") else given.type
    shape = tuple(size if isinstance(size, int) else None for size in given.shape)
    return Tensor(given.name, {"float": "float32", "double": "float64"}.get(kind, kind), shape, "")


class Onnx:
    """The ONNX format."""

    name = "onnx"
    suffix = ".onnx"
    precisions = (Precision.FLOAT32, Precision.FLOAT16, Precision.DYNAMIC, Precision.INT8)
    unsupported: dict[Precision, str] = {  # noqa: RUF012 (never changed)
        Precision.INT16X8: "ONNX Runtime has no int16 × int8 kernels on the CPU"
    }
    methods = tuple(onnx_int8.METHODS)
    packages = ("tf2onnx", "onnx", "onnxruntime")
    variants = ("graph optimizations off",)
    target = None
    folder = Path(__file__).parent

    def missing(self) -> str | None:
        """Say what has to be installed before `open` works; None where it works."""
        if installed("onnxruntime"):
            return None
        from mnist_edge.deploy.boards import how_to_install

        return f"ONNX Runtime is not installed. {how_to_install(self.name)}"

    def contract(self, precision: Precision, ends: Ends) -> Contract:
        """Give the ends that a file of this precision has."""
        if precision in self.unsupported:
            raise UnsupportedPrecision(f"no {precision} in ONNX: {self.unsupported[precision]}.")
        if ends.full_integer:
            raise UnsupportedPrecision("full-integer ends are for TFLite: ONNX int8 files take raw pixels already.")
        return Contract.of(precision, "NCHW", ends)

    def export(self, model: Any, path: Path, request: Request) -> Contract:
        """Convert with tf2onnx, clean the graph, and store or quantize it as the precision says."""
        contract = self.contract(request.precision, request.ends)
        onnx = need("onnx", "onnx", "exporting ONNX")
        need("onnxruntime", "onnxruntime", "exporting ONNX")
        try:
            with quiet():
                proto = _written(model, request)
            del proto.metadata_props[:]
            for key, value in {**request.metadata, "contract": json.dumps(asdict(contract))}.items():
                proto.metadata_props.add(key=key, value=value)
            onnx.checker.check_model(proto, full_check=True)
        except (ValueError, KeyError, IndexError, TypeError, RuntimeError, onnx.checker.ValidationError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ConversionError(
                f"the model could not be converted to ONNX {request.precision} ({reason})."
            ) from error
        path.write_bytes(proto.SerializeToString(deterministic=True))
        return contract

    def describe(self, path: Path) -> Description:
        """Read any ONNX file, and the graph that ONNX Runtime makes of it."""
        import tempfile

        need("onnx", "onnx", f"reading {path.name}")
        described = onnx_describe.describe(path)
        if self.missing():
            return described
        with tempfile.TemporaryDirectory() as folder:
            optimized = Path(folder) / "optimized.onnx"
            session(path, optimized_model_filepath=str(optimized))
            return replace(described, executed=onnx_describe.executed(optimized))

    def look_inside(self, path: Path, images: Images) -> Inside:
        """Compute the graph as it stands in the file, without optimizations, and keep every tensor."""
        import tempfile

        onnx = need("onnx", "onnx", f"looking inside {path.name}")
        with tempfile.TemporaryDirectory() as folder, self.open(path) as runner:
            proto, names = onnx_trace.widened(path)
            wide = Path(folder) / "wide.onnx"
            onnx.save(proto, wide)
            opened = session(wide, **unoptimized())
            calls = [opened.run(names, {runner.ends[0].name: part}) for part in runner.parts(images)]
        values = {
            name: np.concatenate(parts)[: len(images)]
            for name, parts in zip(names, zip(*calls, strict=True), strict=True)
            if parts[0].ndim  # a dynamically quantized tensor's scale is a number, not one an image
        }
        return onnx_trace.look_inside(proto, values)

    def open(self, path: Path, *, threads: int = 1, batch: int = 1, variant: str | None = None) -> Runner:
        """Load a file into ONNX Runtime."""
        return Runner(path, threads, batch, **(unoptimized() if variant else {}))


def unoptimized() -> dict[str, Any]:
    """Give the setting under which ONNX Runtime computes the graph as it stands in the file."""
    ort = need("onnxruntime", "onnxruntime", "running ONNX")
    return {"graph_optimization_level": ort.GraphOptimizationLevel.ORT_DISABLE_ALL}


def session(path: Path, threads: int = 1, **settings: Any) -> Any:
    """Open an InferenceSession on the CPU; `settings` are set on its options. Raises ArtifactError."""
    ort = need("onnxruntime", "onnxruntime", f"running {path.name}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for name, value in settings.items():
        setattr(options, name, value)
    try:
        with quiet():
            return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _ort_errors() as error:
        reason = str(error).strip().splitlines()[0][:200]
        runtime = f"ONNX Runtime {ort.__version__}"
        raise ArtifactError(f"{path} is not an ONNX file that {runtime} loads ({reason}).") from error


def _ort_errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))


def _written(model: Any, request: Request) -> Any:
    """Give the ModelProto that a request asks for, without its metadata."""
    proto = _convert(model, request.ends)
    if request.precision is Precision.INT8:
        pixels = pixel_table(np.dtype(np.float32))[request.calibration]
        options = request.quantization
        proto = onnx_int8.quantize(proto, pixels, options.method, options.per_channel, options.float_layers)
    elif request.precision is Precision.DYNAMIC:
        proto = _weights_to_int8(proto)
    elif request.precision is Precision.FLOAT16:
        onnx_graph.store_float16(proto.graph)
    _finish(proto, request.ends)
    return proto


def _convert(model: Any, ends: Ends) -> Any:
    """Give the float32 ModelProto with a batch of 1, NCHW input, and no Transpose that permuted weights can spare."""
    import logging

    tf2onnx = need("tf2onnx", "tf2onnx", "exporting ONNX")
    import tensorflow as tf

    _, serve, signature = serving(model, Ends(head=ends.head))
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    proto, _ = tf2onnx.convert.from_function(
        tf.function(serve, input_signature=signature), input_signature=signature, opset=OPSET, inputs_as_nchw=[INPUT]
    )
    onnx_graph.drop_identity_reshapes(proto.graph)
    onnx_graph.fold_transposes(proto)
    onnx_graph.canonical(proto.graph)
    _state_versions(proto)
    return proto


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


def _finish(proto: Any, ends: Ends) -> None:
    """Give the batch that was asked for, canonical names, and the versions that old runtimes load."""
    graph = proto.graph
    onnx_graph.set_batch(graph, ends.batch)
    onnx_graph.canonical(graph)
    _state_versions(proto)
    proto.producer_name, proto.producer_version, proto.doc_string = "mnist-edge", "", ""


def _state_versions(proto: Any) -> None:
    """Keep the opsets that nodes use, and say IR 8."""
    used = {node.domain for node in proto.graph.node}
    kept = [item for item in proto.opset_import if item.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    proto.ir_version = IR_VERSION


FORMAT = Onnx()
