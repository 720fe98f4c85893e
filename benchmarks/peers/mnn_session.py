"""MNN: our float32 ONNX file as it is, with 8-bit weights, and quantized with images.

The packaged commands mnnconvert and mnnquant install a package that reports to MNN's makers, and send what they did;
so the functions under them are called.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peers.network import Call, Files, Network, unit

RUNTIME = "MNN"
PACKAGES = ("MNN",)


def _convert(network: Network, folder: Path, *options: str) -> Files:
    import _tools

    target = folder / "network.mnn"
    command = ["mnnconvert", "-f", "ONNX", "--modelFile", str(network.float_onnx), "--MNNModel", str(target)]
    _tools.mnnconvert([*command, "--bizCode", "none", *options])
    if not target.is_file():
        raise RuntimeError("mnnconvert wrote no file")
    return (target,)


def _float32(network: Network, folder: Path) -> Files:
    return _convert(network, folder)


def _weights(network: Network, folder: Path) -> Files:
    return _convert(network, folder, "--weightQuantBits", "8")


def _int8(network: Network, folder: Path) -> Files:
    import _tools
    from PIL import Image

    (source,) = _convert(network, folder)
    images = folder / "images"
    images.mkdir(exist_ok=True)
    for number, image in enumerate(network.arrays["calibration"]):
        Image.fromarray(image).save(images / f"{number:03}.png")
    options = {"format": "GRAY", "mean": [0.0], "normal": [1 / 255], "width": 28, "height": 28, "path": f"{images}/"}
    options |= {"used_image_num": len(network.calibration)}
    options |= {"feature_quantize_method": "KL", "weight_quantize_method": "MAX_ABS"}
    config, target = folder / "config.json", folder / "int8.mnn"
    config.write_text(json.dumps(options), encoding="utf-8")
    _tools.mnnquant(str(source), str(target), str(config))
    if not target.is_file():
        raise RuntimeError("mnnquant wrote no file")
    return (target,)


ROUTES = {"float32": _float32, "int8 weights": _weights, "int8": _int8}


def open_call(path: Path) -> Call:
    """Return the call of a session, which is faster here than MNN's newer Module."""
    import MNN

    interpreter = MNN.Interpreter(str(path))
    session = interpreter.createSession({"numThread": 1, "backend": "CPU", "precision": "high"})
    source, sink = interpreter.getSessionInput(session), interpreter.getSessionOutput(session)
    shape = (1, 1, 28, 28)

    def call(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = unit(image).reshape(shape)
        source.copyFrom(MNN.Tensor(shape, MNN.Halide_Type_Float, pixels, MNN.Tensor_DimensionType_Caffe))
        interpreter.runSession(session)
        return np.array(sink.getNumpyData()[0])

    return call
