"""Every choice of ends: head, batch and integer ends give the digits of the default ones."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter
from support.commands import Run

from mnist_edge.core.manifest import Manifest
from mnist_edge.data.dataset import Dataset
from mnist_edge.formats import FORMATS
from mnist_edge.verify.verify import verify

pytestmark = pytest.mark.extra("a quarter of a minute or more")

VARIANTS = ["--head logits", "--batch 3", "--dynamic-batch", "--io int8", "--io int8 --head logits"]


@pytest.fixture(scope="module")
def variants(run: Run, exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`cnn` and `mlp` with every choice of ends."""
    out = tmp_path_factory.mktemp("variants")
    for model in ("cnn", "mlp"):
        shutil.copytree(exports / model, out / model)
        for variant in VARIANTS:
            run("export", "--model", model, "--out", out, *variant.split())
    return out


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_every_choice_of_ends_gives_the_same_digits(variants: Path, mnist: Dataset, model: str) -> None:
    report = verify(variants / model, images=1000)
    assert report.passes(strict=True)
    flips = {result.artifact.path.name: result.comparison.flips for result in report.results if result.comparison}
    assert len(flips) == 9 + 4 * 3 + 2
    for name, indices in flips.items():
        plain = re.sub(r"-(logits|batch3|anybatch)", "", name)
        assert indices == flips[plain], name


def test_full_integer_ends_carry_scale_and_zero_point(variants: Path) -> None:
    found = {item.path.name: item.contract for item in Manifest.read(variants / "cnn").artifacts}
    both = found["cnn-int8-io8.tflite"]
    assert (both.input.dtype, both.output.dtype) == ("int8", "int8")
    assert both.input.scale == pytest.approx(1 / 255)
    assert both.input.zero_point == -128
    assert (both.output.scale, both.output.zero_point) == (1 / 256, -128)
    logits = found["cnn-int8-logits-io8.tflite"].output
    assert logits.name == "logits"
    assert logits.scale is not None
    assert logits.scale > 0.05  # logits span tens


def test_the_printed_snippet_quantizes_as_the_runner_does(run: Run, variants: Path, mnist: Dataset) -> None:
    done = run("export", "--out", variants, "--int8", "--format", "tflite", "--io", "int8")
    code = done.stderr[done.stderr.index("# cnn-int8-io8.tflite") :].split("# cnn-int8-logits")[0].split("Next:")[0]
    opened = Interpreter(str(variants / "cnn" / "cnn-int8-io8.tflite"))
    opened.allocate_tensors()
    before, after = code.rstrip().rsplit("\n", 1)
    for picture in mnist.test.images[:20]:
        names: dict[str, Any] = {"np": np, "pixels": picture}
        exec(before, names)
        opened.set_tensor(opened.get_input_details()[0]["index"], names["image"])
        opened.invoke()
        names["probabilities_int8"] = opened.get_tensor(opened.get_output_details()[0]["index"])
        exec(after, names)
        with FORMATS["tflite"].open(variants / "cnn" / "cnn-int8-io8.tflite") as runner:
            assert np.array_equal(names["probabilities"], runner.run(picture[None]))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_dynamic_batch_takes_any_number(variants: Path, mnist: Dataset, count: int) -> None:
    images = mnist.test.images[:count]
    session = onnxruntime.InferenceSession(variants / "cnn" / "cnn-int8-anybatch.onnx")
    together = session.run(None, {"image": images[:, None]})[0]
    opened = Interpreter(str(variants / "cnn" / "cnn-int8-anybatch.tflite"))
    opened.resize_tensor_input(opened.get_input_details()[0]["index"], [count, 28, 28, 1])
    opened.allocate_tensors()
    opened.set_tensor(opened.get_input_details()[0]["index"], images[..., None])
    opened.invoke()
    for name, outputs in (("onnx", together), ("tflite", opened.get_tensor(opened.get_output_details()[0]["index"]))):
        with FORMATS[name].open(variants / "cnn" / f"cnn-int8.{name}") as runner:
            assert np.allclose(outputs, runner.run(images), atol=1e-6)
