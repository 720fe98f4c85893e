"""ONNX: written by tf2onnx and ONNX Runtime's quantizer, run by ONNX Runtime."""

import json
import logging
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge import onnx_describe, onnx_graph, onnx_int8
from mnist_edge.artifact import Contract, Ends, Precision
from mnist_edge.errors import ArtifactError, ConversionError, UnsupportedPrecision
from mnist_edge.formats.base import BatchRunner, Description, Request, pixel_table
from mnist_edge.imports import installed, need, pip_install
from mnist_edge.quiet import quiet
from mnist_edge.serving import INPUT, serving

OPSET, IR_VERSION = 17, 8  # ONNX Runtime 1.15 of 2023 loads these


class Runner(BatchRunner):
    """A session of ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int) -> None:
        self._session = session(path, threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        sizes = [size for size in shape[1:] if isinstance(size, int)]
        if len(inputs) != 1 or np.prod(sizes) != 784 or outputs[0].shape[-1] != 10:
            raise ArtifactError(
                f"{path} takes {shape} and gives {outputs[0].shape}: not one 28×28 image in, ten probabilities out."
            )
        self._input, self._output = inputs[0].name, outputs[0].name
        dtype = np.dtype({"tensor(float)": "float32"}.get(inputs[0].type, inputs[0].type[7:-1]))
        batch = shape[0] if isinstance(shape[0], int) else 1
        self._prepare((batch, *shape[1:]), dtype, logits=self._output == "logits")
        self._binding = self._session.io_binding()
        self._binding.bind_cpu_input(self._input, np.zeros(self._shape, dtype))
        self._binding.bind_output(self._output)

    def _call(self, pixels: NDArray[Any]) -> NDArray[Any]:
        output: NDArray[Any] = self._session.run([self._output], {self._input: pixels})[0]
        return output

    def invoke(self) -> None:
        """Run once on bound memory."""
        self._session.run_with_iobinding(self._binding)


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

    def missing(self) -> str | None:
        """Say what has to be installed before `open` works; None where it works."""
        if installed("onnxruntime"):
            return None
        return f"ONNX Runtime is not installed. Install it: {pip_install('onnxruntime')}"

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
        need("onnx", "onnx", f"reading {path.name}")
        described = onnx_describe.describe(path)
        if self.missing():
            return described
        with tempfile.TemporaryDirectory() as folder:
            optimized = Path(folder) / "optimized.onnx"
            session(path, optimized_model_filepath=str(optimized))
            return replace(described, executed=onnx_describe.executed(optimized))

    def open(self, path: Path, *, threads: int = 1) -> Runner:
        """Load a file into ONNX Runtime."""
        return Runner(path, threads)


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
