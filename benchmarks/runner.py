"""Time `Runner.run` on one image beside the bare calls of its runtime that do the same, interleaved.

    python benchmarks/runner.py [exports/edge-micro exports/cnn]      (after make export)

The bare calls are given the input tensor's own numbers, and return the output tensor: `set_tensor`, `invoke` and
`get_tensor` of TFLite's Interpreter, `write`, `run_by_index` and `read` of LiteRT's CompiledModel, `session.run` of
ONNX Runtime. `run` makes these numbers of pixels, and probabilities of the output, too. Both must give the same bits.
Writes results/runner.json and results/runner.md.
"""

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from figures import write

from mnist_edge.bench.timing import interleave
from mnist_edge.core.optional import silenced
from mnist_edge.core.reference import Reference
from mnist_edge.formats import FORMATS, format_of, runtime_versions
from mnist_edge.formats.runner import pixel_table

PER_CENT = (50, 90)
Call = Callable[[], Any]


def bare_interpreter(path: Path, image: Any) -> Call:
    """Return the bare call of TFLite's Interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    with silenced():
        opened = Interpreter(str(path), num_threads=1)
        opened.allocate_tensors()
    source, sink = opened.get_input_details()[0], opened.get_output_details()[0]
    pixels, into, out = numbers(image, source["dtype"], source["shape"]), source["index"], sink["index"]

    def call() -> Any:
        opened.set_tensor(into, pixels)
        opened.invoke()
        return opened.get_tensor(out)

    return call


def bare_compiled(path: Path, image: Any) -> Call:
    """Return the bare call of LiteRT's CompiledModel."""
    from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, Options

    with silenced():
        model = CompiledModel.from_file(str(path), options=Options(cpu_options=CpuOptions(num_threads=1)))
        inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
        details = inputs[0].get_tensor_details()
        pixels = numbers(image, details["dtype"], details["shape"])
        inputs[0].write(pixels)
    kind = np.dtype(outputs[0].get_tensor_details()["dtype"]).type

    def call() -> Any:
        inputs[0].write(pixels)
        model.run_by_index(0, inputs, outputs)
        return outputs[0].read(10, kind)

    return call


def bare_session(path: Path, image: Any) -> Call:
    """Return the bare call of ONNX Runtime."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    source, names = session.get_inputs()[0], [session.get_outputs()[0].name]
    name, kind = source.name, {"tensor(float)": "float32", "tensor(uint8)": "uint8"}[source.type]
    pixels = numbers(image, kind, source.shape)

    def call() -> Any:
        return session.run(names, {name: pixels})[0]

    return call


def numbers(image: Any, kind: Any, shape: Any) -> Any:
    """Return what the input tensor of a default file takes for an image."""
    return pixel_table(np.dtype(kind))[image].reshape(shape)


BARE: dict[tuple[str, str | None], tuple[str, Callable[[Path, Any], Call]]] = {
    ("tflite", None): ("Interpreter", bare_interpreter),
    ("tflite", "compiled"): ("CompiledModel", bare_compiled),
    ("onnx", None): ("ONNX Runtime", bare_session),
}


def measure(path: Path, variant: str | None, image: Any, runs: int) -> dict[str, Any]:
    """Return the percentiles of both calls of a file, in µs."""
    file_format = format_of(path)
    title, open_bare = BARE[file_format.name, variant]
    bare = open_bare(path, image)
    with file_format.open(path, variant=variant) as runner:
        ours = partial(runner.run, image)
        assert np.array_equal(np.ravel(ours()), np.ravel(bare())), path
        stats = interleave({"bare": bare, "ours": ours}, runs, warmup=200)
    with silenced():
        del bare  # CompiledModel prints lines when it goes
    times = {name: {f"p{q}": item.percentile(q) for q in PER_CENT} for name, item in stats.items()}
    return {"file": path.name, "runtime": title, **times}


def markdown(results: list[dict[str, Any]]) -> str:
    """Return the table, one line a file and runtime."""
    lines = ["| file | runtime | bare calls, µs | `run`, µs | ratio |", "|---|---|---|---|---|"]
    for item in results:
        bare, ours = item["bare"]["p50"], item["ours"]["p50"]
        lines.append(f"| `{item['file']}` | {item['runtime']} | {bare:.1f} | {ours:.1f} | {ours / bare:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the files and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", default=[Path("exports/edge-micro"), Path("exports/cnn")])
    parser.add_argument("--runs", type=int, default=5000)
    options = parser.parse_args()
    results = []
    load = os.getloadavg()[0]
    for folder in options.folders:
        image = Reference.read(folder / "reference.npz").images[:1]
        for path in sorted([*folder.glob("*.tflite"), *folder.glob("*.onnx")]):
            for name, variant in BARE:
                if FORMATS[name] is format_of(path):
                    results.append(measure(path, variant, image, options.runs))
    content = {"runs": options.runs, "load": load, "versions": runtime_versions(), "results": results}
    write("runner", content, markdown(results))


if __name__ == "__main__":
    main()
