"""Why an int8 `.onnx` gains little when the caches are cold: what ONNX Runtime takes for a file that computes nothing.

    python benchmarks/cold.py [FOLDER …]      (after make export; writes results/cold.json and results/cold.md)

The bare call of a session, one thread, interleaved, warm and after a sweep of the caches: for a file of one Identity,
and for the float32 and int8 files of each folder. `bound` calls it on bound memory.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from figures import write
from onnx import TensorProto, helper, load, save

from mnist_edge.bench.caches import sweeper
from mnist_edge.bench.timing import interleave
from mnist_edge.formats.onnx.runtime import session

Call = Callable[[], object]
WARM, COLD, ROUNDS = 2000, 100, 5


def identity(path: Path) -> Path:
    """Write a file that gives its input."""
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, [1, 1, 28, 28]) for name in ("image", "same")]
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["same"])], "identity", ends[:1], ends[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def calls(path: Path) -> dict[str, Call]:
    """Return the usual call of a file, and the one on bound memory."""
    opened = session(path)
    (source,), (sink,) = opened.get_inputs(), opened.get_outputs()
    pixels = np.zeros(source.shape, np.uint8 if "uint8" in source.type else np.float32)
    binding = opened.io_binding()
    binding.bind_ortvalue_input(source.name, onnxruntime.OrtValue.ortvalue_from_numpy(pixels))
    binding.bind_output(sink.name)
    return {
        "run": lambda: opened.run([sink.name], {source.name: pixels}),
        "bound": lambda: opened.run_with_iobinding(binding),
    }


def operators(path: Path) -> int:
    """Return how many operators ONNX Runtime runs for a file."""
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        session(path, optimized_model_filepath=str(optimized))
        return len(load(optimized).graph.node)


def measured(timed: dict[str, dict[str, Call]]) -> dict[str, dict[str, list[list[int]]]]:
    """Return the samples in ns, round by round, of each file by call and by state of the caches: `run, cold`."""
    named = {f"{name} {at}": call for name, both in timed.items() for at, call in both.items()}
    warm = [interleave(named, WARM, warmup=100, seed=seed) for seed in range(ROUNDS)]
    cold = [interleave(named, COLD, warmup=0, before=sweeper(), seed=seed) for seed in range(ROUNDS)]
    return {
        name: {
            f"{at}, {state}": [stats[f"{name} {at}"].samples_ns.tolist() for stats in rounds]
            for at in both
            for state, rounds in (("warm", warm), ("cold", cold))
        }
        for name, both in timed.items()
    }


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=Path, nargs="*", default=[Path("exports/mlp"), Path("exports/cnn")])
    folders = parser.parse_args().folders
    with tempfile.TemporaryDirectory() as work:
        paths = [identity(Path(work) / "identity.onnx")]
        paths += [folder / f"{folder.name}-{kind}.onnx" for folder in folders for kind in ("float32", "int8")]
        counts = {path.name: operators(path) for path in paths}
        samples = measured({path.name: calls(path) for path in paths})
    shown = ("run, warm", "run, cold", "bound, cold")
    lines = ["| file | operators | warm, µs | cold, µs | cold on bound memory, µs |", "|---|---|---|---|---|"]
    for name, kinds in samples.items():
        p50 = " | ".join(f"{np.median(np.concatenate(kinds[kind])) / 1000:.1f}" for kind in shown)
        lines.append(f"| `{name}` | {counts[name]} | {p50} |")
    write("cold", {"operators": counts, "samples_ns": samples}, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
