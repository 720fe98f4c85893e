"""A model with ranges of its own: TFLite and ONNX int8 files are the same network, to the last bit of a logit."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from mnist_edge.core.contract import IOOptions, Precision
from mnist_edge.core.errors import ModelError
from mnist_edge.core.optional import require_keras
from mnist_edge.data.dataset import Dataset, Digits
from mnist_edge.export import ExportOptions, export, export_folder
from mnist_edge.export.fine_tuning import fine_tuned, fine_tuned_before
from mnist_edge.export.inputs import load_inputs
from mnist_edge.export.plan import plan_export
from mnist_edge.export.tuning import Budget
from mnist_edge.formats import FORMATS
from mnist_edge.formats.keras.ranges import step_and_zero
from mnist_edge.formats.request import Quantization, Request
from mnist_edge.training import store
from mnist_edge.training.own_model import adopt
from mnist_edge.training.qat import QatData, QatOptions, QatResult, fine_tune, plain_batches
from mnist_edge.verify.verify import verify

pytestmark = pytest.mark.extra("a quarter of a minute or more")

LOGITS = IOOptions(head="logits")


def every_kind() -> Any:
    """Return a small network with each kind of layer that has a range or keeps one."""
    keras = require_keras("a test")
    keras.utils.set_random_seed(2)
    make = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            make.Conv2D(8, 5, strides=2, padding="same", use_bias=False),
            make.BatchNormalization(),
            make.ReLU(),
            make.MaxPooling2D(2),
            make.ZeroPadding2D(1),
            make.Conv2D(12, 3, activation="relu6"),
            make.DepthwiseConv2D(3, activation="relu", use_bias=False),
            make.Conv2D(16, 1),
            make.GlobalAveragePooling2D(),
            make.Dense(16, activation="relu"),
            make.Dense(10, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def tuned(mnist: Dataset) -> QatResult:
    """A network that has been fine-tuned for some seconds."""
    train = mnist.train
    batches = plain_batches(Digits(train.images[:6000], train.labels[:6000]), size=64)
    data = QatData(batches, train.images[6000:6200], Digits(train.images[7000:8000], train.labels[7000:8000]))
    return fine_tune(every_kind(), data, QatOptions(epochs=3, learning_rate=5e-3, distillation=0.0))


def written(result: QatResult, mnist: Dataset, folder: Path, io: IOOptions = LOGITS, **changes: Any) -> dict[str, Path]:
    """Write the int8 files of a result."""
    quantization = replace(Quantization(ranges=result.ranges), **changes)
    paths = {}
    for name in ("tflite", "onnx"):
        paths[name] = folder / f"m{FORMATS[name].suffix}"
        request = Request(Precision.INT8, mnist.train.images[:50], {}, io, quantization)
        FORMATS[name].export(result.model, paths[name], request)
    return paths


def logits(path: Path, images: Any) -> Any:
    """Return the logits of a file, not their Softmax."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        return np.concatenate([session.run(None, {"image": image[None, None]})[0] for image in images])
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    rows = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None, ..., None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.concatenate(rows)


def test_both_files_are_the_same_network(mnist: Dataset, tuned: QatResult, tmp_path: Path) -> None:
    paths, images = written(tuned, mnist, tmp_path), mnist.train.images[8000:9000]
    tflite, ort = logits(paths["tflite"], images), logits(paths["onnx"], images)
    step, _ = step_and_zero(tuned.ranges[-1])
    assert (tflite.argmax(axis=1) == ort.argmax(axis=1)).all()
    steps = np.abs(tflite - ort) / step
    assert (steps < 1e-3).mean() > 0.99  # XNNPACK's average and ORT's round alike but for rare ties
    assert steps.max() < 2.01
    assert len(np.unique(np.round(ort / step))) > 20


