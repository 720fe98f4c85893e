"""Our files of a recipe beside the naive ones: latency of the whole call, and the time of exporting.

    python benchmarks/versus_converter_defaults.py latency [--model cnn]
    python benchmarks/versus_converter_defaults.py export [--model cnn]

They write results/latency.json, with raw samples, and results/latency.md; results/export_time.json and .md. Of another
recipe than `cnn` the names end in its own: results/latency_mlp.json.

"Naive" is what the converters' documentation tells a user to type: `TFLiteConverter.from_keras_model` with a
representative dataset and int8 ends; tf2onnx with a dynamic batch, then `quantize_static` with its defaults. All calls
go from uint8 pixels to float32 probabilities, batch 1, one thread, interleaved in one run. The naive user's own
arithmetic is part of the call: dividing by 255, and for TFLite quantizing and dequantizing.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from figures import ratio, write

from mnist_edge.bench.timing import interleave
from mnist_edge.core.optional import require_keras, silenced
from mnist_edge.data import dataset as data
from mnist_edge.formats import runtime_versions

ROOT = Path(__file__).parent.parent
RUNS, ROUNDS = 2000, 5

TFLITE_SCRIPT = """
import sys, numpy as np, tensorflow as tf, keras
model, kind, target, images = keras.models.load_model(sys.argv[1]), sys.argv[2], sys.argv[3], np.load(sys.argv[4])
converter = tf.lite.TFLiteConverter.from_keras_model(model)
if kind != "float32":
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
if kind == "float16":
    converter.target_spec.supported_types = [tf.float16]
if kind in ("int8", "int16x8"):
    converter.representative_dataset = lambda: ([image[None, ..., None]] for image in images)
if kind == "int8":
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
if kind == "int16x8":
    converter.target_spec.supported_ops = [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
open(target, "wb").write(converter.convert())
"""
SAVED_MODEL_SCRIPT = "import sys, keras; keras.models.load_model(sys.argv[1]).export(sys.argv[2], verbose=False)"
ONNX_SCRIPT = """
import sys, numpy as np
from onnxruntime import quantization
source, kind, target, images = *sys.argv[1:4], np.load(sys.argv[4])
class Reader(quantization.CalibrationDataReader):
    rest = iter(images)
    def get_next(self):
        image = next(self.rest, None)
        return None if image is None else {NAME: image[None, ..., None]}
import onnx
NAME = onnx.load(source).graph.input[0].name
if kind == "dynamic":
    quantization.quantize_dynamic(source, target)
elif kind == "int8":
    quantization.quantize_static(source, target, Reader())
else:
    from onnxruntime.transformers.float16 import convert_float_to_float16
    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), target)
"""


def python(script: str, *arguments: object) -> list[str]:
    """The command that runs a script."""
    return [sys.executable, "-c", script, *map(str, arguments)]


def peers(model: Path, folder: Path, images: Path) -> list[list[str]]:
    """The commands a user types, one after the other, for the files that `mnist-edge export --all` writes."""
    commands = [
        python(TFLITE_SCRIPT, model, kind, folder / f"{kind}.tflite", images)
        for kind in ("float32", "float16", "dynamic", "int8", "int16x8")
    ]
    float32 = folder / "float32.onnx"
    commands.append(python(SAVED_MODEL_SCRIPT, model, folder / "saved"))
    commands.append([sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(folder / "saved")])
    commands[-1] += ["--output", str(float32), "--opset", "17"]
    commands += [
        python(ONNX_SCRIPT, float32, kind, folder / f"{kind}.onnx", images) for kind in ("float16", "dynamic", "int8")
    ]
    return commands


def calibration(folder: Path) -> Path:
    """Write 500 training images as float32 in [0, 1]: as many as our export calibrates with."""
    images = data.load_mnist().train.images[:500].astype(np.float32) / 255
    np.save(folder / "calibration.npy", images)
    return folder / "calibration.npy"


def run(command: list[str]) -> float:
    """Run a command and give its seconds."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[:4]} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


def naive_tflite(path: Path) -> Callable[[Any], Any]:
    """The call of a user of the naive int8 `.tflite`: quantize, set, invoke, get, dequantize."""
    from ai_edge_litert.interpreter import Interpreter

    with silenced():
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = source["quantization"]
    out_scale, out_zero_point = sink["quantization"]

    def call(image: Any) -> Any:
        pixels = image.astype(np.float32) / 255
        quantized = np.clip(np.round(pixels / scale) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], quantized.reshape(1, 28, 28, 1))
        interpreter.invoke()
        return (interpreter.get_tensor(sink["index"]).astype(np.float32) - out_zero_point) * out_scale

    return call


def ours_tflite(path: Path) -> Callable[[Any], Any]:
    """The call of a user of our int8 `.tflite`: set, invoke, get."""
    from ai_edge_litert.interpreter import Interpreter

    with silenced():
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def call(image: Any) -> Any:
        interpreter.set_tensor(source, image.reshape(1, 28, 28, 1))
        interpreter.invoke()
        return interpreter.get_tensor(sink)

    return call


