"""Reads the JSON that this package writes into dataclasses, strictly: text is text, a number is a finite number."""

import json
import math
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from mnist_edge.core.errors import FolderError, MnistEdgeError
from mnist_edge.core.reading import MEGABYTE, read_bytes, reading
from mnist_edge.core.text import printable

SCHEMA = 1  # of every JSON document but bench's
BENCH_SCHEMA = 2  # since it holds samples by process
MOST_BYTES = 32 * MEGABYTE  # parsed, a byte can take 24 bytes of memory
DEEPEST = 64
WHOLE = 2**63
FileName = Annotated[str, "the name of a file"]
"""Text that is kept as it is; all other text is made printable."""
Document = TypeVar("Document")


def read_json(
    path: Path, kind: type[Document], advice: str, error: type[MnistEdgeError] = FolderError, schema: int = SCHEMA
) -> Document:
    """Return the content of a JSON file of a schema as a dataclass of this kind.

    Raises:
        FolderError, or `error`: the file is not there, damaged or has another schema; the message ends in `advice`.
    """
    with reading(error, f"{path} is damaged", advice):
        if not path.exists():
            raise error(f"there is no file {path}. {advice}")
        content = parse(read_bytes(path, MOST_BYTES))
        if content["schema"] != schema:
            raise error(f"{path} has schema {content['schema']}, this version reads schema {schema}. {advice}")
        return structure(content, kind)


def parse(text: str | bytes) -> Any:
    """Return what JSON in UTF-8 says. Raises ValueError where it is damaged or nested too deeply."""
    content = json.loads(text if isinstance(text, str) else text.decode("utf-8"))
    level, depth = [content], 0
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return content


def strict_json(content: Any) -> Any:
    """Return content as strict JSON has it: null for NaN and infinity, and text that prints."""
    if isinstance(content, dict):
        return {printable(key) if isinstance(key, str) else key: strict_json(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [strict_json(value) for value in content]
    if isinstance(content, str):
        return printable(content)
    return None if isinstance(content, float) and not math.isfinite(content) else content


def structure(content: Any, kind: type[Document]) -> Document:
    """Return parsed JSON as a dataclass of this kind. Raises ValueError, which names the first field that is wrong."""
    from cattrs import BaseValidationError, transform_error  # 20 ms that `predict` need not spend

    try:
        document: Document = _converter().structure(content, kind)
    except BaseValidationError as error:
        raise ValueError(transform_error(error)[0]) from error
    return document


@cache
def _converter() -> Any:
    from cattrs import Converter
    from cattrs.gen import make_dict_structure_fn, override

    converter = Converter()
    for kind in (str, bool, int, float):
        converter.register_structure_hook(kind, _plain)
    converter.register_structure_hook(Path, lambda value, _: file_path(value))
    converter.register_structure_hook_func(lambda kind: kind == FileName, lambda value, _: _encodable(value))

    def renamed(kind: Any) -> Any:
        overrides: Any = {name: override(rename=stored) for name, stored in kind.STORED_NAMES.items()}
        return make_dict_structure_fn(kind, converter, **overrides)

    converter.register_structure_hook_factory(lambda kind: hasattr(kind, "STORED_NAMES"), renamed)
    return converter


def _plain(value: Any, kind: type) -> Any:
    """Return a text, truth value or number, if it is one of that kind; also called for enumerations of texts."""
    accepted = (int, float) if kind is float else (str,) if issubclass(kind, StrEnum) else (kind,)
    if type(value) not in accepted:
        raise TypeError(f"{value!r:.60} is no {kind.__name__}")
    if kind is float and not abs(value) < math.inf:
        raise ValueError(f"{value!r:.60} is no finite number")
    if kind is int and abs(value) >= WHOLE:
        raise ValueError(f"{value!r:.60} is too large")
    return printable(value) if kind is str else kind(value)


def file_path(value: Any) -> Path:
    """Return the path of a file beside the JSON; whatever folder it names is dropped. Raises ValueError."""
    if (name := Path(_encodable(value)).name) in ("", ".."):
        raise ValueError(f"{value!r:.60} is no file's name")
    return Path(name)


def _encodable(value: Any) -> str:
    """Return text that can be the name of a file. Raises ValueError where it is none."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{value!r:.60} is no file's name")
    value.encode()
    return value
