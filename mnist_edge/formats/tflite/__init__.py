"""TFLite: written by TensorFlow's converter, run by LiteRT, tflite-runtime or TensorFlow's own interpreter."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mnist_edge.core.contract import Contract, IOOptions, Precision
from mnist_edge.core.errors import ArtifactError, ConversionError, UnsupportedPrecision
from mnist_edge.core.optional import installed as installed
from mnist_edge.core.optional import require, silenced
from mnist_edge.formats.base import Request
from mnist_edge.formats.inspection import Description, Trace
from mnist_edge.formats.runner import Images
from mnist_edge.formats.tflite import graph as tflite_graph
from mnist_edge.formats.tflite import inspect as tflite_describe
from mnist_edge.formats.tflite import trace as tflite_trace
from mnist_edge.formats.tflite.convert import _convert, _converter_error
from mnist_edge.formats.tflite.runtime import RUNTIMES, Runner, _reason, interpreter, missing_runtime, without_delegate

METADATA = "mnist-edge.json"


class TFLite:
    """The TFLite format."""

    name = "tflite"
    suffix = ".tflite"
    precisions = tuple(Precision)
    unsupported: dict[Precision, str] = {}  # noqa: RUF012 (never changed)
    methods = ("minmax",)
    variants = ("without XNNPACK",)
    platform = None
    packages = ("tensorflow", *(package for package in RUNTIMES.values() if package != "tensorflow"))
    folder = Path(__file__).parent

    def missing(self) -> str | None:
        """Say what has to be installed before `open` works; None where it works."""
        return missing_runtime()

    def contract(self, precision: Precision, io: IOOptions) -> Contract:
        """Return the ends that a file of this precision has."""
        if io.full_integer and precision is not Precision.INT8:
            raise UnsupportedPrecision(f"full-integer ends are for int8 files, not for {precision}.")
        return Contract.of(precision, "NHWC", io)

    def export(self, model: Any, path: Path, request: Request) -> Contract:
        """Convert with TFLiteConverter; int8 is full-integer but for Softmax, per-tensor in Dense layers."""
        import tempfile
        import zipfile

        contract = self.contract(request.precision, request.io)
        tf = require("tensorflow", "tensorflow", "exporting TFLite")
        with silenced(), tempfile.TemporaryDirectory() as folder:
            try:
                content = _convert(tf, model, folder, request)
            except (ValueError, RuntimeError, tf.errors.OpError, _converter_error()) as error:
                raise ConversionError(f"TensorFlow's converter could not convert the model ({error}).") from error
            names = contract.input.name, contract.output.name
            path.write_bytes(tflite_graph.canonical(content, names, request.io.batch is None))
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

    def trace(self, path: Path, images: Images) -> Trace:
        """Run the interpreter's own kernels, operator by operator, and keep every tensor."""
        with self.open(path) as runner:
            parts = list(runner.parts(images))
        opened = interpreter(path, experimental_preserve_all_tensors=True, **without_delegate(path))
        try:
            return tflite_trace.trace(opened, parts, len(images))
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"{path} does not run operator by operator ({_reason(error)}).") from error

    def open(self, path: Path, *, threads: int = 1, batch: int = 1, variant: str | None = None) -> Runner:
        """Load a file into the first TFLite runtime that is installed."""
        return Runner(path, threads, batch, **(without_delegate(path) if variant else {}))


def without_metadata(path: Path) -> bytes:
    """Return a file of ours up to the JSON that is zipped onto it: all that a runtime reads."""
    import zipfile

    with zipfile.ZipFile(path) as archive:
        return path.read_bytes()[: min(entry.header_offset for entry in archive.infolist())]


def _as_converted(path: Path, contract: Contract) -> Contract:
    """Check the file's ends against the contract, and give it with the scale that only the converter knows."""
    with Runner(path, threads=1, batch=1) as opened:
        sink = opened.io_specs[1]
        mismatches = contract.mismatches(opened.io_specs)
    if mismatches:
        raise ConversionError(f"what the converter wrote breaks the contract: {'; '.join(mismatches)}.")
    return replace(contract, output=replace(contract.output, scale=sink.scale, zero_point=sink.zero_point))


FORMAT = TFLite()
