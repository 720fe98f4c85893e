"""C: a full-integer TFLite model as an array with a header, for TensorFlow Lite Micro, which runs it here too."""

import json
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import ArtifactError, ConversionError, MissingRuntime, UnsupportedPrecision
from mnist_edge.core.manifest import Contract, Ends, Precision, Tensor
from mnist_edge.core.optional import installed, need, pip_install, versions
from mnist_edge.core.quiet import quiet
from mnist_edge.formats.base import BatchRunner, Description, Images, Inside, Request
from mnist_edge.formats.c_array import source as c_source
from mnist_edge.formats.ends import image_and_numbers
from mnist_edge.formats.target import Footprint
from mnist_edge.formats.tflite import FORMAT as TFLITE
from mnist_edge.formats.tflite import without_metadata

RUNTIME, PACKAGE = "TensorFlow Lite Micro", "tflite-micro"
MODULES = {"tflite_micro": PACKAGE, "yaml": "pyyaml", "bitarray": "bitarray"}  # it does not name the last itself
STEP, LEAST, MOST = 16, 1024, 2**28  # bytes of arena: a too small one must still hold the runtime's own objects
ONLY = "a C array is for a microcontroller: int8, --io int8 and one image a call. Say --target mcu"
DAMAGED = (RuntimeError, ValueError, IndexError, TypeError, AttributeError, MemoryError, OverflowError, struct.error)


class Runner(BatchRunner):
    """A TensorFlow Lite Micro interpreter with one input and one output, in the arena that its header gives."""

    def __init__(self, path: Path) -> None:
        self._path = path
        content, told = c_source.read(path)
        arena = told.get("arena")
        if arena is not None and (type(arena) is not int or not LEAST <= arena <= MOST):
            raise ArtifactError(f"{path} names an arena of {arena} bytes, which cannot be. Export it again.")
        try:
            with quiet():
                self._interpreter = _open(content, _smallest_arena(content) if arena is None else arena)
                ends = _ends(self._interpreter, content)
        except DAMAGED as error:
            within = "" if arena is None else f" with {arena} bytes of arena"
            raise ArtifactError(f"{path} does not run in {RUNTIME}{within} ({error}).") from error
        source, sink = image_and_numbers(path, ends[:1], ends[1:])
        header = path.with_suffix(".h")
        wanted = _header(content, ends, told).encode() if "title" in told and header.is_file() else None
        if wanted is not None and header.read_bytes() != wanted:
            raise ArtifactError(
                f"{header} was changed: it is not what belongs to the array in {path.name}. Export again."
            )
        self._prepare(source, sink, 1)
        self.invoke = self._interpreter.invoke

    def _call(self, pixels: NDArray[Any]) -> NDArray[Any]:
        try:
            self._interpreter.set_input(pixels, 0)
            self._interpreter.invoke()
            output: NDArray[Any] = self._interpreter.get_output(0)
        except DAMAGED as error:
            raise ArtifactError(f"{self._path} does not run in {RUNTIME} ({error}).") from error
        return output


class Microcontroller:
    """The target of these files."""

    name, machine, twin = "mcu", "a microcontroller", TFLITE.name
    promise = f"{RUNTIME} gives TFLite's classes"

    def footprint(self, path: Path) -> Footprint:
        """Measure flash and the smallest arena, in steps of 16 bytes."""
        content, _ = c_source.read(path)
        try:
            return Footprint(len(content), _smallest_arena(content), _measured_with())
        except DAMAGED as error:
            raise ArtifactError(f"{path} does not run in {RUNTIME} ({error}).") from error


class C:
    """The format: `NAME.c` with the array, and `NAME.h` beside it."""

    name = "c"
    suffix = ".c"
    precisions = (Precision.INT8,)
    unsupported = {precision: ONLY for precision in Precision if precision is not Precision.INT8}  # noqa: RUF012
    methods = TFLITE.methods
    variants: tuple[str, ...] = ()
    packages = ("tensorflow", PACKAGE)
    target = Microcontroller()
    folder = Path(__file__).parent

    def missing(self) -> str | None:
        """Say what has to be installed before `open` works; None where it works."""
        import platform

        absent = [package for module, package in MODULES.items() if not installed(module)]
        if not absent:
            return None
        if (sys.platform, platform.machine()) != ("linux", "x86_64"):
            here = f"{platform.system()} {platform.machine()}"
            return f"{RUNTIME} has wheels for x86-64 Linux alone, and this is {here}: run C arrays on an x86-64 one"
        return f"{RUNTIME} is not installed. Install it: {pip_install(*absent)}"

    def contract(self, precision: Precision, ends: Ends) -> Contract:
        """Give the ends that such a file has."""
        if precision is not Precision.INT8 or not ends.full_integer or ends.batch != 1:
            raise UnsupportedPrecision(f"{ONLY}.")
        return TFLITE.contract(precision, ends)

    def export(self, model: Any, path: Path, request: Request) -> Contract:
        """Convert to TFLite, find the smallest arena, and write the array and its header."""
        import tempfile

        self.contract(request.precision, request.ends)
        _runtime()
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / f"{path.stem}{TFLITE.suffix}"
            contract = TFLITE.export(model, whole, request)
            content = without_metadata(whole)
        try:
            arena = _smallest_arena(content)
        except DAMAGED as error:
            raise ConversionError(f"the model does not run in {RUNTIME} ({error}).") from error
        with quiet():
            ends = _ends(_open(content, arena), content)
        operators = _operators(content)
        if breaches := contract.breaches(ends):
            raise ConversionError(f"{RUNTIME} sees other ends than the contract's: {'; '.join(breaches)}.")
        told: dict[str, Any] = {**request.metadata, "arena": arena, "sha256": c_source.digest(content)}
        told |= {"measured_with": _measured_with(), "runtime": RUNTIME, "operators": ", ".join(operators)}
        told |= {"kinds": len(operators), "title": path.stem}
        path.with_suffix(".h").write_text(_header(content, ends, told), encoding="ascii")
        told["contract"] = asdict(contract)
        path.write_text(c_source.source(path.stem, content, told), encoding="utf-8")
        return contract

    def describe(self, path: Path) -> Description:
        """Read any C file with a TFLite model in it."""
        content, told = c_source.read(path)
        with _as_tflite(content, path) as whole:
            found = TFLITE.describe(whole)
        parts = {"weights": found.sizes["weights"], "graph": len(content) - found.sizes["weights"]}
        runs = found.executed and replace(found.executed, note=RUNTIME)
        missing = self.missing() is not None
        return replace(
            found,
            sizes={**parts, "C text": path.stat().st_size - len(content)},
            metadata={key: value if isinstance(value, str) else json.dumps(value) for key, value in told.items()},
            executed=None if missing else runs,
            footprint=None if missing else self.target.footprint(path),
        )

    def look_inside(self, path: Path, images: Images) -> Inside:
        """Run the array's bytes on TFLite's own kernels, which show every tensor."""
        content, _ = c_source.read(path)
        with _as_tflite(content, path) as whole:
            return TFLITE.look_inside(whole, images)

    def open(self, path: Path, *, threads: int = 1, batch: int = 1, variant: str | None = None) -> Runner:
        """Load the array into TensorFlow Lite Micro, which knows one thread and one image a call."""
        _runtime()
        return Runner(path)


