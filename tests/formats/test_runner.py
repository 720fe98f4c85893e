"""A runner gives its own copies, the same bits for one image as for many, and float32 whatever the file has."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mnist_edge.core.contract import TensorSpec
from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.reference import Reference
from mnist_edge.formats import FORMATS
from mnist_edge.formats.runner import BatchRunner, Images, softmax

KINDS = [("tflite", None), ("tflite", "compiled"), ("onnx", None)]
FILES = [(*kind, precision) for kind in KINDS for precision in ("float32", "int8")]


@pytest.fixture(params=FILES, ids=lambda item: " ".join(map(str, item)))
def runner(request: pytest.FixtureRequest, exports: Path) -> Iterator[BatchRunner]:
    """An opened file of `mlp`."""
    name, variant, precision = request.param
    with FORMATS[name].open(exports / "mlp" / f"mlp-{precision}.{name}", variant=variant) as opened:
        assert isinstance(opened, BatchRunner)
        yield opened


@pytest.fixture(scope="module")
def images(exports: Path) -> Images:
    """Some of the golden images."""
    return Reference.read(exports / "mlp" / "reference.npz").images[:20]


def test_outputs_are_copies(runner: BatchRunner, images: Images) -> None:
    first, second = runner.run(images[:1]), runner.run(images[1:2])
    assert not np.array_equal(first, second)
    kept = first.copy()
    second[:] = -1
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(runner.run(images[:1]), kept)
    first[:] = -1
    np.testing.assert_array_equal(runner.run(images[:1]), kept)


def test_one_image_is_computed_as_many_are(runner: BatchRunner, images: Images) -> None:
    before = images.copy()
    single = [runner.run(images[index : index + 1]) for index in range(len(images))]
    assert {outputs.dtype for outputs in single} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(np.concatenate(single), runner.run(images))
    np.testing.assert_array_equal(images, before)
    some = np.ascontiguousarray(images.transpose(0, 2, 1)).transpose(0, 2, 1)  # the same numbers, not in a row
    np.testing.assert_array_equal(runner.run(some[:1]), single[0])


def test_what_the_runtime_refuses_is_an_error_of_the_file(runner: BatchRunner) -> None:
    with pytest.raises(ArtifactError, match="does not run"):
        runner._call(np.zeros(runner._shape, np.int64))


class Stored(BatchRunner):
    """Stands for a file that gives these numbers `[N, 10]` for any N images."""

    def __init__(self, numbers: np.ndarray, scale: float | None, zero_point: int | None, name: str) -> None:
        self._path, self.stored = Path("stored"), numbers
        shape, dtype = (len(numbers), 28, 28, 1), numbers.dtype.name
        sink = TensorSpec(name, dtype, numbers.shape, "", scale, zero_point)
        self._prepare(TensorSpec("image", "uint8", shape, ""), sink, 1)

    def _call(self, pixels: np.ndarray) -> np.ndarray:
        return self.stored


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32"])
@pytest.mark.parametrize("name", ["probabilities", "logits"])
def test_quantized_numbers_become_the_same_real_ones(dtype: str, name: str) -> None:
    limits = np.iinfo(dtype)
    numbers = np.random.default_rng(0).integers(limits.min, limits.max, (30, 10), dtype, endpoint=True)
    scale, zero_point = 0.1234, -3 if limits.min else 7
    outputs = Stored(numbers, scale, zero_point, name).run(np.zeros((30, 28, 28), np.uint8))
    real = (numbers.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
    assert outputs.dtype == np.float32
    np.testing.assert_array_equal(outputs, softmax(real) if name == "logits" else real)
    several = Stored(numbers, scale, zero_point, name).run(np.zeros((60, 28, 28), np.uint8))
    np.testing.assert_array_equal(several, np.concatenate([outputs, outputs]))


def test_other_floats_become_float32() -> None:
    numbers = np.random.default_rng(0).random((1, 10))
    for dtype in ("float16", "float64"):
        stored = numbers.astype(dtype)
        outputs = Stored(stored, None, None, "probabilities").run(np.zeros((1, 28, 28), np.uint8))
        assert outputs.dtype == np.float32
        np.testing.assert_array_equal(outputs, stored.astype(np.float32))


def test_outputs_of_another_size_are_an_error_of_the_file() -> None:
    runner = Stored(np.zeros((1, 10), np.float32), None, None, "probabilities")
    runner.stored = np.zeros((1, 11), np.float32)
    for count in (1, 2):
        with pytest.raises(ArtifactError, match=r"it gives \[1, 11\] for 1 images"):
            runner.run(np.zeros((count, 28, 28), np.uint8))
