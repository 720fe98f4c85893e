"""Reads the JSON that this package writes into dataclasses, strictly: text is text, a number is a finite number."""

import json
import math
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from mnist_edge.core.errors import FolderError
from mnist_edge.core.files import DAMAGED

SCHEMA = 1  # of every JSON document
Document = TypeVar("Document")


def read_json(path: Path, kind: type[Document], advice: str) -> Document:
    """Return the content of a JSON file as a dataclass of this kind.

    Raises:
        FolderError: the file is damaged or has another schema; the message ends in `advice`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise FolderError(f"{path} has schema {content['schema']}, this version reads schema {SCHEMA}. {advice}")
        return structure(content, kind)
    except DAMAGED as error:
        raise FolderError(f"{path} is damaged ({type(error).__name__}: {error}). {advice}") from error


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
    converter.register_structure_hook(Path, _file_name)

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
    return kind(value)


def _file_name(value: Any, _: type) -> Path:
    """Return the path of a file beside the JSON; whatever folder it names is dropped."""
    if not isinstance(value, str) or (name := Path(value).name) in ("", ".."):
        raise ValueError(f"{value!r:.60} is no file's name")
    return Path(name)
