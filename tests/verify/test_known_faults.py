"""Broken files, made by the real converters or by hand, are caught and named by their cause."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import faults

from mnist_edge.data.dataset import Dataset
from mnist_edge.verify import known_faults
from mnist_edge.verify.result import Status
from mnist_edge.verify.verify import verify, verify_file

NETWORKS = ("cnn", "mlp")
SUFFIX = {"onnx": ".onnx", "tflite": ".tflite"}

CONVERTED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "swapped channels": ("swapped channels", faults.with_kernel(0, faults.swap)),
    "swapped outputs": ("swapped channels in the output", faults.with_kernel(-1, faults.swap)),
    "labels shifted": ("labels shifted", faults.with_kernel(-1, faults.shift)),
    "four bits": ("weights rounded to 4 bits", faults.with_kernel(-2, faults.four_bits)),
    "NHWC as NCHW": ("NHWC weights read as NCHW", faults.with_kernel(1, faults.as_nchw)),
    "normalized twice": ("normalization applied twice", faults.normalized_twice),
    "Softmax missing": ("Softmax missing", faults.without_softmax),
    "Softmax wraps": ("int8 Softmax wraps", faults.wrapping),
}


def cases() -> list[Any]:
    """Every fault in both networks and formats; precisions take turns, so that each fault meets both."""
    found = []
    for number, name in enumerate(CONVERTED):
        for place, model in enumerate(NETWORKS):
            for turn, suffix in enumerate(SUFFIX):
                if name == "NHWC as NCHW" and model != "cnn":
                    continue
                int8 = (number + place + turn) % 2 and name != "Softmax wraps"  # the wrap itself is of float operators
                found.append(pytest.param(name, model, suffix, "int8" if int8 else "float32"))
    return found


def caught(folder: Path, cause: str) -> None:
    """The one artifact of a folder fails, and the likeliest cause is this."""
    report = verify(folder, images=1000)
    (result,) = report.results
    assert result.status is Status.FAIL
    assert not report.passed
    assert result.diagnosis is not None
    assert [item.name for item in result.diagnosis.causes][:1] == [cause], str(result.diagnosis)
    assert result.diagnosis.causes[0].evidence


@pytest.mark.parametrize(("fault", "model", "file_format", "precision"), cases())
def test_a_fault_of_the_conversion_is_named(
    exports: Path, mnist: Dataset, tmp_path: Path, fault: str, model: str, file_format: str, precision: str
) -> None:
    name = f"{model}-{precision}{SUFFIX[file_format]}"
    folder = faults.only(exports / model, tmp_path / model, name)
    cause, change = CONVERTED[fault]
    faults.export_faulty(folder, name, mnist, change)
    caught(folder, cause)


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (faults.onnx_scale_of_first_channel, "per-channel scales misread"),
        (faults.onnx_zero_point_of_weights, "wrong zero point"),
        (faults.onnx_zero_point_of_activations, "wrong zero point"),
    ],
)
def test_a_fault_in_the_quantization_of_onnx_is_named(
    exports: Path, tmp_path: Path, model: str, change: Callable[..., None], cause: str
) -> None:
    name = f"{model}-int8.onnx"
    folder = faults.only(exports / model, tmp_path / model, name)
    faults.edit_onnx(folder / name, change)
    faults.record(folder, name)
    caught(folder, cause)


@pytest.mark.parametrize(
    ("model", "change", "cause"),
    [
        ("cnn", faults.tflite_scale_of_first_channel, "per-channel scales misread"),
        *((model, faults.tflite_zero_point_of_input, "wrong zero point") for model in NETWORKS),
        *((model, faults.tflite_zero_point_of_activations, "wrong zero point or range") for model in NETWORKS),
    ],
)
def test_a_fault_in_the_quantization_of_tflite_is_named(
    exports: Path, tmp_path: Path, model: str, change: Callable[..., None], cause: str
) -> None:
    name = f"{model}-int8.tflite"
    folder = faults.only(exports / model, tmp_path / model, name)
    faults.edit_tflite(folder / name, change)
    faults.record(folder, name)
    caught(folder, cause)


def test_an_image_that_rounding_decides_does_not_hide_a_cause() -> None:
    keras, faulty = np.eye(10, dtype=np.float32)[np.arange(1000) % 10], np.full((1000, 10), 0.09, np.float32)
    faulty[np.arange(1000), np.arange(1000) % 10] = 0.19
    file = faulty.copy()
    faulty[0, :2], file[0, :2] = (0.15, 0.16), (0.16, 0.15)
    assert known_faults.nearer(file, keras, faulty)
    assert not known_faults.nearer(file, keras, keras)
    assert not known_faults.nearer(file, keras, np.roll(faulty, 1, axis=1))


def test_another_pixel_range_of_a_foreign_file_is_named(exports: Path, tmp_path: Path) -> None:
    def raw_pixels(model: Any, graph: Any) -> None:
        graph.tensors[graph.inputs[0]].quantization.scale = np.array([1.0], np.float32)

    foreign = tmp_path / "theirs.tflite"
    foreign.write_bytes((exports / "mlp" / "mlp-int8.tflite").read_bytes())
    faults.edit_tflite(foreign, raw_pixels)
    (result,) = verify_file(foreign, exports / "mlp" / "reference.npz").results
    assert result.status is Status.FAIL
    assert result.diagnosis is not None
    assert [item.name for item in result.diagnosis.causes][:1] == ["calibrated on another pixel range"]
    assert "spans 0 to 255" in result.diagnosis.causes[0].evidence


def theirs_in_onnx(folder: Path, calibration: Any, target: Path) -> None:
    """Quantize `mlp` with ONNX Runtime's defaults, but for weights that do not saturate without VNNI: a float input."""
    from onnxruntime import quantization

    rest = iter(calibration)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Any:
            image = next(rest, None)
            return None if image is None else {"image": image[None]}

    quantization.quantize_static(folder / "mlp-float32.onnx", target, Reader(), reduce_range=True)