def _header(content: bytes, ends: tuple[Tensor, Tensor], told: dict[str, Any]) -> str:
    """Give the header of an array, from what the array's file tells of itself; raises ArtifactError where it cannot."""
    try:
        return c_source.header(told["title"], content, ends, {key: told[key] for key in told if key != "title"})
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"what the C file tells of itself is damaged ({error!r}). Export it again.") from error


@contextmanager
def _as_tflite(content: bytes, path: Path) -> Iterator[Path]:
    """Give the array's bytes as a temporary `.tflite`; errors name the C file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / f"{path.stem}{TFLITE.suffix}"
        whole.write_bytes(content)
        try:
            yield whole
        except ArtifactError as error:
            raise ArtifactError(str(error).replace(str(whole), f"the array in {path}")) from error


def _runtime() -> ModuleType:
    """Import TensorFlow Lite Micro. Raises MissingRuntime."""
    if missing := FORMAT.missing():
        raise MissingRuntime(f"{missing}.")
    found: ModuleType = need("tflite_micro", PACKAGE, f"running {RUNTIME}").runtime
    return found


def _measured_with() -> str:
    return f"{PACKAGE} {versions([PACKAGE])[PACKAGE]} on a 64-bit host"


def _open(content: bytes, arena: int) -> Any:
    """Open an interpreter in an arena of so many bytes and run it once. Raises RuntimeError where it is too small."""
    if content[4:8] != b"TFL3":
        raise ValueError("its identifier is not TFL3")
    opened = _runtime().Interpreter.from_bytes(content, arena_size=arena)
    opened.invoke()
    return opened


def _smallest_arena(content: bytes) -> int:
    """Find the smallest arena in which a model runs, in bytes, a multiple of 16. Raises what DAMAGED lists."""

    def works(steps: int) -> bool:
        try:
            _open(content, steps * STEP)
        except RuntimeError:
            return False
        return True

    low, high = LEAST // STEP, LEAST // STEP
    with quiet():
        while not works(high):
            low, high = high + 1, high * 2
            if high * STEP > MOST:
                raise ValueError(f"an operator that it does not have, or more than {MOST:,} bytes of arena")
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if works(middle) else (middle + 1, high)
    return high * STEP


def _operators(content: bytes) -> list[str]:
    """Give the kinds of operators in a model, which an app has to register."""
    runtime = _runtime()
    names = {value: key for key, value in vars(runtime.schema_fb.BuiltinOperator).items() if isinstance(value, int)}
    model = runtime.convert_bytearray_to_object(content)
    codes = [model.operatorCodes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]  # it lists more
    return sorted({names[runtime.get_builtin_code_from_operator_code(code)] for code in codes})


def _ends(opened: Any, content: bytes) -> tuple[Tensor, Tensor]:
    """Give input and output: names from the file, the rest from the interpreter."""
    graph = _runtime().convert_bytearray_to_object(content).subgraphs[0]
    if (len(graph.inputs), len(graph.outputs)) != (1, 1):
        raise ValueError(f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs, not one of each")
    found = []
    for details, (index,) in (
        (opened.get_input_details(0), graph.inputs),
        (opened.get_output_details(0), graph.outputs),
    ):
        quantized = details["quantization_parameters"]
        scale = [float(value) for value in quantized["scales"]][:1]
        found.append(
            Tensor(
                graph.tensors[index].name.decode(),
                np.dtype(details["dtype"]).name,
                tuple(int(size) for size in details["shape"]),
                "",
                scale[0] if scale else None,
                int(quantized["zero_points"][0]) if scale else None,
            )
        )
    return found[0], found[1]


FORMAT = C()
