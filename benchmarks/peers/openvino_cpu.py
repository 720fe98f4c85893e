"""OpenVINO on the CPU: our float32 ONNX file, the same quantized by NNCF, and our int8 ONNX file as it is."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers.network import Call, Files, Network

RUNTIME = "OpenVINO"
PACKAGES = ("openvino", "nncf")
ONE_THREAD: dict[str, Any] = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": "1", "PERFORMANCE_HINT": "LATENCY"}
ONE_THREAD |= {"ENABLE_CPU_PINNING": False}  # it would pin the thread that the others are timed in too


def _save(model: Any, folder: Path) -> Files:
    """Write a model that takes uint8 pixels: OpenVINO's own step before the network divides them."""
    import openvino
    from openvino.preprocess import PrePostProcessor

    before = PrePostProcessor(model)
    before.input().tensor().set_element_type(openvino.Type.u8)
    before.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    target = folder / "model.xml"
    openvino.save_model(before.build(), target, compress_to_fp16=False)
    return target, target.with_suffix(".bin")


def _float32(network: Network, folder: Path) -> Files:
    import openvino

    return _save(openvino.Core().read_model(network.float_onnx), folder)


def _int8(network: Network, folder: Path) -> Files:
    import nncf
    import openvino

    images = nncf.Dataset([image[None, None] for image in network.calibration])
    model = nncf.quantize(openvino.Core().read_model(network.float_onnx), images, subset_size=len(network.calibration))
    return _save(model, folder)


def _ours(network: Network, folder: Path) -> Files:
    return (network.int8_onnx,)


ROUTES = {"float32": _float32, "int8, NNCF": _int8, "int8, our .onnx": _ours}


def open_call(path: Path) -> Call:
    """Return the call of a compiled model, in the calling thread: fill its input tensor, infer, copy ten numbers."""
    import openvino

    core = openvino.Core()
    request = core.compile_model(core.read_model(path), "CPU", ONE_THREAD).create_infer_request()
    pixels, output = request.get_input_tensor().data, request.get_output_tensor().data

    def call(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels[0, 0] = image
        request.infer()
        return np.array(output[0], np.float32)

    return call
