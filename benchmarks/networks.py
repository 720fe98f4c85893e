"""Every network of tests/support/networks.py: exported, verified, and beside the converters' own int8.

    python benchmarks/networks.py [NAME …]     (writes results/networks.json and .md; of the networks named alone)

Each network is trained for seconds and exported in four precisions and both formats. What is counted: files that could
not be written and why, healthy files that `verify` fails, and causes that it names though nothing was planted. Int8
accuracy is over training images that neither training, calibration nor export has used, ours and that of the
converters' defaults, with the interval of an exact McNemar test between the two.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from figures import RESULTS, write
from support.networks import NETWORKS, Network

from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import MnistEdgeError
from mnist_edge.core.metrics import compare, mcnemar_interval
from mnist_edge.core.optional import silenced
from mnist_edge.data.dataset import Dataset, Digits, load_mnist
from mnist_edge.export import export_folder
from mnist_edge.export.inputs import ExportInputs, load_inputs
from mnist_edge.export.plan import plan_export
from mnist_edge.formats import FORMATS
from mnist_edge.formats.keras.model import predict, scaled
from mnist_edge.training import store
from mnist_edge.training.own_model import adopt
from mnist_edge.verify.verify import verify

TRAINED_ON = 6000  # what `Network.trained` takes of the training images
PRECISIONS = ("float32", "float16", "dynamic", "int8")


def stock_int8(inputs: ExportInputs, folder: Path) -> dict[str, Any]:
    """Return the outputs `[N, 10]` of the converters' default int8 on the held-out images, by format."""
    images = scaled(inputs.dataset.train.images[fresh(inputs)])
    outputs = {}
    for name, make in (("tflite", _stock_tflite), ("onnx", _stock_onnx)):
        try:
            with silenced():
                outputs[name] = make(inputs, folder, images)
        except Exception as error:  # noqa: BLE001 - whatever a converter raises, it wrote no file
            outputs[name] = f"{type(error).__name__}: {error}"
    return outputs


def fresh(inputs: ExportInputs) -> Any:
    """Return the indices of the training images that neither training, calibration nor export has used."""
    used = np.concatenate([np.arange(TRAINED_ON), inputs.calibration, inputs.held_out])
    return np.setdiff1d(np.arange(len(inputs.dataset.train)), used)


def _stock_tflite(inputs: ExportInputs, folder: Path, images: Any) -> Any:
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    converter = tf.lite.TFLiteConverter.from_keras_model(inputs.model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in scaled(inputs.calibration_images))
    path = folder / "stock.tflite"
    path.write_bytes(converter.convert())
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    rows = []
    for image in images:
        interpreter.set_tensor(source, image[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(sink).copy())
    return np.concatenate(rows)


def _stock_onnx(inputs: ExportInputs, folder: Path, images: Any) -> Any:
    import onnxruntime
    import tensorflow as tf
    import tf2onnx
    from onnxruntime import quantization

    signature = [tf.TensorSpec((None, 28, 28, 1), tf.float32, name="image")]
    function = tf.function(lambda image: inputs.model(image, training=False), input_signature=signature)
    source, target = folder / "stock-float32.onnx", folder / "stock.onnx"
    tf2onnx.convert.from_function(function, input_signature=signature, opset=17, output_path=str(source))
    rest = iter(scaled(inputs.calibration_images))

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Any:
            image = next(rest, None)
            return None if image is None else {"image": image[None]}

    quantization.quantize_static(source, target, Reader())
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images})[0]


