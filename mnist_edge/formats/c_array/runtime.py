"""Runs a C array in TensorFlow Lite Micro, and measures the arena that it needs."""

import faulthandler
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.contract import TensorSpec
from mnist_edge.core.errors import ArtifactError, MissingRuntime
from mnist_edge.core.optional import installed, pip_install, require, silenced, versions
from mnist_edge.core.reading import reading, reason
from mnist_edge.formats.c_array import source as c_source
from mnist_edge.formats.runner import BatchRunner, check_io

RUNTIME, PACKAGE = "TensorFlow Lite Micro", "tflite-micro"


MODULES = {"tflite_micro": PACKAGE, "yaml": "pyyaml", "bitarray": "bitarray"}  # it does not name the last itself


STEP, LEAST, MOST = 16, 1024, 2**28  # bytes of arena: a too small one must still hold the runtime's own objects


class Runner(BatchRunner):
    """A TensorFlow Lite Micro interpreter with one input and one output, in the arena that its header gives."""

    def __init__(self, path: Path) -> None:
        self._path = path
        content, metadata = c_source.read(path)
        arena = metadata.get("arena")
        if arena is not None and (type(arena) is not int or not LEAST <= arena <= MOST):
            raise ArtifactError(f"{path} names an arena of {arena} bytes, which cannot be. Export it again.")
        within = "" if arena is None else f" with {arena} bytes of arena"
        with reading(ArtifactError, f"{path} does not run in {RUNTIME}{within}"), silenced():
            self._interpreter = open_array(content, smallest_arena(content) if arena is None else arena)
            specs = io_specs(self._interpreter, content)
        source, sink = check_io(path, specs[:1], specs[1:])
        header_path = path.with_suffix(".h")
        wanted = header(content, specs, metadata).encode() if "title" in metadata and header_path.is_file() else None
        if wanted is not None and header_path.read_bytes() != wanted:
            raise ArtifactError(
                f"{header_path} was changed: it is not what belongs to the array in {path.name}. Export again."
            )
        self._prepare(source, sink, 1)
        self.invoke = self._interpreter.invoke

    def _call(self, pixels: NDArray[Any]) -> NDArray[Any]:
        try:
            self._interpreter.set_input(pixels, 0)
            self._interpreter.invoke()
            output: NDArray[Any] = self._interpreter.get_output(0)
        except Exception as error:
            raise ArtifactError(f"{self._path} does not run in {RUNTIME} ({reason(error)}).") from error
        return output


def header(content: bytes, specs: tuple[TensorSpec, TensorSpec], metadata: dict[str, Any]) -> str:
    """Return the header of an array from its metadata. Raises ArtifactError where they are damaged."""
    with reading(ArtifactError, "what the C file tells of itself is damaged", "Export it again."):
        return c_source.header(
            metadata["title"], content, specs, {key: metadata[key] for key in metadata if key != "title"}
        )


def missing_runtime() -> str | None:
    """Return what has to be installed before a C array runs here; None where it runs."""
    import platform

    absent = [package for module, package in MODULES.items() if not installed(module)]
    if not absent:
        return None
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        here = f"{platform.system()} {platform.machine()}"
        return f"{RUNTIME} has wheels for x86-64 Linux alone, and this is {here}: run C arrays on an x86-64 one"
    return f"{RUNTIME} is not installed. Install it: {pip_install(*absent)}"


def load_runtime() -> ModuleType:
    """Import TensorFlow Lite Micro. Raises MissingRuntime."""
    if reason := missing_runtime():
        raise MissingRuntime(f"{reason}.")
    module: ModuleType = require("tflite_micro", PACKAGE, f"running {RUNTIME}").runtime
    return module


def measured_with() -> str:
    """Return the runtime's package and version, with which an arena was measured."""
    return f"{PACKAGE} {versions([PACKAGE])[PACKAGE]} on a 64-bit host"


def open_array(content: bytes, arena: int) -> Any:
    """Open an interpreter in an arena of so many bytes and run it once. Raises RuntimeError where it is too small."""
    if content[4:8] != b"TFL3":
        raise ValueError("its identifier is not TFL3")
    opened = load_runtime().Interpreter.from_bytes(content, arena_size=arena)
    opened.invoke()
    return opened


def smallest_arena(content: bytes) -> int:
    """Find the smallest arena in which a model runs, in bytes, a multiple of 16. Raises whatever the runtime does."""

    def works(steps: int) -> bool:
        # in a copy of this process: with some arenas that are too small the runtime crashes
        child = os.fork()
        if child:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        faulthandler.disable()  # such a crash is an answer
        try:
            open_array(content, steps * STEP)
            os._exit(0)
        finally:
            os._exit(1)

    load_runtime()
    low, high = LEAST // STEP, LEAST // STEP
    with silenced():
        while not works(high):
            low, high = high + 1, high * 2
            if high * STEP > MOST:
                raise ValueError(f"an operator that it does not have, or more than {MOST:,} bytes of arena")
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if works(middle) else (middle + 1, high)
    return high * STEP


def operators(content: bytes) -> list[str]:
    """Return the kinds of operators in a model, which an app has to register."""
    runtime = load_runtime()
    names = {value: key for key, value in vars(runtime.schema_fb.BuiltinOperator).items() if isinstance(value, int)}
    model = runtime.convert_bytearray_to_object(content)
    codes = [model.operatorCodes[operator.opcodeIndex] for operator in model.subgraphs[0].operators]  # it lists more
    return sorted({names[runtime.get_builtin_code_from_operator_code(code)] for code in codes})


def io_specs(opened: Any, content: bytes) -> tuple[TensorSpec, TensorSpec]:
    """Return input and output: names from the file, the rest from the interpreter."""
    graph = load_runtime().convert_bytearray_to_object(content).subgraphs[0]
    if (len(graph.inputs), len(graph.outputs)) != (1, 1):
        raise ValueError(f"{len(graph.inputs)} inputs and {len(graph.outputs)} outputs, not one of each")
    specs = []
    for details, (index,) in (
        (opened.get_input_details(0), graph.inputs),
        (opened.get_output_details(0), graph.outputs),
    ):
        quantized = details["quantization_parameters"]
        scale = [float(value) for value in quantized["scales"]][:1]
        specs.append(
            TensorSpec(
                graph.tensors[index].name.decode(),
                np.dtype(details["dtype"]).name,
                tuple(int(size) for size in details["shape"]),
                "",
                scale[0] if scale else None,
                int(quantized["zero_points"][0]) if scale else None,
            )
        )
    return specs[0], specs[1]
