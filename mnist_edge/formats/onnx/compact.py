"""Writes an int8 graph in few bytes: short names, equal constants once, and no attribute that only says the default."""

from collections import Counter
from typing import Any

DEFAULTS: dict[str, dict[str, Any]] = {
    "Conv": {"dilations": [1, 1], "group": 1},
    "Gemm": {"transA": 0, "transB": 0},
}
SHORT = {"QuantizeLinear": "q", "DequantizeLinear": "d", "Cast": "f"}
"""The first letter of the outputs of nodes that only convert; those of other nodes are called as the node."""


def compact(graph: Any) -> None:
    """Make a canonical graph without bodies smaller; it computes the same."""
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    names |= _share_constants(graph, set(names))
    counts: Counter[str] = Counter()
    for node in graph.node:
        for index, name in enumerate(node.output):
            letter = SHORT.get(node.op_type)
            counts[node.op_type] += 1
            plain = f"{letter}{counts[node.op_type]}" if letter else f"{node.name}{f'_{index}' if index else ''}"
            names.setdefault(name, plain)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        node.name = ""  # the name of its output says enough
        kept = [item for item in node.attribute if not _is_default(node, item)]
        del node.attribute[:]
        node.attribute.extend(kept)


def _share_constants(graph: Any, taken: set[str]) -> dict[str, str]:
    """Keep one of all constants that are the same, and return the new name of each by its old one."""
    from onnx import numpy_helper

    names: dict[str, str] = {}
    kept: dict[tuple[Any, ...], Any] = {}
    for tensor in list(graph.initializer):
        old = tensor.name
        if old in taken:
            continue
        content = numpy_helper.to_array(tensor)
        same = kept.setdefault((tensor.data_type, content.shape, content.tobytes()), tensor)
        if same is tensor:
            tensor.name = f"c{len(kept)}"
        names[old] = same.name
        if same is not tensor:
            graph.initializer.remove(tensor)
    return names


def _is_default(node: Any, attribute: Any) -> bool:
    from onnx import helper

    default = DEFAULTS.get(node.op_type, {}).get(attribute.name)
    return default is not None and helper.get_attribute_value(attribute) == default
