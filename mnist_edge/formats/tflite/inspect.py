"""Reads any `.tflite` file for `inspect`, ours or another converter's."""

import json
import math
from collections import Counter
from itertools import repeat
from pathlib import Path
from typing import Any

from mnist_edge.core.contract import TensorSpec
from mnist_edge.core.errors import ArtifactError, MissingRuntime
from mnist_edge.core.optional import installed, pip_install, require
from mnist_edge.core.reading import read_bytes, reading
from mnist_edge.formats.base import MOST_BYTES
from mnist_edge.formats.inspection import Description, Operator, RuntimeOperators, kinds_in, tensor_text
from mnist_edge.formats.tflite import metadata as zipped_json
from mnist_edge.formats.tflite.compact import MIN_RUNTIME
from mnist_edge.formats.tflite.trace import BIAS_PLACE, BIAS_PLACE_OF_OTHERS, LAYERS

DATA_MOVEMENT = kinds_in("""
QUANTIZE DEQUANTIZE CAST BITCAST DENSIFY RESHAPE SQUEEZE EXPAND_DIMS TRANSPOSE PACK UNPACK CONCATENATION SPLIT SPLIT_V
SLICE STRIDED_SLICE GATHER GATHER_ND SCATTER_ND EMBEDDING_LOOKUP PAD PADV2 MIRROR_PAD TILE BROADCAST_TO BROADCAST_ARGS
FILL ZEROS_LIKE RANGE SHAPE RANK ONE_HOT SPARSE_TO_DENSE REVERSE_V2 REVERSE_SEQUENCE DEPTH_TO_SPACE SPACE_TO_DEPTH
SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND SELECT SELECT_V2 WHERE MATRIX_DIAG MATRIX_SET_DIAG DYNAMIC_UPDATE_SLICE DILATE
REAL IMAG IF WHILE CALL CALL_ONCE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT
HASHTABLE_LOOKUP HASHTABLE_SIZE STABLEHLO_RESHAPE STABLEHLO_TRANSPOSE STABLEHLO_CONCATENATE STABLEHLO_BROADCAST_IN_DIM
STABLEHLO_SLICE STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_GATHER STABLEHLO_SCATTER
STABLEHLO_PAD STABLEHLO_SELECT STABLEHLO_CONVERT STABLEHLO_IOTA STABLEHLO_WHILE STABLEHLO_CASE
""")
"""Operators that copy, select, reshape or convert numbers, or hold others; none of them computes new ones."""
MOST_TABLES = 50_000
SCHEMAS = ("ai_edge_litert.schema_py_generated", "tensorflow.lite.python.schema_py_generated")


def describe(path: Path) -> Description:
    """Return what is in a `.tflite` file. Raises ArtifactError."""
    schema = schema_module()
    with reading(ArtifactError, f"{path} is not a whole TFLite file"):
        return _described(path, schema).printable()


def _described(path: Path, schema: Any) -> Description:
    content = read_bytes(path, MOST_BYTES)
    model = unpacked(content, schema)
    codes = operator_codes(model, schema)
    graph = model.subgraphs[0]
    weights = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    types = type_names(schema)
    counts = Counter(codes[op.opcodeIndex] for op in graph.operators)
    stored = zipped_json.read(path).items()
    metadata = {key: value if isinstance(value, str) else json.dumps(value) for key, value in stored}
    zipped = sum(len(key) + len(value) for key, value in metadata.items())
    layers = [(kind, op) for op in graph.operators if (kind := codes[op.opcodeIndex][0]) in LAYERS]
    producer = {"producer": model.description.decode()} if model.description else {}  # files of ours do not say
    return Description(
        inputs=tuple(_tensor_text(graph.tensors[index], types) for index in graph.inputs),
        outputs=tuple(_tensor_text(graph.tensors[index], types) for index in graph.outputs),
        operators=tuple(Operator(kind, version, count) for (kind, version), count in counts.items()),
        versions={"schema": str(model.version), **producer},
        parameters=sum(
            int(math.prod(graph.tensors[index].shape)) for kind, op in layers for index in _weights(kind, op)
        ),
        macs=sum(_macs(graph, kind, op) for kind, op in layers),
        sizes={"weights": weights, "metadata": zipped, "graph": len(content) - weights - zipped},
        oldest=_oldest(model, types),
        metadata=metadata,
    )


def unpacked(content: bytes, schema: Any) -> Any:
    """Return the objects of a model. Raises ValueError where they are too many; flatbuffers raises other errors too."""
    _check_count(schema.Model.GetRootAs(content, 0))
    return schema.ModelT.InitFromPackedBuf(content, 0)


