"""TFLite: written by TensorFlow's converter, run by LiteRT, tflite-runtime or TensorFlow's own interpreter.

`predict` imports this at every start: what it does not need is imported inside functions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mnist_edge.core.contract import Contract, IOOptions, Precision
from mnist_edge.core.errors import ArtifactError, ConversionError, RefusedError, UnsupportedPrecision
from mnist_edge.core.reading import reading
from mnist_edge.formats.base import INTEGER, Format
from mnist_edge.formats.first_look import first_look
from mnist_edge.formats.runner import ANY, takes_batches
from mnist_edge.formats.tflite import metadata
from mnist_edge.formats.tflite.compiled import VARIANT as COMPILED
from mnist_edge.formats.tflite.compiled import CompiledRunner, missing_compiled
from mnist_edge.formats.tflite.runtime import (
    MODULES,
    RUNTIME,
    Runner,
    explain,
    interpreter,
    missing_runtime,
    without_delegate,
)

if TYPE_CHECKING:
    from pathlib import Path

    from mnist_edge.formats.inspection import Description, Trace
    from mnist_edge.formats.request import Request
    from mnist_edge.formats.runner import Images
    from mnist_edge.formats.weights import Layer


class TFLite(Format):
    """The TFLite format."""

    name = "tflite"
    suffix = ".tflite"
    precisions = tuple(Precision)
    methods = ("minmax",)
    variants = {"without XNNPACK": "", COMPILED: ""}  # noqa: RUF012
    other_runtimes = (COMPILED,)
    packages = ("tensorflow", *(package for package in MODULES.values() if package != "tensorflow"))
    runtime = RUNTIME

    def missing(self) -> str | None:
        """Return what has to be installed before `open` works; None where it works."""
        return missing_runtime()

    def missing_variant(self, name: str) -> str | None:
        """Return what has to be installed before `open` takes this variant; None where it does."""
        return missing_compiled() if name == COMPILED else self.missing()

    def slow_here(self, precision: Precision) -> str | None:
        """Return why LiteRT is slow with int8 files on a CPU with AMX; measured by benchmarks/amx.py."""
        from mnist_edge.core.host import has_amx

        if precision is not Precision.INT8 or not has_amx():
            return None
        return "LiteRT uses this CPU's AMX, which slows small int8 networks: docs/benchmarks.md."

    def contract(self, precision: Precision, io: IOOptions) -> Contract:
        """Return the input and output that a file of this precision has."""
        if io.full_integer and precision is not Precision.INT8:
            raise UnsupportedPrecision(f"full-integer input and output are for int8 files, not for {precision}.")
        return Contract.of(precision, "NHWC", io)

    def export(self, model: Any, path: Path, request: Request) -> Contract:
        """Convert with TFLiteConverter; int8 is full-integer but for Softmax, per-tensor in Dense layers."""
        from mnist_edge.formats.keras.structure import check_int8
        from mnist_edge.formats.tflite.convert import convert
        from mnist_edge.formats.tflite.graph import canonical

        contract = replace(self.contract(request.precision, request.io), threshold=request.threshold)
        if request.precision in INTEGER:
            check_int8(model)
        names = contract.input.name, contract.output.name
        # a fixed batch is traced as it is, any batch as a batch of 1 where that works
        attempts = (1, None) if request.io.batch is None else (request.io.batch,)
        for traced_batch in attempts:
            free = request.io.batch is None and traced_batch == 1
            path.write_bytes(canonical(convert(model, request, traced_batch), names, free))
            if takes_batches(lambda: self.open(path, batch=ANY)):
                break
        else:
            raise ConversionError(f"the model cannot take a batch of {request.io.batch or 'any size'} in TFLite.")
        contract = _as_converted(path, contract)
        metadata.append(path, {**request.metadata, "contract": contract.to_json()})
        return contract

    def stored_contract(self, path: Path) -> Any:
        """Return the contract in the JSON that is zipped onto a file of ours."""
        return metadata.read(path).get("contract")

    def layer_count(self, model: Any, request: Request) -> int:
        """Return how many layers with weights the converter makes of a model."""
        from mnist_edge.formats.tflite.convert import layer_count

        return layer_count(model, request)

    def describe(self, path: Path) -> Description:
        """Read any TFLite file, and the operators that the installed runtime runs."""
        from mnist_edge.formats.tflite import inspect

        opened = refused = None
        try:
            opened = interpreter(path) if self.missing() is None else None
        except RefusedError as error:
            refused = str(error)
        described = replace(inspect.describe(path), refused=refused)
        if opened is None:
            return described
        with reading(ArtifactError, f"{path} is damaged"):
            return replace(described, runtime_operators=inspect.runtime_operators(opened))

    def layers(self, path: Path) -> tuple[Layer, ...]:
        """Return the operators of any TFLite file that have weights."""
        from mnist_edge.formats.tflite import weights

        return weights.layers(path)

    def input_range(self, path: Path) -> tuple[float, float] | None:
        """Return the range of the QUANTIZE after the input; None where none is."""
        from mnist_edge.formats.tflite.trace import input_range

        opened = interpreter(path, **without_delegate(path))
        with reading(ArtifactError, f"{path} is damaged", explain=explain):
            return input_range(opened)

    def trace(self, path: Path, images: Images) -> Trace:
        """Run the interpreter's own kernels, operator by operator, and keep every tensor."""
        from mnist_edge.formats.tflite.trace import trace

        with self.open(path) as runner:
            parts = list(runner.parts(images))
        opened = interpreter(path, experimental_preserve_all_tensors=True, **without_delegate(path))
        with reading(ArtifactError, f"{path} does not run operator by operator", explain=explain):
            return trace(opened, parts, len(images))

    def open(
        self, path: Path, *, threads: int = 1, batch: int = 1, variant: str | None = None
    ) -> Runner | CompiledRunner:
        """Load a file into the first TFLite runtime that is installed, or into LiteRT's CompiledModel."""
        if variant == COMPILED:
            first_look(path, self, step=COMPILED)
            return CompiledRunner(path, threads, batch)
        return Runner(path, threads, batch, **(without_delegate(path) if variant else {}))


def _as_converted(path: Path, contract: Contract) -> Contract:
    """Return the contract with the scale that the converter chose. Raises ConversionError where the file breaks it."""
    with Runner(path, threads=1, batch=1) as opened:
        sink = opened.io_specs[1]
        mismatches = contract.mismatches(opened.io_specs)
    if mismatches:
        raise ConversionError(f"what the converter wrote breaks the contract: {'; '.join(mismatches)}.")
    return replace(contract, output=replace(contract.output, scale=sink.scale, zero_point=sink.zero_point))


FORMAT = TFLite()
