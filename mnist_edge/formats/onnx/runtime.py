"""Runs an `.onnx` file in ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.contract import TensorSpec
from mnist_edge.core.errors import ArtifactError, RefusedError
from mnist_edge.core.optional import require, silenced
from mnist_edge.core.reading import check_file_size, reading
from mnist_edge.core.text import one_line
from mnist_edge.formats.base import MOST_BYTES
from mnist_edge.formats.onnx.releases import refusal
from mnist_edge.formats.runner import BatchRunner, check_io

LINE = "\n"  # after its first line, ONNX Runtime lists where in its own code it was


class Runner(BatchRunner):
    """A session of ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int, batch: int, **settings: Any) -> None:
        self._path = path
        self._session = session(path, threads, **settings)
        with reading(ArtifactError, f"{path} is damaged"):  # the name of an end is not UTF-8, say
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
            source, sink = check_io(path, [*map(_spec, inputs)], [*map(_spec, outputs)])
            self._input, self._outputs = source.name, [sink.name]
            self._prepare(source, sink, batch)
            self._binding = self._session.io_binding()
            self._binding.bind_cpu_input(self._input, np.zeros(self._shape, self._table.dtype))
            self._binding.bind_output(sink.name)
            self._run = self._session.run

    def _call(self, pixels: NDArray[Any]) -> NDArray[Any]:
        try:
            output: NDArray[Any] = self._run(self._outputs, {self._input: pixels})[0]
        except Exception as error:
            raise ArtifactError(f"{self._path} does not run: {one_line(error)}") from error
        return output

    def invoke(self) -> None:
        """Run once on bound memory."""
        self._session.run_with_iobinding(self._binding)

    def end_profiling(self) -> str:
        """Return the path of the profile, of a session that was opened with `enable_profiling`."""
        return str(self._session.end_profiling())


def _spec(value: Any) -> TensorSpec:
    """Return an input or output of a session; ONNX keeps scales inside the graph."""
    kind = value.type[7:-1] if value.type.startswith("tensor(") else value.type
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return TensorSpec(value.name, {"float": "float32", "double": "float64"}.get(kind, kind), shape, "")


def unoptimized() -> dict[str, Any]:
    """Return the setting under which ONNX Runtime computes the graph as it stands in the file."""
    ort = require("onnxruntime", "onnxruntime", "running ONNX")
    return {"graph_optimization_level": ort.GraphOptimizationLevel.ORT_DISABLE_ALL}


def session(path: Path, threads: int = 1, **settings: Any) -> Any:
    """Open an InferenceSession on the CPU; `settings` are set on its options. Raises ArtifactError."""
    ort = require("onnxruntime", "onnxruntime", f"running {path.name}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for name, value in settings.items():
        setattr(options, name, value)
    check_file_size(ArtifactError, path, MOST_BYTES)
    refused = f"{path} is not an ONNX file that ONNX Runtime {ort.__version__} loads"
    with reading(RefusedError, refused, explain=lambda error: refusal(str(error))), silenced():
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
