"""Time `verify` beside bare loops over the same runtimes: all 10 000 test images, one image a call, in one process.

    python benchmarks/parity.py [FOLDER …] [--rounds 5]      (after make export; on a machine that does nothing else)

The loops do what anybody writes: Keras in batches of 1 000, and each file's runtime image by image on inputs that were
prepared before. `verify` also compares everything with everything, computes each file in other ways, looks inside it
and checks every digest. Rounds take turns. Writes results/parity.json and results/parity.md.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from figures import ratio, write

from mnist_edge.core.manifest import Artifact, Manifest
from mnist_edge.core.optional import silenced
from mnist_edge.data import dataset as data
from mnist_edge.formats import runtime_versions
from mnist_edge.formats.keras.model import load_model, predict
from mnist_edge.verify.verify import verify


def onnx_loop(artifact: Artifact, inputs: Any) -> Callable[[], None]:
    """One session, one thread, `run` for every image."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(artifact.path), options, providers=["CPUExecutionProvider"])

    def loop() -> None:
        for image in inputs:
            session.run(["probabilities"], {"image": image})

    return loop


def tflite_loop(artifact: Artifact, inputs: Any) -> Callable[[], None]:
    """One interpreter, one thread, set, invoke and get for every image."""
    from ai_edge_litert.interpreter import Interpreter

    with silenced():
        interpreter = Interpreter(str(artifact.path), num_threads=1)
        interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def loop() -> None:
        for image in inputs:
            interpreter.set_tensor(source, image)
            interpreter.invoke()
            interpreter.get_tensor(sink)

    return loop


LOOPS = {".onnx": onnx_loop, ".tflite": tflite_loop}


def prepared(artifact: Artifact, images: Any) -> Any:
    """Return the inputs of a file, one image each, in its dtype and shape."""
    image = artifact.contract.input
    pixels = images if image.dtype == "uint8" else images.astype(np.float32) / np.float32(255)
    return pixels.reshape(-1, *(size or 1 for size in image.shape))


def measure(folder: Path, dataset: data.Dataset, rounds: int) -> dict[str, Any]:
    """Time both in turns; seconds of each round."""
    images, artifacts = dataset.test.images, Manifest.read(folder).artifacts
    loops = [LOOPS[item.path.suffix](item, prepared(item, images)) for item in artifacts]
    model = load_model(folder / "model.keras")

    def bare() -> None:
        predict(model, images)
        for loop in loops:
            loop()

    def whole() -> None:
        assert verify(folder, dataset).passes(strict=True)

    seconds: dict[str, list[float]] = {"bare": [], "verify": []}
    for number in range(rounds + 1):
        for name, call in (("bare", bare), ("verify", whole)):
            start = time.perf_counter()
            call()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    return {"files": [item.path.name for item in artifacts], **seconds}


def markdown(results: list[dict[str, Any]]) -> str:
    """Return the table, one line a folder."""
    lines = ["| files | bare loops, s | `verify`, s | ratio, median of rounds (lowest–highest) |", "|---|---|---|---|"]
    for found in results:
        bare, whole = (statistics.median(found[name]) for name in ("bare", "verify"))
        spread = ratio(found["verify"], found["bare"])
        lines.append(f"| Keras and {len(found['files'])} files of `cnn` | {bare:.2f} | {whole:.2f} | {spread} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the rounds and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", default=[Path("exports/cnn")])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    dataset = data.load_mnist()
    results = [measure(folder, dataset, options.rounds) for folder in options.folders]
    write("parity", {"versions": runtime_versions(), "results": results}, markdown(results))


if __name__ == "__main__":
    main()
