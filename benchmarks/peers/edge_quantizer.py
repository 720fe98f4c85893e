"""Files of ai-edge-quantizer, made of the float32 `.tflite` of TensorFlow's converter, in LiteRT's Interpreter.

Our own float32 `.tflite` names no tensors, and it needs their names.
"""

from pathlib import Path
from typing import Any

from peers.litert import open_call
from peers.network import Files, Network

__all__ = ["PACKAGES", "ROUTES", "RUNTIME", "open_call"]

RUNTIME = "LiteRT, ai-edge-quantizer"
PACKAGES = ("ai-edge-quantizer", "ai-edge-litert")


def _quantizer(network: Network) -> Any:
    from ai_edge_quantizer import quantizer

    return quantizer.Quantizer(str(network.stock_tflite))


def _int8(network: Network, folder: Path) -> Files:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import recipe

    signatures = Interpreter(str(network.stock_tflite)).get_signature_list()
    key, names = next(iter(signatures.items()))
    images = [{names["inputs"][0]: image[None, ..., None]} for image in network.calibration]
    quantizer = _quantizer(network)
    quantizer.load_quantization_recipe(recipe.static_wi8_ai8())
    target = folder / "static-int8.tflite"
    quantizer.quantize(quantizer.calibrate({key: images}), serialize_to_path=str(target))
    return (target,)


def _int4(network: Network, folder: Path) -> Files:
    quantizer = _quantizer(network)
    quantizer.add_dynamic_config(regex=".*", operation_name="FULLY_CONNECTED", num_bits=4)
    quantizer.add_dynamic_config(regex=".*", operation_name="CONV_2D", num_bits=8)
    target = folder / "int4-dense.tflite"
    quantizer.quantize(serialize_to_path=str(target))
    return (target,)


ROUTES = {"int8": _int8, "int4 Dense, int8 Conv, dynamic": _int4}