def theirs_in_tflite(folder: Path, calibration: Any, target: Path) -> None:
    """Convert `mlp` with TensorFlow's defaults for int8: the input stays float."""
    import tensorflow as tf

    from mnist_edge.formats.keras.model import load_model

    converter = tf.lite.TFLiteConverter.from_keras_model(load_model(folder / "model.keras"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image.reshape(1, 28, 28, 1)] for image in calibration)
    target.write_bytes(converter.convert())


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
@pytest.mark.parametrize(
    ("convert", "scale", "offset", "words"),
    [
        (theirs_in_onnx, 255, 0, "spans 0 to 255"),
        (theirs_in_onnx, 2, -1, "spans -1 to 0.996"),
        (theirs_in_onnx, 1 / 255, 0, "spans 0 to 0.0039"),
        (theirs_in_onnx, 1, 0, None),
        (theirs_in_tflite, 255, 0, "spans 0 to 255"),
    ],
)
def test_another_pixel_range_before_a_float_input_is_quantized_is_named(
    convert: Callable[[Path, Any, Path], None],
    scale: float,
    offset: float,
    words: str | None,
    exports: Path,
    mnist: Dataset,
    tmp_path: Path,
) -> None:
    folder = exports / "mlp"
    foreign = tmp_path / f"theirs.{convert.__name__.rpartition('_')[2]}"
    pixels = mnist.train.images[:100, None].astype(np.float32) / np.float32(255) * np.float32(scale)
    convert(folder, pixels + np.float32(offset), foreign)
    (result,) = verify_file(foreign, folder / "reference.npz").results
    causes = [] if result.diagnosis is None else result.diagnosis.causes
    named = [item.evidence for item in causes if item.name == "calibrated on another pixel range"]
    assert len(named) == (words is not None)
    assert all(str(words) in evidence for evidence in named)
    assert (result.status is Status.FAIL) is (words is not None)


def other_biases(graph: Any, arrays: dict[str, Any]) -> None:
    """Return the classes each other's biases: no known fault."""
    arrays["Gemm_1_bias"] = np.roll(arrays["Gemm_1_bias"], 1)


def warmer(graph: Any, arrays: dict[str, Any]) -> None:
    """Return one class another weight and bias: the others stay as they are."""
    arrays["Gemm_1_weight"][..., 3] *= 0.5
    arrays["Gemm_1_bias"][3] -= 4


@pytest.mark.parametrize("model", ["cnn", "mlp"])
@pytest.mark.parametrize("change", [other_biases, warmer])
def test_where_no_known_fault_explains_it_none_is_named(
    exports: Path, tmp_path: Path, model: str, change: Callable[..., None]
) -> None:
    name = f"{model}-float32.onnx"
    folder = faults.only(exports / model, tmp_path / model, name)
    faults.edit_onnx(folder / name, change)
    faults.record(folder, name)
    (result,) = verify(folder, images=1000).results
    assert result.status is Status.FAIL
    if change is other_biases:
        assert str(result.diagnosis).startswith("cause unknown")
        assert "it is not the weights" in str(result.diagnosis)
    else:
        assert "probabilities" in str(result.diagnosis)  # the layer that was changed, and no other
        assert "hidden" not in str(result.diagnosis)
