"""Some of the networks that people bring, trained and exported: every healthy file passes, and no cause is named.

`benchmarks/networks.py` does it for all of them.
"""

from pathlib import Path

import pytest
from support.networks import NETWORKS

from mnist_edge.core.contract import Precision
from mnist_edge.data.dataset import Dataset
from mnist_edge.export import export_folder
from mnist_edge.export.inputs import load_inputs
from mnist_edge.export.plan import plan_export
from mnist_edge.export.tuning import Tuner, first_within
from mnist_edge.training import store
from mnist_edge.training.own_model import adopt
from mnist_edge.verify.result import Status
from mnist_edge.verify.verify import verify

LOOPS = {"lstm"}


@pytest.mark.extra("a quarter of a minute or more")
@pytest.mark.parametrize(
    "name",
    [
        *("depthwise-separable", "nested-backbone", "attention", "residual-mish", "grouped-conv", "lstm"),
        *("two-halves", "image-beside-signed"),
    ],
)
def test_healthy_files_pass(mnist: Dataset, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    trained = adopt(NETWORKS[name].trained(mnist.train), mnist)
    store.save(trained, folder)
    exported = export_folder(load_inputs(folder, mnist, trained), plan_export([Precision.FLOAT32, Precision.INT8]))
    failed = {f"{name}-int8.onnx", f"{name}-int8.tflite"} if name in LOOPS else set()
    assert set(exported.failed) == failed
    assert all("unroll=True" in reason for reason in exported.failed.values())
    report = verify(folder, mnist)
    for result in report.results:
        assert result.status is Status.PASS, (result.artifact.path.name, result.reasons, str(result.diagnosis))
    assert len(report.results) == 4 - len(failed)


@pytest.mark.extra("a quarter of a minute or more")
def test_layers_of_a_transposed_convolution_can_be_left_in_float(mnist: Dataset, tmp_path: Path) -> None:
    from mnist_edge.core.contract import IOOptions
    from mnist_edge.core.errors import ConversionError

    trained = adopt(NETWORKS["conv-transpose"].trained(mnist.train, 2000), mnist)
    store.save(trained, tmp_path / "it")
    inputs = load_inputs(tmp_path / "it", mnist, trained)
    for format_name in ("tflite", "onnx"):
        tuner = Tuner(inputs, format_name, IOOptions(), lambda line: None)
        with pytest.raises(ConversionError, match=f"no int8 quantization of {format_name}"):
            first_within(tuner, -50)  # better than Keras by fifty points: nothing is
        assert len(tuner.tried[-1]["quantization"]["float_layers"]) == tuner.layers
