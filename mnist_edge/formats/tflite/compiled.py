"""Runs a `.tflite` file in LiteRT's CompiledModel, which Google recommends in place of its Interpreter."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.contract import TensorSpec
from mnist_edge.core.errors import ArtifactError, MissingRuntime, RefusedError
from mnist_edge.core.optional import installed, is_verbose, require, silenced, versions
from mnist_edge.core.reading import read_bytes, reading
from mnist_edge.core.system import RuntimePackages
from mnist_edge.formats.base import MOST_BYTES
from mnist_edge.formats.runner import BatchRunner, check_io
from mnist_edge.formats.tflite.runtime import explain, interpreter, io_specs

VARIANT = "compiled"
PACKAGE = "ai-edge-litert"
RUNTIME = RuntimePackages("tflite", f"{PACKAGE}>=2.1.6")
MODULE, OPTIONS = "ai_edge_litert.compiled_model", "ai_edge_litert.options"  # without these, threads cannot be chosen
NO_ATOMICS = (
    "CompiledModel of {} ends the process on a CPU without the atomic instructions of ARMv8.1, such as those of a "
    "Raspberry Pi 3 and 4."
)
HARDWARE_CAPABILITIES, ATOMICS = 16, 1 << 8  # AT_HWCAP and HWCAP_ATOMICS of Linux
KINDS = ("float32", "float16", "int32", "int8", "uint8")
"""The numbers that its Python wrapper writes and reads."""


class CompiledRunner(BatchRunner):
    """A CompiledModel on the CPU with one input and one output."""

    def __init__(self, path: Path, threads: int, batch: int) -> None:
        if missing := missing_compiled():
            raise MissingRuntime(f"running {path.name} compiled: {missing}")
        self._path = path
        litert = require(MODULE, PACKAGE, f"running {path.name} compiled")
        # CompiledModel tells neither scales nor which sizes are free
        source, sink = check_io(path, *io_specs(path, interpreter(path, allocate=False)))
        for spec in (source, sink):
            if spec.dtype not in KINDS:
                raise MissingRuntime(f"{path.name} has {spec.dtype}, which no CompiledModel in Python takes or gives.")
        self._prepare(source, sink, batch)
        native = _Native(litert, path, threads)
        with silenced(), reading(ArtifactError, f"{path} does not take {self.batch} images a call", explain=explain):
            native.prepare(np.zeros(self._shape, self._table.dtype), sink)
        self._write, self._read = native.write, native.read
        self.invoke = native.run
        self._kind = np.dtype(sink.dtype).type

    def _call(self, pixels: NDArray[Any]) -> NDArray[Any]:
        try:
            self._write(pixels)
            self.invoke()
            output: NDArray[Any] = self._read(self._numbers, self._kind)
        except Exception as error:
            raise ArtifactError(f"{self._path} does not run ({explain(error)}).") from error
        return output


class _Native:
    """A model with its buffers. LiteRT prints lines when they are made and when they go, which are hidden."""

    def __init__(self, litert: Any, path: Path, threads: int) -> None:
        options = litert.Options(
            hardware_accelerators=litert.HardwareAccelerator.CPU, cpu_options=litert.CpuOptions(num_threads=threads)
        )
        refused = f"{path} is not a TFLite file that CompiledModel of {_release()} loads"
        with silenced(), reading(RefusedError, refused, explain=explain):
            self._content = read_bytes(path, MOST_BYTES)  # from a file that is cut short `from_file` crashes
            self._model = litert.CompiledModel.from_buffer(self._content, options=options)

    def prepare(self, pixels: NDArray[Any], sink: TensorSpec) -> None:
        """Make the buffers for an input of this shape and the output `sink`. Raises ValueError where they differ."""
        model = self._model
        key, ends = next(iter(model.get_signature_list().items()))
        if model.get_input_tensor_details(key)[ends["inputs"][0]]["shape"][:1] != [len(pixels)]:
            model.resize_input_tensor(0, pixels.shape)
        name = sink.name if sink.name in ends["outputs"] else ends["outputs"][0]
        found = model.get_output_tensor_details(key)[name]
        if found["dtype"] != sink.dtype or np.prod(found["shape"]) != 10 * len(pixels):
            raise ValueError(f"it gives {found['dtype']} {found['shape']}")
        self._inputs, self._outputs = model.create_input_buffers(0), model.create_output_buffers(0)
        self.write, self.read = self._inputs[0].write, self._outputs[ends["outputs"].index(name)].read
        self.write(pixels)  # the first one makes things that stay until the process ends
        _hide_the_end()

    def run(self) -> None:
        """Make the bare inference call."""
        self._model.run_by_index(0, self._inputs, self._outputs)

    def __del__(self) -> None:
        with silenced():
            for name in ("write", "read", "_inputs", "_outputs", "_model", "_content"):  # what uses it goes before
                self.__dict__.pop(name, None)


@cache
def _hide_the_end() -> None:
    """Hide the lines that LiteRT prints when the process ends, after Python."""
    import atexit
    import os

    if not is_verbose():
        atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))


def missing_compiled() -> str | None:
    """Return what has to be installed before CompiledModel runs here; None where it runs."""
    if not installed(MODULE):
        return f"LiteRT is not installed. {RUNTIME.how_to_install()}"
    if all(importlib.util.find_spec(module) for module in (MODULE, OPTIONS)):
        return NO_ATOMICS.format(_release()) if _lacks_atomics() else None
    return f"{_release()} has no CompiledModel whose threads can be chosen. {RUNTIME.how_to_install()}"


@cache
def _lacks_atomics() -> bool:
    """Return whether this is a 64-bit Arm CPU without atomic instructions, on which CompiledModel ends the process."""
    import ctypes
    import platform

    if (platform.system(), platform.machine()) != ("Linux", "aarch64"):
        return False
    return not ctypes.CDLL(None).getauxval(HARDWARE_CAPABILITIES) & ATOMICS


def _release() -> str:
    """Return the package of LiteRT with its version."""
    return " ".join((PACKAGE, *versions([PACKAGE]).values()))
