"""Takes out the Reshape before a FULLY_CONNECTED, which takes an input of any rank and reads it row by row itself."""

from typing import Any

import numpy as np


def drop_reshapes(model: Any) -> None:
    """Remove each such operator of a model object, with the tensors and operator codes that nothing uses then.

    The kernel of FULLY_CONNECTED divides the number of input elements by the columns of its weights, unless it is told
    to keep the dimensions (TensorFlow Lite's fully_connected.cc).
    """
    from tensorflow.lite.tools import flatbuffer_utils as utils

    graph = model.subgraphs[0]
    kinds = [utils.opcode_to_name(model, operator.opcodeIndex) for operator in graph.operators]
    users = [[item for item in graph.operators if index in item.inputs] for index in range(len(graph.tensors))]
    gone = []
    for operator, kind in zip(graph.operators, kinds, strict=True):
        source, target = int(operator.inputs[0]), int(operator.outputs[0])
        if kind != "RESHAPE" or target in graph.outputs or len(users[target]) != 1:
            continue
        (user,) = users[target]
        is_layer = kinds[graph.operators.index(user)] == "FULLY_CONNECTED" and user.inputs[0] == target
        if (
            is_layer
            and not user.builtinOptions.keepNumDims
            and _same_values(graph.tensors[source], graph.tensors[target])
        ):
            user.inputs[0] = source
            gone.append(operator)
    if gone:
        graph.operators = [operator for operator in graph.operators if operator not in gone]
        _prune(model, graph)


def _same_values(source: Any, target: Any) -> bool:
    """Return whether the numbers of two tensors mean the same."""
    pairs = [
        (item.scale, item.zeroPoint) if item is not None else None
        for item in (source.quantization, target.quantization)
    ]
    return source.type == target.type and str(pairs[0]) == str(pairs[1])


def _prune(model: Any, graph: Any) -> None:
    """Remove the tensors and operator codes that nothing uses, and number the others anew."""
    used = sorted(
        {int(i) for item in graph.operators for i in (*item.inputs, *item.outputs) if i >= 0}
        | {*map(int, graph.inputs)}
    )
    place = {old: new for new, old in enumerate(used)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in used]
    for holder in (graph, *graph.operators):
        holder.inputs = np.array([place[int(index)] for index in holder.inputs], np.int32)
        holder.outputs = np.array([place[int(index)] for index in holder.outputs], np.int32)
    for signature in model.signatureDefs or ():
        for item in (*signature.inputs, *signature.outputs):
            item.tensorIndex = place[item.tensorIndex]
    codes = sorted({operator.opcodeIndex for subgraph in model.subgraphs for operator in subgraph.operators})
    model.operatorCodes = [model.operatorCodes[index] for index in codes]
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            operator.opcodeIndex = codes.index(operator.opcodeIndex)