def onnx_call(path: Path, naive: bool) -> Callable[[Any], Any]:
    """The call of a user of an ONNX file: `run` from pixels to probabilities."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    if naive:
        return lambda image: session.run(None, {name: (image.astype(np.float32) / 255).reshape(1, 28, 28, 1)})[0]
    return lambda image: session.run(None, {name: image.reshape(1, 1, 28, 28)})[0]


def latency(recipe: str) -> None:
    """Measure our int8 files beside the naive ones."""
    export_ours(recipe)
    ours = exports_of(recipe) / recipe
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = calibration(folder)
        model = ours / "model.keras"
        for command in peers(model, folder, images):
            if "int8" in command or "tf2onnx.convert" in command or SAVED_MODEL_SCRIPT in command:
                run(command)
        functions = {
            "ONNX int8, naive": onnx_call(folder / "int8.onnx", naive=True),
            "ONNX int8, ours": onnx_call(ours / f"{recipe}-int8.onnx", naive=False),
            "TFLite int8, naive": naive_tflite(folder / "int8.tflite"),
            "TFLite int8, ours": ours_tflite(ours / f"{recipe}-int8.tflite"),
        }
        test = data.load_mnist().test
        right = {
            name: float(np.mean([call(image).argmax() == label for image, label in zip(*_first(test), strict=True)]))
            for name, call in functions.items()
        }
        pixels = cycle(list(test.images[:100]))
        calls = {name: (lambda call=call: call(next(pixels))) for name, call in functions.items()}
        rounds = [interleave(calls, RUNS, warmup=100) for _ in range(ROUNDS)]
    samples = {name: np.concatenate([stats[name].samples_ns for stats in rounds]) for name in calls}
    medians = {name: [stats[name].p50 for stats in rounds] for name in calls}
    lines = [
        "| call | p50 µs | right of 1 000 | time against naive, median of rounds (lowest–highest) |",
        "|---|---|---|---|",
    ]
    for name in calls:
        naive = name.replace("ours", "naive")
        against = ratio(medians[name], medians[naive]) if name != naive else "1"
        lines.append(f"| {name} | {np.median(samples[name]) / 1000:.1f} | {right[name] * 1000:.0f} | {against} |")
    samples_ns = {name: values.tolist() for name, values in samples.items()}
    content = {"versions": runtime_versions(), "right": right, "samples_ns": samples_ns}
    write(_named("latency", recipe), content, "\n".join(lines) + "\n")


def _first(test: data.Digits) -> tuple[Any, Any]:
    return test.images[:1000], test.labels[:1000]


def exports_of(recipe: str) -> Path:
    """Return the folder of exports; what git keeps is copied first, so that nothing is added to it."""
    committed = ROOT / "exports" / recipe
    if not (committed / "README.md").is_file():
        return ROOT / "exports"
    folder = ROOT / "build" / "versus" / recipe
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("model.keras", "training.json"):
        if not (folder / name).is_file():
            shutil.copy(committed / name, folder)
    return folder.parent


def export_ours(recipe: str) -> float:
    """Run our export of every precision and give its seconds; the model is there already."""
    command = [sys.executable, "-m", "mnist_edge", "export", "--model", recipe, "--out", str(exports_of(recipe))]
    run(command)
    return run([*command, "--all"])


def _named(result: str, recipe: str) -> str:
    return result if recipe == "cnn" else f"{result}_{recipe.replace('-', '_')}"


def export(recipe: str) -> None:
    """Time `mnist-edge export --all` beside the peers' commands, three times in turns."""
    export_ours(recipe)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = calibration(folder)
        for _ in range(3):
            out = exports_of(recipe)
            ours = run([sys.executable, "-m", "mnist_edge", "export", "--all", "--model", recipe, "--out", str(out)])
            theirs = [run(command) for command in peers(out / recipe / "model.keras", folder, images)]
            rows.append({"ours_s": ours, "peers_s": theirs})
    lines = ["| | seconds, three runs |", "|---|---|"]
    lines.append("| `mnist-edge export --all`, 9 files | " + ", ".join(f"{row['ours_s']:.1f}" for row in rows) + " |")
    peers_s = [sum(row["peers_s"]) for row in rows]
    lines.append("| the peers' 10 commands, 9 files | " + ", ".join(f"{seconds:.1f}" for seconds in peers_s) + " |")
    lines.append(f"| ratio | {ratio([row['ours_s'] for row in rows], peers_s)} |")
    write(_named("export_time", recipe), {"versions": runtime_versions(), "rows": rows}, "\n".join(lines) + "\n")


if __name__ == "__main__":
    require_keras("this benchmark")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["latency", "export"])
    parser.add_argument("--model", default="cnn", help="a name of mnist-edge models")
    options = parser.parse_args()
    {"latency": latency, "export": export}[options.what](options.model)
