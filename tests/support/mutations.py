"""Mutates valid files at the level of bytes and of fields; the same random numbers give the same file."""

from collections.abc import Callable
from random import Random

from support.mutations_basic import of_bytes, of_json
from support.mutations_containers import of_png, of_zip
from support.mutations_models import of_flatbuffer, of_protobuf, of_text

FIELDS: dict[str, Callable[[bytes, Random], bytes]] = {
    "json": of_json,
    "onnx": of_protobuf,
    "tflite": of_flatbuffer,
    "npz": of_zip,
    "keras": of_zip,
    "png": of_png,
    "c": of_text,
}
"""How files of a kind are changed by their fields; others, an IDX file say, by their bytes alone."""


def mutate(kind: str, content: bytes, rng: Random) -> bytes:
    """Return a file of this kind with one to three changes, of its bytes or of its fields."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice((of_bytes, FIELDS[kind], FIELDS[kind])) if kind in FIELDS else of_bytes
        try:
            content = change(content, rng)
        except Exception:  # noqa: BLE001  # an earlier change left nothing that can be taken apart, or packed again
            content = of_bytes(content, rng)
    return content
