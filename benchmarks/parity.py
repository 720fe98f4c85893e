"""Time `verify` beside bare loops over the same runtimes: all 10 000 test images, one image a call, in one process.

    python benchmarks/parity.py [FOLDER] [--rounds 5]      (after make export; on a machine that does nothing else)

The loops do what anybody writes: Keras in batches of 1 000, and each file's runtime image by image on inputs that were
prepared before. `verify` also compares everything with everything, computes each file in other ways, looks inside it and
checks every digest. Rounds take turns. Writes results/parity.json and results/parity.md.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge import data
from mnist_edge.artifact import Artifact, Manifest
from mnist_edge.formats import runtime_versions
from mnist_edge.formats.keras import load_model, predict
from mnist_edge.host import Host
from mnist_edge.parity import verify
from mnist_edge.quiet import quiet

RESULTS = Path(__file__).parent / "results"


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

    with quiet():
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
    """Give the inputs of a file, one image each, in its dtype and shape."""
    image = artifact.contract.input
    pixels = images if image.dtype == "uint8" else images.astype(np.float32) / np.float32(255)
    return pixels.reshape(-1, *(size or 1 for size in image.shape))


def main() -> None:
    """Run the rounds and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("exports/cnn"))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    dataset, manifest = data.load(), Manifest.read(options.folder)
    images = dataset.test.images
    loops = [LOOPS[item.path.suffix](item, prepared(item, images)) for item in manifest.artifacts]
    model = load_model(options.folder / "model.keras")

    def bare() -> None:
        predict(model, images)
        for loop in loops:
            loop()

    def whole() -> None:
        assert verify(options.folder, dataset).good(strict=True)

    seconds: dict[str, list[float]] = {"bare": [], "verify": []}
    for number in range(options.rounds + 1):
        for name, call in (("bare", bare), ("verify", whole)):
            start = time.perf_counter()
            call()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
        print({name: round(values[-1], 2) for name, values in seconds.items() if values}, flush=True)
    ratios = sorted(one / other for one, other in zip(seconds["verify"], seconds["bare"], strict=True))
    count = len(manifest.artifacts)
    rows = [
        f"| bare loops: Keras and {count} files, 10 000 images | {statistics.median(seconds['bare']):.2f} | 1 |",
        f"| `mnist-edge verify` in the same process | {statistics.median(seconds['verify']):.2f} | "
        f"{statistics.median(ratios):.2f}× ({ratios[0]:.2f}–{ratios[-1]:.2f}) |",
    ]
    heads = ["| what | seconds, median | time against bare, median of rounds (lowest–highest) |", "|---|---|---|"]
    about = {"host": asdict(Host.read()), "versions": runtime_versions(), "files": count, "seconds": seconds}
    (RESULTS / "parity.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "parity.md").write_text("\n".join([*heads, *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
