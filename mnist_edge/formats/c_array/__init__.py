"""C: a full-integer TFLite model as an array with a header, for TensorFlow Lite Micro, which runs it here too."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from mnist_edge.core.contract import Contract, IOOptions, Precision
from mnist_edge.core.errors import ArtifactError, ConversionError, UnsupportedPrecision
from mnist_edge.core.optional import installed as installed
from mnist_edge.core.optional import pip_install as pip_install
from mnist_edge.core.optional import silenced
from mnist_edge.core.reading import reading
from mnist_edge.core.text import flat
from mnist_edge.formats.base import Format
from mnist_edge.formats.c_array import source as c_source
from mnist_edge.formats.c_array.runtime import (
    PACKAGE,
    RUNTIME,
    Runner,
    header,
    io_specs,
    load_runtime,
    measured_with,
    missing_runtime,
    open_array,
    operators,
    smallest_arena,
)
from mnist_edge.formats.first_look import first_look
from mnist_edge.formats.inspection import Description, Footprint, Trace
from mnist_edge.formats.request import Request
from mnist_edge.formats.runner import Images
from mnist_edge.formats.tflite import FORMAT as TFLITE
from mnist_edge.formats.tflite import metadata as zipped_json
from mnist_edge.formats.weights import Layer

ONLY = "a C array is for a microcontroller: int8, --io int8 and one image a call. Say --target mcu"


class Microcontroller:
    """The platform of these files."""

    name, machine, counterpart_format = "mcu", "a microcontroller", TFLITE.name
    promise = f"{RUNTIME} gives TFLite's classes"

    def footprint(self, path: Path) -> Footprint:
        """Measure flash and the smallest arena, in steps of 16 bytes."""
        content, _ = c_source.read(path)
        with reading(ArtifactError, f"{path} does not run in {RUNTIME}"):
            return Footprint(len(content), smallest_arena(content), measured_with())


class CArray(Format):
    """The format: `NAME.c` with the array, and its header `NAME.h`."""

    name = "c"
    suffix = ".c"
    precisions = (Precision.INT8,)
    unsupported = {precision: ONLY for precision in Precision if precision is not Precision.INT8}  # noqa: RUF012
    methods = TFLITE.methods
    packages = ("tensorflow", PACKAGE)
    platform = Microcontroller()

    def missing(self) -> str | None:
        """Return what has to be installed before `open` works; None where it works."""
        return missing_runtime()

    def contract(self, precision: Precision, io: IOOptions) -> Contract:
        """Return the input and output that such a file has."""
        if precision is not Precision.INT8 or not io.full_integer or io.batch != 1:
            raise UnsupportedPrecision(f"{ONLY}.")
        return TFLITE.contract(precision, io)

    def export(self, model: Any, path: Path, request: Request) -> Contract:
        """Convert to TFLite, find the smallest arena, and write the array and its header."""
        import tempfile

        self.contract(request.precision, request.io)
        if {'"', "\n"} & set(path.stem):
            raise ConversionError(
                f"no C code can include {path.with_suffix('.h').name!r}: its name has a quote or a line break. "
                "Rename the model's folder."
            )
        load_runtime()
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / f"{path.stem}{TFLITE.suffix}"
            contract = TFLITE.export(model, whole, request)
            content = zipped_json.without(whole)
            self._try(path.stem, content, Path(folder))
        with reading(ConversionError, f"the model does not run in {RUNTIME}"):
            arena = smallest_arena(content)
        with silenced():
            specs = io_specs(open_array(content, arena), content)
        kinds = operators(content)
        if mismatches := contract.mismatches(specs):
            raise ConversionError(
                f"{RUNTIME} sees another input or output than the contract's: {'; '.join(mismatches)}."
            )
        metadata: dict[str, Any] = {**request.metadata, "arena": arena, "sha256": c_source.digest(content)}
        metadata |= {"measured_with": measured_with(), "runtime": RUNTIME, "operators": ", ".join(kinds)}
        metadata |= {"kinds": len(kinds), "title": path.stem}
        path.with_suffix(".h").write_text(header(content, specs, metadata), encoding="ascii")
        metadata["contract"] = contract.to_json()
        path.write_text(c_source.source(path.stem, content, metadata), encoding="utf-8")
        return contract

    def stored_contract(self, path: Path) -> Any:
        """Return the contract in the comment of a C file of ours."""
        return c_source.read(path)[1].get("contract")

    def _try(self, title: str, content: bytes, folder: Path) -> None:
        """Raise ConversionError where an array does not run, or crashes the runtime, as some networks do."""
        path = folder / f"{title}{self.suffix}"
        path.write_text(c_source.source(title, content, {}), encoding="utf-8")
        try:
            first_look(path, self)
        except ArtifactError as error:
            raise ConversionError(str(error).replace(str(path), path.name)) from error

    def describe(self, path: Path) -> Description:
        """Read any C file with a TFLite model in it."""
        content, metadata = c_source.read(path)
        with _as_tflite(content, path) as whole:
            description = TFLITE.describe(whole)
        parts = {"weights": description.sizes["weights"], "graph": len(content) - description.sizes["weights"]}
        runs = description.runtime_operators and replace(description.runtime_operators, note=RUNTIME)
        missing = self.missing() is not None
        footprint, refused = None, None
        try:
            footprint = None if missing else self.platform.footprint(path)
        except ArtifactError as error:
            refused, runs = str(error), None
        return replace(
            description,
            sizes={**parts, "C text": path.stat().st_size - len(content)},
            metadata={
                flat(key): flat(value if isinstance(value, str) else json.dumps(value))
                for key, value in metadata.items()
            },
            runtime_operators=None if missing else runs,
            footprint=footprint,
            refused=refused,
        )

    def layers(self, path: Path) -> tuple[Layer, ...]:
        """Return the operators of the model in any C file that have weights."""
        content, _ = c_source.read(path)
        with _as_tflite(content, path) as whole:
            return TFLITE.layers(whole)

    def trace(self, path: Path, images: Images) -> Trace:
        """Run the array's bytes on TFLite's own kernels, which keep every tensor."""
        content, _ = c_source.read(path)
        with _as_tflite(content, path) as whole:
            return TFLITE.trace(whole, images)

    def open(self, path: Path, *, threads: int = 1, batch: int = 1, variant: str | None = None) -> Runner:
        """Load the array into TensorFlow Lite Micro, which knows one thread and one image a call."""
        load_runtime()
        return Runner(path)


@contextmanager
def _as_tflite(content: bytes, path: Path) -> Iterator[Path]:
    """Yield a temporary `.tflite` with the array's bytes; errors name the C file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / f"{path.stem}{TFLITE.suffix}"
        whole.write_bytes(content)
        try:
            yield whole
        except ArtifactError as error:
            raise ArtifactError(str(error).replace(str(whole), f"the array in {path}")) from error


FORMAT = CArray()
