"""ONNX: written by tf2onnx and ONNX Runtime's quantizer, run by ONNX Runtime.

`predict` imports this at every start: what it does not need is imported inside functions.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnist_edge.core.contract import Contract, IOOptions, Precision
from mnist_edge.core.errors import ArtifactError, ConversionError, RefusedError, UnsupportedPrecision
from mnist_edge.core.optional import installed, require, silenced
from mnist_edge.core.reading import reading
from mnist_edge.core.system import RuntimePackages
from mnist_edge.core.text import one_line
from mnist_edge.core.typed_json import parse
from mnist_edge.formats.base import INTEGER, Format
from mnist_edge.formats.onnx.runtime import Runner, session, unoptimized
from mnist_edge.formats.runner import ANY, takes_batches

if TYPE_CHECKING:
    from mnist_edge.formats.inspection import Description, OperatorTime, Trace
    from mnist_edge.formats.request import Request
    from mnist_edge.formats.runner import Images
    from mnist_edge.formats.weights import Layer

METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
"""The calibration methods of int8, as ONNX Runtime calls them."""


SATURATION = (
    "ONNX Runtime's sums of int8 weights saturate on an x86 CPU without VNNI: quantize with reduce_range=True, or with "
    "uint8 weights as mnist-edge export does"
)


class Onnx(Format):
    """The ONNX format."""

    name = "onnx"
    suffix = ".onnx"
    precisions = (Precision.FLOAT32, Precision.FLOAT16, Precision.DYNAMIC, Precision.INT8)
    unsupported = {Precision.INT16X8: "ONNX Runtime has no int16 × int8 kernels on the CPU"}  # noqa: RUF012
    methods = tuple(METHODS)
    packages = ("tf2onnx", "onnx", "onnxruntime")
    variants = {"graph optimizations off": SATURATION}  # noqa: RUF012
    runtime = RuntimePackages("onnx", "onnxruntime")

    def missing(self) -> str | None:
        """Return what has to be installed before `open` works; None where it works."""
        if installed("onnxruntime"):
            return None
        return f"ONNX Runtime is not installed. {self.runtime.how_to_install()}"

    def contract(self, precision: Precision, io: IOOptions) -> Contract:
        """Return the input and output that a file of this precision has."""
        if precision in self.unsupported:
            raise UnsupportedPrecision(f"no {precision} in ONNX: {self.unsupported[precision]}.")
        if io.full_integer:
            raise UnsupportedPrecision(
                "full-integer input and output are for TFLite: ONNX int8 files take raw pixels already."
            )
        return Contract.of(precision, "NCHW", io)

    def export(self, model: Any, path: Path, request: Request) -> Contract:
        """Convert with tf2onnx, clean the graph, and store or quantize it as the precision says."""
        from mnist_edge.formats.keras.structure import check_int8

        contract = replace(self.contract(request.precision, request.io), threshold=request.threshold)
        if request.precision in INTEGER:
            check_int8(model)
        require("onnx", "onnx", "exporting ONNX")
        require("onnxruntime", "onnxruntime", "exporting ONNX")
        for traced_batch in dict.fromkeys((1, request.io.batch)):
            proto = self._proto(model, request, contract, traced_batch)
            path.write_bytes(proto.SerializeToString(deterministic=True))
            if request.io.batch == 1 or takes_batches(lambda: self.open(path, batch=ANY)):
                return contract
        raise ConversionError(f"the model cannot take a batch of {request.io.batch or 'any size'} in ONNX.")

    def _proto(self, model: Any, request: Request, contract: Contract, traced_batch: int | None) -> Any:
        """Return the ModelProto of a file. Raises ConversionError where it cannot be made."""
        import onnx

        from mnist_edge.formats.onnx.convert import convert

        try:
            with silenced():
                proto = convert(model, request, traced_batch)
            del proto.metadata_props[:]
            for key, value in {
                **request.metadata,
                "contract": json.dumps(contract.to_json(), separators=(",", ":")),
            }.items():
                proto.metadata_props.add(key=key, value=value)
            onnx.checker.check_model(proto, full_check=True)
        except ConversionError:
            raise
        except Exception as error:
            message = f"the model could not be converted to ONNX {request.precision} ({one_line(error)})."
            raise ConversionError(message) from error
        return proto

    def stored_contract(self, path: Path) -> Any:
        """Return the contract in the metadata of a file of ours."""
        text = session(path).get_modelmeta().custom_metadata_map.get("contract")
        with reading(ArtifactError, f"{path} was changed: its contract cannot be read", "Export it again."):
            return None if text is None else parse(text)

    def layer_count(self, model: Any, request: Request) -> int:
        """Return how many Conv, Gemm and MatMul the float32 graph has."""
        from mnist_edge.formats.onnx.quantize import LAYERS

        contract = self.contract(Precision.FLOAT32, request.io)
        proto = self._proto(model, replace(request, precision=Precision.FLOAT32), contract, 1)
        return sum(node.op_type in LAYERS for node in proto.graph.node)

    def describe(self, path: Path) -> Description:
        """Read any ONNX file, and the operators of the graph that ONNX Runtime makes of it."""
        import tempfile

        from mnist_edge.formats.onnx import inspect
        from mnist_edge.formats.onnx.operators import runtime_operators

        onnx = require("onnx", "onnx", f"reading {path.name}")
        described = inspect.describe(path)
        if self.missing():
            return described
        with tempfile.TemporaryDirectory() as folder:
            optimized = Path(folder) / "optimized.onnx"
            try:
                session(path, optimized_model_filepath=str(optimized))
            except RefusedError as error:
                return replace(described, refused=str(error))
            with reading(ArtifactError, f"what ONNX Runtime makes of {path} cannot be read"):
                graph = onnx.load(optimized, load_external_data=False).graph
                return replace(described, runtime_operators=runtime_operators(graph))

    def layers(self, path: Path) -> tuple[Layer, ...]:
        """Return the operators of any ONNX file that have weights."""
        from mnist_edge.formats.onnx import weights

        require("onnx", "onnx", f"reading {path.name}")
        return weights.layers(path)

    def input_range(self, path: Path) -> tuple[float, float] | None:
        """Return the range of the QuantizeLinear after the input; None where none is, or onnx is not installed."""
        from mnist_edge.formats.onnx import inspect

        return inspect.input_range(path) if installed("onnx") else None

    def operator_times(self, path: Path, images: Images, threads: int) -> tuple[OperatorTime, ...]:
        """Return the time of each operator by ONNX Runtime's profiler, the slowest first."""
        from mnist_edge.formats.onnx.profile import operator_times

        return operator_times(path, images, threads)

    def trace(self, path: Path, images: Images) -> Trace:
        """Run the graph as it stands in the file, without optimizations, and keep every tensor."""
        import tempfile

        from mnist_edge.formats.onnx.trace import trace, widened

        onnx = require("onnx", "onnx", f"looking inside {path.name}")
        damaged = reading(ArtifactError, f"{path} does not run operator by operator")
        with tempfile.TemporaryDirectory() as folder, self.open(path) as runner, damaged:
            proto, names = widened(path)
            wide = Path(folder) / "wide.onnx"
            onnx.save(proto, wide)
            opened = session(wide, **unoptimized())
            calls = [opened.run(names, {runner.io_specs[0].name: part}) for part in runner.parts(images)]
            values = {
                name: np.concatenate(parts)[: len(images)]
                for name, parts in zip(names, zip(*calls, strict=True), strict=True)
                if parts[0].ndim  # a dynamically quantized tensor's scale is a number, not one an image
            }
            return trace(proto, values)

    def open(self, path: Path, *, threads: int = 1, batch: int = 1, variant: str | None = None) -> Runner:
        """Load a file into ONNX Runtime."""
        return Runner(path, threads, batch, **(unoptimized() if variant else {}))


FORMAT = Onnx()
