"""Runs a `.tflite` file in LiteRT, tflite-runtime or TensorFlow's own interpreter."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.contract import TensorSpec
from mnist_edge.core.errors import ArtifactError, MissingRuntime, excerpt
from mnist_edge.core.optional import installed, require, silenced
from mnist_edge.core.system import RuntimePackages
from mnist_edge.formats.runner import BatchRunner, check_io

MODULES = {"ai_edge_litert": "ai-edge-litert", "tflite_runtime": "tflite-runtime", "tensorflow": "tensorflow"}
RUNTIME = RuntimePackages("tflite", "ai-edge-litert", arm32=("tflite-runtime==2.14.0", "numpy<2"))
"""tflite-runtime 2.14.0 is the last runtime with wheels for 32-bit ARM (Python 3.9 and 3.11); it needs NumPy 1."""


class Runner(BatchRunner):
    """An interpreter with one input and one output."""

    def __init__(self, path: Path, threads: int, batch: int, **settings: Any) -> None:
        self._path, self._interpreter = path, interpreter(path, threads, **settings)
        try:
            inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
            names = _names(self._interpreter)
        except ValueError as error:  # a name that is not UTF-8, or a signature of other tensors
            raise ArtifactError(f"{path} is damaged ({reason(error)}).") from error
        specs = ([_spec(details, names) for details in side] for side in (inputs, outputs))
        self._prepare(*check_io(path, *specs), batch)
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        if self.batch != inputs[0]["shape"][0]:
            try:
                self._interpreter.resize_tensor_input(self._input, self._shape)
                self._interpreter.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                raise ArtifactError(f"{path} does not take {self.batch} images a call ({reason(error)}).") from error
        self.invoke = self._interpreter.invoke

    def _call(self, pixels: NDArray[Any]) -> NDArray[Any]:
        try:
            self._interpreter.set_tensor(self._input, pixels)
            self._interpreter.invoke()
            output: NDArray[Any] = self._interpreter.get_tensor(self._output)
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"{self._path} does not run ({reason(error)}).") from error
        return output


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


def reason(error: Exception) -> str:
    """Return a runtime's message in one line."""
    return excerpt(error)


def without_delegate(path: Path) -> dict[str, Any]:
    """Return the setting under which the interpreter's own kernels compute every operator, not XNNPACK's."""
    return {"experimental_op_resolver_type": _runtime(path).OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}


def interpreter(path: Path, threads: int = 1, **settings: Any) -> Any:
    """Open an Interpreter with its tensors allocated; `settings` are its other arguments. Raises ArtifactError."""
    if path.is_file():
        with path.open("rb") as file:
            if file.read(8)[4:] != b"TFL3":
                raise ArtifactError(f"{path} is not a TFLite file (its identifier is not TFL3).")
    runtime = _runtime(path)
    try:
        with silenced():
            opened = runtime.Interpreter(str(path), num_threads=threads, **settings)
            opened.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(f"{path} is not a TFLite file that this runtime loads ({reason(error)}).") from error
    return opened


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