def measure(name: str, network: Network, dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Return what became of one network."""
    started = time.perf_counter()
    model = network.trained(dataset.train)
    model.save(folder / f"{name}.keras")
    trained = adopt(folder / f"{name}.keras", dataset)
    target = folder / name
    store.save(trained, target)
    inputs = load_inputs(target, dataset, trained)
    row: dict[str, Any] = {"network": name, "accuracy": trained.record["test"]["accuracy"], "files": {}, "failed": {}}
    row["notes"] = trained.record["notes"]
    exported = export_folder(inputs, plan_export([Precision(item) for item in PRECISIONS]))
    row["failed"] = dict(exported.failed)
    for result in verify(target, dataset).results:
        diagnosis = result.diagnosis
        row["files"][result.artifact.path.name] = {
            "status": str(result.status),
            "reasons": list(result.reasons),
            "causes": [str(cause) for cause in diagnosis.causes] if diagnosis else [],
            "needed": {
                one.tolerance.name: one.measured / max(one.tolerance.allowed, 1e-30) for one in result.tolerances
            },
            "not_compared": result.internal_check.not_compared if result.internal_check else None,
        }
    row["int8"] = against_stock(inputs, target, folder)
    row["seconds"] = time.perf_counter() - started
    return row


def against_stock(inputs: ExportInputs, target: Path, folder: Path) -> dict[str, Any]:
    """Return the accuracy in points that our int8 and the converters' lose on fresh training images, and the flips."""
    unused = fresh(inputs)
    images, labels = inputs.dataset.train.images[unused], inputs.dataset.train.labels[unused]
    keras = predict(inputs.model, images)
    rows = {}
    for name, theirs in stock_int8(inputs, folder).items():
        path = target / f"{target.name}-int8{FORMATS[name].suffix}"
        ours = None
        if path.is_file():
            with FORMATS[name].open(path) as runner:
                ours = runner.run(images)
        row: dict[str, Any] = {"ours": None, "images": len(unused)}
        if ours is not None:
            compared = compare(keras, ours, labels)
            row |= {"ours": compared.drop, "our_flips": len(compared.flips)}
        if isinstance(theirs, str):
            row["stock"] = theirs
        else:
            compared = compare(keras, theirs, labels)
            row |= {"stock": compared.drop, "stock_flips": len(compared.flips)}
            if ours is not None:
                between = compare(theirs, ours, labels)
                interval = mcnemar_interval(between)
                row |= {"worse_by": between.drop, "low": interval and interval.low, "high": interval and interval.high}
        rows[name] = row
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    files = [item for row in rows for item in row["files"].values()]
    failed = [item for item in files if item["status"] == "FAIL"]
    named = sum(len(item["causes"]) for item in files)
    lines = [
        f"{len(rows)} networks, {len(files)} files; {len(failed)} healthy files failed, {named} causes were named that "
        "nobody planted.",
        "",
        "| network | accuracy | files passed | not written | int8 .tflite loses | stock | int8 .onnx loses | stock |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        passed = sum(item["status"] == "PASS" for item in row["files"].values())
        cells = [row["network"], f"{row['accuracy']:.2%}", f"{passed} of {len(row['files'])}", str(len(row["failed"]))]
        for name in ("tflite", "onnx"):
            item = row["int8"].get(name, {})
            cells += [_points(item.get("ours")), _points(item.get("stock"))]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Lost: accuracy points against Keras on fresh training images; –: no file.", "", *_beside_stock(rows)]
    return "\n".join(lines) + "\n"


def _beside_stock(rows: list[dict[str, Any]]) -> list[str]:
    """Return a line for each format on our int8 beside the converter's, over all networks that have both."""
    lines = []
    for name in ("tflite", "onnx"):
        both = [item for row in rows if {"worse_by", "our_flips"} <= (item := row["int8"].get(name, {})).keys()]
        if len(both) < 2:
            continue
        differences = np.array([item["worse_by"] for item in both])
        error = 1.96 * differences.std(ddof=1) / len(both) ** 0.5
        more = sum(item["low"] is not None and item["low"] > 0 for item in both)
        less = sum(item["high"] is not None and item["high"] < 0 for item in both)
        flips = [sum(item[whose] for item in both) for whose in ("our_flips", "stock_flips")]
        lines.append(
            f"- {FORMATS[name].suffix}: {len(both)} networks; ours loses {differences.mean():+.3f} ± {error:.3f} "
            f"points more than the converter's default. Its interval is above 0 in {more} of them, below 0 in {less}. "
            f"Ours changes the class of {flips[0]:,} images, the default of {flips[1]:,}."
        )
    return lines


def _points(value: Any) -> str:
    return f"{value:+.2f}" if isinstance(value, float) else "–"


def without_test_images(dataset: Dataset) -> Dataset:
    """Return a dataset whose test images are the last 10 000 training images, on which no network here is trained.

    Limits of `verify` may be chosen by these results, and nothing is chosen on test images.
    """
    train = dataset.train
    last = Digits(train.images[-10_000:], train.labels[-10_000:])
    return Dataset(Digits(train.images[:-10_000], train.labels[:-10_000]), last, "the training images")


def main() -> None:
    """Run it for the networks named, whose rows are replaced in the results, or for all."""
    dataset = without_test_images(load_mnist())
    stored = json.loads((RESULTS / "networks.json").read_text(encoding="utf-8"))["networks"] if sys.argv[1:] else []
    rows = {row["network"]: row for row in stored}
    for name in sys.argv[1:] or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                rows[name] = measure(name, NETWORKS[name], dataset, Path(folder))
            except MnistEdgeError as error:
                rows[name] = {"network": name, "accuracy": 0.0, "files": {}, "failed": {"all": str(error)}, "int8": {}}
        print(json.dumps(rows[name]), flush=True)
    ordered = [rows[name] for name in NETWORKS if name in rows]
    write("networks", {"networks": ordered}, table(ordered))


if __name__ == "__main__":
    main()
