"""Runs a `.tflite` file in LiteRT, tflite-runtime or TensorFlow's own interpreter."""

import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.contract import TensorSpec
from mnist_edge.core.errors import ArtifactError, MissingRuntime, RefusedError
from mnist_edge.core.optional import installed, require, silenced, versions
from mnist_edge.core.reading import check_file_size, check_size, reading
from mnist_edge.core.system import RuntimePackages
from mnist_edge.core.text import one_line
from mnist_edge.formats.base import MOST_BYTES
from mnist_edge.formats.runner import BatchRunner, check_io

MODULES = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime", "tensorflow": "tensorflow"}
RUNTIME = RuntimePackages("tflite", "ai-edge-litert", arm32=("tflite-runtime==2.14.0", "numpy<2"))
"""tflite-runtime 2.14.0 is the last runtime with wheels for 32-bit ARM (Python 3.9 and 3.11); it needs NumPy 1."""


class Runner(BatchRunner):
    """An interpreter with one input and one output."""

    def __init__(self, path: Path, threads: int, batch: int, **settings: Any) -> None:
        self._path, self._interpreter = path, interpreter(path, threads, **settings)
        self._prepare(*check_io(path, *io_specs(path, self._interpreter)), batch)
        with reading(ArtifactError, f"{path} is damaged", explain=explain):
            details = self._interpreter.get_input_details()[0]
            self._input, self._output = details["index"], self._interpreter.get_output_details()[0]["index"]
            shape = details["shape"].tolist()
        if shape[:1] != [self.batch]:
            with reading(ArtifactError, f"{path} does not take {self.batch} images a call", explain=explain):
                self._interpreter.resize_tensor_input(self._input, self._shape)
                self._interpreter.allocate_tensors()
        self.invoke = self._interpreter.invoke
        self._set, self._get = self._interpreter.set_tensor, self._interpreter.get_tensor

    def _call(self, pixels: NDArray[Any]) -> NDArray[Any]:
        try:
            self._set(self._input, pixels)
            self.invoke()
            output: NDArray[Any] = self._get(self._output)
        except Exception as error:
            raise ArtifactError(f"{self._path} does not run ({explain(error)}).") from error
        return output


def io_specs(path: Path, opened: Any) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Return the inputs and the outputs of an opened file. Raises ArtifactError."""
    with reading(ArtifactError, f"{path} is damaged", explain=explain):  # a name is not UTF-8, say
        names = _names(opened)
        inputs, outputs = opened.get_input_details(), opened.get_output_details()
        return [_spec(details, names) for details in inputs], [_spec(details, names) for details in outputs]


def _names(opened: Any) -> dict[int, str]:
    """Return the first signature's names of tensors, by the tensor's index; empty where the file has no signature."""
    signatures = list(opened.get_signature_list())
    if not signatures:
        return {}
    runner = opened.get_signature_runner(signatures[0])
    named = {**runner.get_input_details(), **runner.get_output_details()}
    return {details["index"]: name for name, details in named.items()}


def _spec(details: Any, names: dict[int, str]) -> TensorSpec:
    """Return an input or output of an interpreter."""
    scale, zero_point = details["quantization"]
    shape = tuple(None if size < 0 else int(size) for size in details["shape_signature"])
    quantized = (float(scale), int(zero_point)) if scale else (None, None)
    name = names.get(details["index"], details["name"])
    return TensorSpec(name, np.dtype(details["dtype"]).name, shape, "", *quantized)


def explain(error: Exception) -> str:
    """Return a runtime's message in one line; in plain words where an operator is not the runtime's."""
    text = str(error)
    if found := re.search(r"Select TensorFlow op.*\((\w+)\) failed to prepare", text, re.DOTALL):
        return (
            f"its operator {found[1]} is TensorFlow's own, of SELECT_TF_OPS: it takes tf.lite.Interpreter of the "
            "package tensorflow, or a conversion without SELECT_TF_OPS"
        )
    if found := re.search(r"unresolved custom op: (\S+?)\.?\s", text):
        return f"its operator {found[1]} is a custom one: it takes a runtime that was built with it"
    if found := re.search(r"builtin opcode '(\w+)' version '(\d+)'", text):
        return f"its operator {found[1]} has version {found[2]}, which is too new: it takes a newer runtime"
    if found := re.search(r"builtin_code out of range: (\d+)", text):
        return f"its operator number {found[1]} is too new: it takes a newer runtime"
    return one_line(text) or type(error).__name__


def without_delegate(path: Path) -> dict[str, Any]:
    """Return the setting under which the interpreter's own kernels compute every operator, not XNNPACK's."""
    return {"experimental_op_resolver_type": _runtime(path).OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}


def interpreter(path: Path, threads: int = 1, allocate: bool = True, **settings: Any) -> Any:
    """Open an Interpreter; `settings` are its other arguments. Raises ArtifactError.

    Without its tensors allocated it tells of input and output alone, and does not run.
    """
    if path.is_file():
        with path.open("rb") as file:
            if file.read(8)[4:] != b"TFL3":
                raise ArtifactError(f"{path} is not a TFLite file (its identifier is not TFL3).")
    check_file_size(ArtifactError, path, MOST_BYTES)
    runtime = _runtime(path)
    try:
        with silenced():
            opened = runtime.Interpreter(str(path), num_threads=threads, **settings)
            for details in opened.get_input_details():
                size = math.prod(map(int, details["shape"])) * np.dtype(details["dtype"]).itemsize
                check_size(size, MOST_BYTES, "its input")  # gigabytes would be allocated for it
            if allocate:
                opened.allocate_tensors()
    except Exception as error:
        unreadable = isinstance(error, UnicodeDecodeError)  # the name of its input
        damaged = unreadable or "valid Flatbuffer" in str(error) or "Could not open" in str(error)
        kind = ArtifactError if damaged else RefusedError
        raise kind(f"{path} is not a TFLite file that {_title(runtime)} loads ({explain(error)}).") from error
    return opened


def _title(runtime: ModuleType) -> str:
    """Return a runtime's package and version."""
    package = MODULES[runtime.__name__.partition(".")[0]]
    return " ".join((package, *versions([package]).values()))


def missing_runtime() -> str | None:
    """Return what has to be installed before a `.tflite` file runs here; None where it runs."""
    if any(installed(module) for module in MODULES):
        return None
    return f"no TFLite runtime is installed. {RUNTIME.how_to_install()}"


def _runtime(path: Path) -> ModuleType:
    """Import the module that has `Interpreter`: ai-edge-litert's, else tflite-runtime's, else TensorFlow's."""
    for module, package in MODULES.items():
        if installed(module):
            name = "tensorflow.lite.python.interpreter" if module == "tensorflow" else f"{module}.interpreter"
            return require(name, package, f"running {path.name}")
    raise MissingRuntime(str(missing_runtime()))