def operator_codes(model: Any, schema: Any) -> list[tuple[str, int]]:
    """Return the kinds and versions that a model's operators refer to."""
    numbers = {value: key for key, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    return [(_kind(code, numbers), code.version) for code in model.operatorCodes]


def type_names(schema: Any) -> dict[int, str]:
    """Return the names of the types of tensors, as NumPy has them where it can."""
    return {value: key.lower() for key, value in vars(schema.TensorType).items() if isinstance(value, int)}


def _check_count(model: Any) -> None:
    """Raise ValueError where one table stands for many, each of which would become objects of its own."""
    graphs = [model.Subgraphs(index) for index in range(min(model.SubgraphsLength(), MOST_TABLES))]
    signatures = [model.SignatureDefs(index) for index in range(min(model.SignatureDefsLength(), MOST_TABLES))]
    count = len(graphs) + len(signatures) + sum(item.TensorsLength() + item.OperatorsLength() for item in graphs)
    count += sum(item.InputsLength() + item.OutputsLength() for item in signatures)
    if count > MOST_TABLES:
        raise ValueError(f"it has {count:,} tensors and operators, and the limit is {MOST_TABLES:,}")


def _kind(code: Any, names: dict[int, str]) -> str:
    """Return the kind of an operator: a name of TensorFlow Lite's, or a custom operator's own."""
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    kind = names.get(number, f"number {number}")
    return (code.customCode or b"?").decode(errors="replace") if kind == "CUSTOM" else kind


def runtime_operators(opened: Any) -> RuntimeOperators:
    """Return the operators that an open interpreter runs, and how many of them the XNNPACK delegate runs."""
    operators = opened._get_ops_details()
    types = {item["index"]: item["dtype"].__name__ for item in opened.get_tensor_details()}
    own = [op for op in operators if op["op_name"] != "DELEGATE"]
    taken = sum(len(_inside(delegate, own)) for delegate in operators if delegate["op_name"] == "DELEGATE")
    kinds = [(op["op_name"], _computes_in(op, types)) for op in own]
    return RuntimeOperators(
        int8=tuple(kind for kind, numbers in kinds if numbers == "int8"),
        other=tuple(kind for kind, numbers in kinds if numbers == "float"),
        data_movement=tuple(kind for kind, numbers in kinds if numbers is None),
        note=f"XNNPACK runs {taken} of {len(own)}" if taken else "no delegate",
    )


def _computes_in(op: Any, types: dict[int, str]) -> str | None:
    """Return `int8` or `float`; None where an operator only moves data, or computes a shape or an index.

    Float in, float out and an int8 kernel is int8: TensorFlow Lite then quantizes what comes in for each image.
    """
    kinds = {types[index] for index in (*op["inputs"], *op["outputs"]) if index in types}
    if op["op_name"] in DATA_MOVEMENT:
        return None
    if kinds & {"int8", "uint8", "int16"}:
        return "int8"
    return "float" if not kinds or any(kind.startswith(("float", "complex")) for kind in kinds) else None


def _inside(delegate: Any, operators: list[Any]) -> list[Any]:
    """Return the operators between a delegate's inputs and outputs: those that it replaces."""
    producer = {index: op for op in operators for index in op["outputs"]}
    replaced, todo = [], list(delegate["outputs"])
    while todo:
        op = producer.get(todo.pop())
        if op is not None and op not in replaced:
            replaced.append(op)
            todo += [index for index in op["inputs"] if index not in set(delegate["inputs"])]
    return replaced


def schema_module() -> Any:
    """Return the module that reads the flatbuffer. Raises MissingRuntime where it is not installed."""
    for module in SCHEMAS:
        if installed(module):
            return require(module, module.partition(".")[0], "reading a TFLite file")
    raise MissingRuntime(f"reading a TFLite file needs ai-edge-litert. Install it: {pip_install('ai-edge-litert')}")


def _weights(kind: str, op: Any) -> list[int]:
    """Return the indices of a layer's kernel and bias."""
    place = BIAS_PLACE.get(kind, BIAS_PLACE_OF_OTHERS)
    return [index for index in (op.inputs[1], *op.inputs[place : place + 1]) if index >= 0]


def _macs(graph: Any, kind: str, op: Any) -> int:
    """Return the multiply-accumulates of a layer: every number of its kernel, at each position that it slides over."""
    kernel = math.prod(int(size) for size in graph.tensors[op.inputs[1]].shape)
    if kind == "FULLY_CONNECTED":
        return kernel
    slid_over = op.inputs[2] if kind == "TRANSPOSE_CONV" else op.outputs[0]
    return kernel * math.prod(int(size) for size in graph.tensors[slid_over].shape[1:3])


def _oldest(model: Any, types: dict[int, str]) -> str:
    """Return the oldest TensorFlow Lite that has all operator versions, as the converter recorded it."""
    if any(types.get(tensor.type) == "int16" for graph in model.subgraphs for tensor in graph.tensors):
        return "not known: the converter does not record it for int16"
    for item in model.metadata or ():
        if item.name == MIN_RUNTIME:
            version = bytes(bytearray(model.buffers[item.buffer].data)).rstrip(b"\0").decode()
            return f"TensorFlow Lite {version}, by its operator versions"
    return "not recorded in the file"


def _tensor_text(tensor: Any, types: dict[int, str]) -> str:
    signature = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    shape = tuple(None if size < 0 else int(size) for size in signature)
    quantization = tensor.quantization
    quantized = quantization is not None and quantization.scale is not None and len(quantization.scale) > 0
    scale = (float(quantization.scale[0]), int(quantization.zeroPoint[0])) if quantized else (None, None)
    return tensor_text(
        TensorSpec(tensor.name.decode(), types.get(tensor.type, "?"), shape, "", *scale), free=repeat("?")
    )
