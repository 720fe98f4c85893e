"""A model as C: the array with its header, written for any compiler from C99 and C++11 on, and read back."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from mnist_edge.core.contract import LABELS, TensorSpec
from mnist_edge.core.errors import ArtifactError
from mnist_edge.core.reading import MEGABYTE, read_bytes, reading
from mnist_edge.core.typed_json import parse

ALIGNMENT = 16  # what TensorFlow Lite Micro wants of a model's first byte
PER_LINE = 20
MOST_BYTES = 32 * MEGABYTE  # of C text, which is five times the model
ARRAY = r"(?:unsigned\s{1,9}char|uint8_t)\s{1,9}\w{1,200}\s{0,9}\[[^\]]{0,99}\][^={;]{0,200}=\s{0,99}\{"
METADATA = "/* mnist-edge: "


def _template(name: str) -> str:
    return (Path(__file__).parent / f"{name}.txt").read_text(encoding="utf-8")


def identifier(stem: str) -> str:
    """Return a C identifier for a file's name without its ending: `cnn-int8-io8` → `cnn_int8_io8`."""
    name = re.sub(r"[^0-9A-Za-z]", "_", stem)
    return name if name[0].isalpha() else f"model_{name}"


def header(title: str, content: bytes, specs: tuple[TensorSpec, TensorSpec], metadata: dict[str, Any]) -> str:
    """Return the header of an array.

    Args:
        title: the file's name without its ending.
        content: the array's bytes.
        specs: input and output as the runtime has them, int8 with scale and zero point.
        metadata: the metadata of the export, the array's `sha256`, the `runtime`, the `arena` in bytes and what it was
            `measured_with`, the `operators` and how many `kinds` of them there are.
    """
    source, sink = specs
    words = {key: _harmless(str(value)) for key, value in metadata.items()}
    return _template("header").format(
        **words,
        title=_harmless(title),
        name=identifier(title),
        NAME=identifier(title).upper(),
        length=len(content),
        alignment=ALIGNMENT,
        head={"probabilities": "probability", "logits": "logit"}[sink.name],
        input_scale=_float(source.scale),
        input_zero_point=source.zero_point,
        classes=len(LABELS),
        output_scale=_float(sink.scale),
        output_zero_point=sink.zero_point,
    )


def source(title: str, content: bytes, metadata: dict[str, Any]) -> str:
    """Return the C source of an array; `metadata` goes into a comment as JSON, for `read`."""
    lines = (content[start : start + PER_LINE] for start in range(0, len(content), PER_LINE))
    return _template("source").format(
        title=title,
        name=identifier(title),
        NAME=identifier(title).upper(),
        labels=", ".join(f'"{label}"' for label in LABELS),
        rows="\n".join("".join(f"0x{byte:02x}," for byte in line) for line in lines),
        metadata=json.dumps(metadata).replace("/", r"\u002f"),  # no comment ends or begins in it
    )


def digest(content: bytes) -> str:
    """Return the hex SHA-256 of an array's bytes."""
    import hashlib

    return hashlib.sha256(content).hexdigest()


def read(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Take the bytes out of the first array of a C file, ours or another, and what ours tells of itself.

    Raises:
        ArtifactError: it cannot be read, has no array of bytes, or has not the bytes that were exported.
    """
    with reading(ArtifactError, f"{path} is not a C file with a model in it"):
        text = read_bytes(path, MOST_BYTES).decode("utf-8")
        told = text.partition(METADATA)[2].partition(" */")[0]
        metadata = parse(told) if told.startswith("{") else {}
        if not isinstance(metadata, dict):
            raise ValueError("what it tells of itself is no JSON object")
        code = _without_comments(text)
        array = re.search(ARRAY, code)
        if array is None or "}" not in (numbers := code[array.end() :]):
            raise ValueError("no array of unsigned char or uint8_t")
        content = bytes(int(number, 0) for number in numbers.partition("}")[0].rstrip().rstrip(",").split(","))
    if metadata.get("sha256", digest(content)) != digest(content):
        raise ArtifactError(f"{path} was changed: its array has not the SHA-256 that stands below it. Export it again.")
    return content, metadata


def _without_comments(text: str) -> str:
    """Return C code without its comments; a comment that does not end is none, as there is no code after it."""
    parts, place, pattern = [], 0, re.compile(r"/\*|//")
    while begin := pattern.search(text, place):
        parts.append(text[place : begin.start()])
        end = "*/" if begin[0] == "/*" else "\n"
        place = text.find(end, begin.end())
        if place < 0:
            return "".join(parts)
        place += len(end.strip())  # a line break stays
    return "".join([*parts, text[place:]])


def _float(value: float | None) -> str:
    """Return a float32 as a C literal that reads back to the same bits."""
    return f"{np.format_float_scientific(np.float32(value or 0), trim='0')}f"


def _harmless(text: str) -> str:
    """Return text that can stand in a C comment: ASCII, and neither begins nor ends one, nor continues a line."""
    return re.sub(r"[^ -~]|\\|\*/|/\*|\?\?", "_", text)
