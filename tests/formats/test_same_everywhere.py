"""The int8 ONNX files give the same logits, bit for bit, on a CPU with AVX2 and without VNNI (emulated Haswell)."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.commands import Run

from mnist_edge.core.errors import DeviceError
from mnist_edge.core.reference import Reference
from mnist_edge.deploy.emulation import userland as emulate

pytestmark = pytest.mark.extra("qemu")

SCRIPT = """
import sys, numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
images = np.load(sys.argv[1])
for model, target in zip(sys.argv[2::2], sys.argv[3::2]):
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    batch = images[:, None, None].astype(np.uint8 if "uint8" in given.type else np.float32)
    np.save(target, np.concatenate([session.run(None, {given.name: image})[0] for image in batch]))
"""

CAUSES = """
import sys
from pathlib import Path
from mnist_edge.core.reference import Reference
from mnist_edge.formats import FORMATS
from mnist_edge.verify.diagnosis import of_runtime
from mnist_edge.verify.variants import Usual, run_variants
from mnist_edge.verify.verify import _foreign_artifact
path, golden = Path(sys.argv[1]), Reference.read(Path(sys.argv[2])).subset(200)
artifact, onnx = _foreign_artifact(path, None), FORMATS["onnx"]
with onnx.open(path) as runner:
    usual = Usual(golden.images, runner.run(golden.images), golden.keras[golden.indices])
print(*of_runtime(tuple(run_variants(onnx, artifact, usual, 1.0)), onnx))
"""


@pytest.fixture(scope="module")
def qemu() -> str:
    """The user-mode emulator for x86-64."""
    try:
        return emulate.qemu("qemu-x86_64")
    except DeviceError as error:
        pytest.skip(str(error))


def saturating(
    path: Path, float32: Path, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], per_channel: bool = False
) -> Path:
    """Quantize as ONNX Runtime's documentation says: int8 weights, which AVX2 saturates, most of all per channel."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined,unused-ignore]
        rest = iter(images[:100])

        def get_next(self) -> dict[str, object] | None:
            image = next(self.rest, None)
            return None if image is None else {"image": image[None, None].astype(np.float32) / 255}

    unsigned = quantization.QuantType.QUInt8
    quantization.quantize_static(float32, path, Reader(), activation_type=unsigned, per_channel=per_channel)
    return path


def test_logits_are_the_same_bits_without_vnni(run: Run, exports: Path, tmp_path: Path, qemu: str) -> None:
    names = ("cnn", "cnn-wide", "mlp")
    images = Reference.read(exports / "cnn" / "reference.npz").images
    np.save(tmp_path / "images.npy", images)
    models = []
    for name in names:
        shutil.copytree(exports / name, tmp_path / name)
        run("export", "--model", name, "--out", tmp_path, "--int8", "--format", "onnx", "--head", "logits")
        models.append(tmp_path / name / f"{name}-int8-logits.onnx")
    naive = saturating(tmp_path / "naive.onnx", exports / "mlp" / "mlp-float32.onnx", images)
    onnx.checker.check_model(naive)
    models.append(naive)

    outputs: dict[str, list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]] = {}
    for cpu, emulator in (("native", []), ("Haswell", [qemu, "-cpu", "Haswell"])):
        targets = [tmp_path / f"{cpu}-{index}.npy" for index in range(len(models))]
        pairs = [str(part) for pair in zip(models, targets, strict=True) for part in pair]
        command = [*emulator, sys.executable, "-c", SCRIPT, str(tmp_path / "images.npy"), *pairs]
        subprocess.run(command, check=True, capture_output=True)
        outputs[cpu] = [np.load(target) for target in targets]
    for name, native, haswell in zip(names, outputs["native"], outputs["Haswell"], strict=False):
        assert native.shape == (1000, 10)
        assert np.array_equal(native, haswell), name
    if "vnni" in Path("/proc/cpuinfo").read_text():  # the emulation really is another CPU: it spoils the naive file
        assert not np.array_equal(outputs["native"][-1], outputs["Haswell"][-1])


def test_saturation_is_named_where_the_cpu_saturates(exports: Path, tmp_path: Path, qemu: str) -> None:
    reference = exports / "mlp" / "reference.npz"
    float32 = exports / "mlp" / "mlp-float32.onnx"
    naive = saturating(tmp_path / "naive.onnx", float32, Reference.read(reference).images, per_channel=True)

    def causes(path: Path, *emulator: str) -> str:
        command = [*emulator, sys.executable, "-c", CAUSES, str(path), str(reference)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert causes(float32) == causes(float32, qemu, "-cpu", "Haswell") == ""
    if "vnni" in Path("/proc/cpuinfo").read_text():
        assert causes(naive) == ""
    named = causes(naive, qemu, "-cpu", "Haswell")
    assert named.startswith("the runtime computes it otherwise on this CPU (graph optimizations off, the mean square")
    assert "saturate on an x86 CPU without VNNI" in named