def test_the_scales_in_the_files_are_those_of_the_ranges(mnist: Dataset, tuned: QatResult, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    paths = written(tuned, mnist, tmp_path)
    wanted = [step_and_zero(bounds) for bounds in tuned.ranges]
    details = {item["name"]: item for item in Interpreter(str(paths["tflite"])).get_tensor_details()}
    names = (
        "conv_2d_0",
        "conv_2d_1",
        "depthwise_conv_2d_0",
        "conv_2d_2",
        "mean_0",
        "fully_connected_0",
        "fully_connected_1",
    )
    for name, (scale, zero_point) in zip(names, wanted, strict=True):
        assert details[name]["quantization"] == (scale, zero_point - 128), name
    graph = onnx.load(paths["onnx"]).graph
    constants = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    users = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] not in constants]
    assert [(constants[node.input[1]], constants[node.input[2]]) for node in users] == wanted


@pytest.mark.parametrize("float_layer", [1, 2, 5])  # without its first layer a TFLite file does not take raw pixels
def test_layers_can_stay_in_float(mnist: Dataset, tuned: QatResult, tmp_path: Path, float_layer: int) -> None:
    paths = written(tuned, mnist, tmp_path, float_layers=(float_layer,))
    images = mnist.train.images[8000:8200]
    whole = [logits(path, images).argmax(axis=1) for path in paths.values()]
    assert (whole[0] == whole[1]).mean() > 0.98


@pytest.fixture(scope="module")
def small(mnist: Dataset) -> Dataset:
    """A part of MNIST, so that epochs are short."""
    train = Digits(mnist.train.images[:6000], mnist.train.labels[:6000])
    return Dataset(train, mnist.test, "a part of MNIST")


def test_an_export_with_qat_stores_the_model_and_a_second_one_adds(
    mnist: Dataset, small: Dataset, tuned: QatResult, tmp_path: Path
) -> None:
    folder = tmp_path / "own"
    export(tuned.model, folder, ["float32", "int8"], small, ExportOptions(formats=("tflite",), qat=True))
    record = json.loads((folder / "training.json").read_text())
    assert record["qat"]["kept"] in ("fine-tuned", "rounded")
    assert record["quantization"]["source_sha256"] == store.weights_digest(tuned.model)
    assert store.weights_digest(store.load(folder).model) == record["weights_sha256"]
    digest = (folder / "own-int8.tflite").read_bytes()
    export(tuned.model, folder, ["int8"], small, ExportOptions(formats=("onnx",), qat=True))
    assert (folder / "own-int8.tflite").read_bytes() == digest
    assert json.loads((folder / "training.json").read_text()) == record
    report = verify(folder, small)
    assert report.passed, [(item.artifact.path.name, item.reasons) for item in report.results]
    adopted = adopt(tuned.model, small)
    assert fine_tuned_before(folder, adopted).record["qat"] == record["qat"]
    assert not store.records(folder, adopted)


def test_a_budget_and_own_ranges_go_together(small: Dataset, tuned: QatResult, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    inputs = load_inputs(folder, small, adopt(tuned.model, small))
    inputs = fine_tuned(inputs, QatOptions(epochs=0))
    done = export_folder(inputs, plan_export([Precision.INT8], ["onnx"]), Budget(50.0))
    (artifact,) = done.manifest.artifacts
    assert artifact.quantization is not None
    assert artifact.quantization["quantization"]["ranges"] == inputs.quantization.ranges


def test_a_record_with_other_ranges_is_refused(small: Dataset, tuned: QatResult, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    inputs = fine_tuned(load_inputs(folder, small, adopt(tuned.model, small)), QatOptions(epochs=0))
    folder.mkdir()
    store.write(store.Trained(inputs.model, inputs.record), folder)
    path = folder / "training.json"
    record = json.loads(path.read_text())
    record["quantization"]["ranges"][0] = [0.5, 1.0]
    path.write_text(json.dumps(record))
    with pytest.raises(ModelError, match="no layer can have the range from 0\\.5"):
        store.load(folder)
    assert np.isfinite(inputs.quantization.ranges).all()
