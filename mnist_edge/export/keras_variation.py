"""Measures, at export, how far Keras's outputs vary; the tolerances of `verify` are multiples of that.

A second process runs the model on one thread, in other batch sizes and with other optimizations, while the first one
converts it. Everything here is over training images.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge.core.children import for_child, python_command
from mnist_edge.core.errors import ConversionError
from mnist_edge.core.files import temporary_folder
from mnist_edge.core.reference import KerasVariation
from mnist_edge.export.inputs import ExportInputs
from mnist_edge.formats.keras.custom import register, registered
from mnist_edge.formats.keras.fake_quantization import int8_cost
from mnist_edge.formats.keras.model import load_model, predict, scaled

ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_ENABLE_ONEDNN_OPTS": "0"}
DRAWS = 8


@contextmanager
def measuring(path: Path, export: ExportInputs, work: Path) -> Iterator[Callable[[], KerasVariation]]:
    """Measure in the background while the block runs.

    Args:
        path: `model.keras`.
        export: the same, loaded; the representative dataset; and held-out training images, on which int8 is simulated:
            ranges that calibration has not seen cost too.
        work: a folder for what the process is given.

    Yields:
        A function that waits for the end and gives the result. It raises ConversionError where the run failed.
    """
    with temporary_folder(work) as folder:
        inputs = folder / "inputs.npz"
        images, ranges = export.calibration_images, np.array(export.quantization.ranges).reshape(-1, 2)
        outputs = predict(export.model, images)
        if not np.ptp(outputs, axis=1).any():
            raise ConversionError("the network gives every class the same probability, whatever the image: train it.")
        np.savez(inputs, images=images, others=export.held_out_images, outputs=outputs, ranges=ranges)
        command = python_command(__name__, "child", str(path.resolve()), str(inputs), *map(str, registered()))
        environment = {**os.environ, **for_child(), **ONE_THREAD, "TF_CPP_MIN_LOG_LEVEL": "3"}
        child = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )

        def finish() -> KerasVariation:
            out, err = child.communicate()
            if child.returncode:
                reason = err.strip().splitlines()[-1:] or [f"exit code {child.returncode}"]
                raise ConversionError(f"Keras's own spread could not be measured: {reason[0]}")
            variation = json.loads(out.splitlines()[-1])
            return KerasVariation(**{**variation, "runs": tuple(variation["runs"])})

        try:
            yield finish
        finally:
            child.kill()
            child.communicate()


def measure(model: Any, inputs: Path) -> dict[str, Any]:
    """Return how far a model's outputs vary between the ways to run it, here and in another process."""
    import tensorflow as tf

    with np.load(inputs) as content:
        images, outputs, others = content["images"], content["outputs"], scaled(content["others"])
        ranges = [(float(low), float(high)) for low, high in content["ranges"]]
    pixels = scaled(images)

    def eager(part: Any) -> Any:
        return model(part, training=False)

    def batches(call: Callable[[Any], Any], size: int) -> Any:
        return np.concatenate([np.asarray(call(pixels[start : start + size])) for start in range(0, len(pixels), size)])

    graph, compiled = tf.function(eager), tf.function(eager, jit_compile=True)
    runs = {
        "all threads, eager": outputs,
        "one thread without oneDNN, eager": batches(eager, len(pixels)),
        "batch 1": batches(eager, 1),
        "batch 32": batches(eager, 32),
        "graph": batches(graph, len(pixels)),
        "XLA": batches(compiled, len(pixels)),
        "XLA, batch 1": batches(compiled, 1),
    }
    together = np.stack(list(runs.values()))
    least = np.finfo(np.float32).tiny
    logs = np.log(np.maximum(outputs, least))  # the logits, but for one constant an image
    return {
        "run_to_run": float(np.ptp(together, axis=0).max()),
        "float16_rounding": _float16_rounding(model, pixels, batches(eager, len(pixels))),
        "logit_step": float(np.ptp(logs, axis=1).max() / 255),
        **int8_cost(model, pixels, others, ranges),
        "images": len(images),
        "runs": list(runs),
    }


def _float16_rounding(model: Any, pixels: Any, exact: Any) -> float:
    """Return the largest difference that half a float16 unit on every weight makes, over some random draws."""
    rng = np.random.default_rng(0)
    weights = model.get_weights()
    largest = 0.0
    for _ in range(DRAWS):
        units = [np.spacing(np.abs(array).astype(np.float16)).astype(np.float32) for array in weights]
        model.set_weights(
            [array + unit / 2 * rng.choice([-1, 1], unit.shape) for array, unit in zip(weights, units, strict=True)]
        )
        largest = max(largest, float(np.abs(np.asarray(model(pixels, training=False)) - exact).max()))
    model.set_weights(weights)
    return largest


def child() -> None:
    """Print what `measure` finds of the model and the inputs of the command line, whose other files are custom code."""
    for custom in sys.argv[4:]:
        register(Path(custom))
    print(json.dumps(measure(load_model(Path(sys.argv[2])), Path(sys.argv[3]))))
