"""ONNX: written by tf2onnx and ONNX Runtime's quantizer, run by ONNX Runtime."""

import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from mnist_edge import onnx_graph
from mnist_edge.artifact import Contract, Precision
from mnist_edge.errors import ArtifactError, ConversionError, UnsupportedPrecision
from mnist_edge.formats.base import Images, Probabilities, one_by_one, pixel_table
from mnist_edge.imports import installed, need, pip_install
from mnist_edge.quiet import quiet
from mnist_edge.serving import INPUT, serving

OPSET, IR_VERSION = 17, 8  # ONNX Runtime 1.15 of 2023 loads these


class Runner:
    """A session of ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int) -> None:
        ort = need("onnxruntime", "onnxruntime", f"running {path.name}")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            with quiet():
                self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except _ort_errors() as error:
            reason = str(error).strip().splitlines()[0][:200]
            raise ArtifactError(
                f"{path} is not an ONNX file that ONNX Runtime {ort.__version__} loads ({reason})."
            ) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        sizes = [size for size in shape[1:] if isinstance(size, int)]
        if len(inputs) != 1 or np.prod(sizes) != 784 or outputs[0].shape[-1] != 10:
            raise ArtifactError(
                f"{path} takes {shape} and gives {outputs[0].shape}: not one 28×28 image in, ten probabilities out."
            )
        self._input, self._output, self._shape = inputs[0].name, outputs[0].name, (1, *shape[1:])
        dtype = np.dtype({"tensor(float)": "float32"}.get(inputs[0].type, inputs[0].type[7:-1]))
        self._table = pixel_table(dtype)
        self._raw = dtype == np.uint8
        binding = self._session.io_binding()
        binding.bind_cpu_input(self._input, np.zeros(self._shape, dtype))
        binding.bind_output(self._output)
        self._binding = binding

    def run(self, images: Images) -> Probabilities:
        """Take uint8 `[N, 28, 28]`, give float32 `[N, 10]`."""
        return one_by_one(images, self._one)

    def _one(self, image: Images) -> Probabilities:
        pixels = (image if self._raw else self._table[image]).reshape(self._shape)
        output: Probabilities = self._session.run([self._output], {self._input: pixels})[0]
        return output

    def invoke(self) -> None:
        """Run once on bound memory."""
        self._session.run_with_iobinding(self._binding)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._binding, self._session


class Onnx:
    """The ONNX format."""

    name = "onnx"
    suffix = ".onnx"
    precisions = (Precision.FLOAT32, Precision.INT8)
    packages = ("tf2onnx", "onnx", "onnxruntime")

    def missing(self) -> str | None:
        """Say what has to be installed before `open` works; None where it works."""
        if installed("onnxruntime"):
            return None
        return f"ONNX Runtime is not installed. Install it: {pip_install('onnxruntime')}"

    def contract(self, precision: Precision) -> Contract:
        """Give the ends that a file of this precision has."""
        return Contract.of(precision, "NCHW")

    def export(
        self, model: Any, path: Path, precision: Precision, calibration: Images, metadata: dict[str, str]
    ) -> None:
        """Convert with tf2onnx, clean the graph, and for int8 quantize it statically, U8U8 in QDQ form."""
        if precision not in self.precisions:
            raise UnsupportedPrecision(f"ONNX has no {precision} here, but {', '.join(self.precisions)}.")
        onnx = need("onnx", "onnx", "exporting ONNX")
        with quiet():
            proto = _convert(model)
            if precision is Precision.INT8:
                proto = _quantize(proto, calibration)
            onnx_graph.canonical(proto.graph)
        contract = self.contract(precision)
        for key, value in {**metadata, "contract": json.dumps(asdict(contract))}.items():
            proto.metadata_props.add(key=key, value=value)
        proto.producer_name, proto.producer_version, proto.doc_string = "mnist-edge", "", ""
        onnx.checker.check_model(proto, full_check=True)
        path.write_bytes(proto.SerializeToString(deterministic=True))

    def open(self, path: Path, *, threads: int = 1) -> Runner:
        """Load a file into ONNX Runtime."""
        return Runner(path, threads)


def _ort_errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))


def _convert(model: Any) -> Any:
    """Give the float32 ModelProto: static batch, NCHW input, no Transpose that permuted weights can spare."""
    tf2onnx = need("tf2onnx", "tf2onnx", "exporting ONNX")
    import tensorflow as tf

    serve, signature = serving(model)
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    try:
        proto, _ = tf2onnx.convert.from_function(
            tf.function(serve, input_signature=signature),
            input_signature=signature,
            opset=OPSET,
            inputs_as_nchw=[INPUT],
        )
    except (ValueError, KeyError, RuntimeError, TypeError) as error:
        raise ConversionError(f"tf2onnx could not convert the model ({error}).") from error
    proto.ir_version = IR_VERSION
    kept = [item for item in proto.opset_import if not item.domain]
    del proto.opset_import[:]
    proto.opset_import.extend(kept)
    onnx_graph.drop_identity_reshapes(proto.graph)
    onnx_graph.fold_transposes(proto)
    onnx_graph.canonical(proto.graph)
    return proto


def _quantize(proto: Any, calibration: Images) -> Any:
    """Quantize statically: uint8 activations and weights, which no CPU saturates, and float logits and Softmax."""
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest: Iterator[Any] = iter(pixel_table(np.dtype(np.float32))[calibration])

        def get_next(self) -> dict[str, Any] | None:
            image = next(self._rest, None)
            return None if image is None else {INPUT: image.reshape(1, 1, 28, 28)}

    unsigned = quantization.QuantType.QUInt8
    # the contract: pixel 0 is 0.0 and pixel 255 is 1.0, whatever the calibration images reach
    ends = {"quant_type": unsigned, "rmin": np.float32(0), "rmax": np.float32(1)}
    overrides = {name: [ends] for name in onnx_graph.pixel_tensors(proto.graph)}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "quantized.onnx"
        quantization.quantize_static(
            proto,
            target,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=unsigned,
            weight_type=unsigned,
            nodes_to_exclude=[node.name for node in proto.graph.node if node.op_type == "Softmax"],
            extra_options={"TensorQuantOverrides": overrides},
        )
        quantized = onnx.load(target)
    onnx_graph.take_raw_pixels(quantized.graph)
    onnx_graph.keep_logits_float(quantized.graph)
    quantized.ir_version = IR_VERSION
    kept = [item for item in quantized.opset_import if not item.domain]
    del quantized.opset_import[:]
    quantized.opset_import.extend(kept)
    return quantized


FORMAT = Onnx()
