"""TFLite: written by TensorFlow's converter, run by LiteRT, tflite-runtime or TensorFlow's own interpreter."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mnist_edge.core.contract import Contract, IOOptions, Precision
from mnist_edge.core.errors import ArtifactError, ConversionError, RefusedError, UnsupportedPrecision
from mnist_edge.core.reading import reading
from mnist_edge.formats.base import INTEGER, Format, Request
from mnist_edge.formats.inspection import Description, Trace
from mnist_edge.formats.keras.structure import check_int8
from mnist_edge.formats.runner import ANY, Images, takes_batches
from mnist_edge.formats.tflite import graph, inspect, trace
from mnist_edge.formats.tflite.convert import convert, layer_count
from mnist_edge.formats.tflite.runtime import (
    MODULES,
    RUNTIME,
    Runner,
    explain,
    interpreter,
    missing_runtime,
    without_delegate,
)

METADATA = "mnist-edge.json"


class TFLite(Format):
    """The TFLite format."""

    name = "tflite"
    suffix = ".tflite"
    precisions = tuple(Precision)
    methods = ("minmax",)
    variants = ("without XNNPACK",)
    packages = ("tensorflow", *(package for package in MODULES.values() if package != "tensorflow"))
    runtime = RUNTIME

    def missing(self) -> str | None:
        """Return what has to be installed before `open` works; None where it works."""
        return missing_runtime()

    def contract(self, precision: Precision, io: IOOptions) -> Contract:
        """Return the input and output that a file of this precision has."""
        if io.full_integer and precision is not Precision.INT8:
            raise UnsupportedPrecision(f"full-integer input and output are for int8 files, not for {precision}.")
        return Contract.of(precision, "NHWC", io)

    def export(self, model: Any, path: Path, request: Request) -> Contract:
        """Convert with TFLiteConverter; int8 is full-integer but for Softmax, per-tensor in Dense layers."""
        import zipfile

        contract = self.contract(request.precision, request.io)
        if request.precision in INTEGER:
            check_int8(model)
        names = contract.input.name, contract.output.name
        # a fixed batch is traced as it is, any batch as a batch of 1 where that works
        attempts = (1, None) if request.io.batch is None else (request.io.batch,)
        for traced_batch in attempts:
            free = request.io.batch is None and traced_batch == 1
            path.write_bytes(graph.canonical(convert(model, request, traced_batch), names, free))
            if takes_batches(lambda: self.open(path, batch=ANY)):
                break
        else:
            raise ConversionError(f"the model cannot take a batch of {request.io.batch or 'any size'} in TFLite.")
        contract = _as_converted(path, contract)
        with zipfile.ZipFile(path, "a") as archive:
            entry = zipfile.ZipInfo(METADATA, date_time=(1980, 1, 1, 0, 0, 0))  # the same bytes at every export
            archive.writestr(entry, json.dumps({**request.metadata, "contract": asdict(contract)}, indent=1))
        return contract

    def layer_count(self, model: Any, request: Request) -> int:
        """Return how many layers with weights the converter makes of a model."""
        return layer_count(model, request)

    def describe(self, path: Path) -> Description:
        """Read any TFLite file, and the operators that the installed runtime runs."""
        opened = refused = None
        try:
            opened = interpreter(path) if self.missing() is None else None
        except RefusedError as error:
            refused = str(error)
        described = replace(inspect.describe(path, METADATA), refused=refused)
        if opened is None:
            return described
        with reading(ArtifactError, f"{path} is damaged"):
            return replace(described, runtime_operators=inspect.runtime_operators(opened))

    def trace(self, path: Path, images: Images) -> Trace:
        """Run the interpreter's own kernels, operator by operator, and keep every tensor."""
        with self.open(path) as runner:
            parts = list(runner.parts(images))
        opened = interpreter(path, experimental_preserve_all_tensors=True, **without_delegate(path))
        with reading(ArtifactError, f"{path} does not run operator by operator", explain=explain):
            return trace.trace(opened, parts, len(images))

    def open(self, path: Path, *, threads: int = 1, batch: int = 1, variant: str | None = None) -> Runner:
        """Load a file into the first TFLite runtime that is installed."""
        return Runner(path, threads, batch, **(without_delegate(path) if variant else {}))


def without_metadata(path: Path) -> bytes:
    """Return the bytes of a file of ours without the JSON that is zipped onto it: what a runtime reads."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        return path.read_bytes()[: min(entry.header_offset for entry in archive.infolist())]


def _as_converted(path: Path, contract: Contract) -> Contract:
    """Return the contract with the scale that the converter chose. Raises ConversionError where the file breaks it."""
    with Runner(path, threads=1, batch=1) as opened:
        sink = opened.io_specs[1]
        mismatches = contract.mismatches(opened.io_specs)
    if mismatches:
        raise ConversionError(f"what the converter wrote breaks the contract: {'; '.join(mismatches)}.")
    return replace(contract, output=replace(contract.output, scale=sink.scale, zero_point=sink.zero_point))


FORMAT = TFLite()
