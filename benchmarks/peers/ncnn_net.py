"""ncnn: our float32 ONNX file, converted by pnnx."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peers.network import Call, Files, Network

RUNTIME = "ncnn"
PACKAGES = ("ncnn",)
ALONE = ("pnnx",)  # its program needs nothing; its Python part asks for PyTorch


def _float32(network: Network, folder: Path) -> Files:
    spec = importlib.util.find_spec("pnnx")
    assert spec is not None, "pnnx is not installed"
    assert spec.origin is not None, "pnnx has no folder"
    source = folder / "network.onnx"  # it writes beside what it reads
    shutil.copy(network.float_onnx, source)
    command = [str(Path(spec.origin).parent / "pnnx"), str(source), "fp16=0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    files = folder / "network.ncnn.param", folder / "network.ncnn.bin"
    if not all(file.is_file() for file in files):
        raise RuntimeError(f"pnnx ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-200:]}")
    return files


def _int8(network: Network, folder: Path) -> Files:
    raise RuntimeError("the int8 tools, ncnn2table and ncnn2int8, are in no package of PyPI")


ROUTES = {"float32": _float32, "int8": _int8}


def open_call(path: Path) -> Call:
    """Return the call of a network: ncnn's own steps from pixels to numbers in [0, 1], extract, copy."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_vulkan_compute = False
    if net.load_param(str(path)) or net.load_model(str(path.with_suffix(".bin"))):
        raise RuntimeError("ncnn does not load what pnnx wrote")
    into, out, grey = net.input_names()[0], net.output_names()[0], ncnn.Mat.PixelType.PIXEL_GRAY

    def call(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = ncnn.Mat.from_pixels(image, grey, 28, 28)
        pixels.substract_mean_normalize([], [1 / 255])
        extractor = net.create_extractor()
        extractor.input(into, pixels)
        return np.array(extractor.extract(out)[1])

    return call
