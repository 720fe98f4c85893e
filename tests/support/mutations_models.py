"""Changes the fields of model files: protobuf of ONNX, flatbuffers of TFLite, text of C."""

import io
import zipfile
from random import Random
from typing import Any

from support.mutations_basic import NUMBERS, REALS, TEXTS, of_json


def of_protobuf(content: bytes, rng: Random) -> bytes:
    """Return an ONNX file with a field of one of its messages changed."""
    import onnx

    model = onnx.ModelProto.FromString(content)
    messages: list[Any] = [model]
    for message in messages:
        for field, value in message.ListFields():
            if field.message_type is not None:
                messages += list(value) if _repeated(field) else [value]
    message = rng.choice(messages)
    fields = list(message.DESCRIPTOR.fields)
    field = (
        rng.choice([item for item, _ in message.ListFields()] or fields) if rng.random() < 0.8 else rng.choice(fields)
    )
    values = getattr(message, field.name)
    if _repeated(field):
        _change_repeated(message, field, values, rng)
    elif field.message_type is not None:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _fitting(field, rng))
    return bytes(model.SerializeToString())


def _repeated(field: Any) -> bool:
    return bool(field.label == field.LABEL_REPEATED if hasattr(field, "LABEL_REPEATED") else field.is_repeated)


def _change_repeated(message: Any, field: Any, values: Any, rng: Random) -> None:
    action = rng.randrange(4)
    if action == 0 or not values:
        message.ClearField(field.name)
    elif action == 1:
        del values[rng.randrange(len(values))]
    elif field.message_type is not None:
        values.extend([rng.choice(list(values))] * rng.choice((1, 2, 1000)))
    elif action == 2:
        values[rng.randrange(len(values))] = _fitting(field, rng)
    else:
        values.extend([_fitting(field, rng)] * rng.choice((1, 3, 1000)))


def _fitting(field: Any, rng: Random) -> Any:
    """Return a value of a scalar field's type, an unusual one."""
    kinds = type(field)
    if field.type in (kinds.TYPE_STRING,):
        return rng.choice(TEXTS).encode(errors="replace").decode()
    if field.type == kinds.TYPE_BYTES:
        return rng.choice((b"", b"\xff\xfe", rng.randbytes(100), bytes(3)))
    if field.type in (kinds.TYPE_FLOAT, kinds.TYPE_DOUBLE):
        return rng.choice(REALS[:4] + REALS[5:])
    wide = field.type in (kinds.TYPE_INT64, kinds.TYPE_UINT64, kinds.TYPE_SINT64)
    unsigned = field.type in (kinds.TYPE_UINT64, kinds.TYPE_UINT32)
    fitting = [
        item
        for item in NUMBERS
        if (0 if unsigned else -(2 ** (63 if wide else 31))) <= item < 2 ** (63 if wide else 31)
    ]
    return rng.choice((*fitting, rng.randrange(30)))


def of_flatbuffer(content: bytes, rng: Random) -> bytes:
    """Return a TFLite file with a field of one of its tables changed."""
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    tables: list[Any] = [model]
    for table in tables:
        for value in vars(table).values():
            tables += [item for item in (value if isinstance(value, list) else [value]) if hasattr(item, "__dict__")]
    table = rng.choice(tables)
    name = rng.choice(list(vars(table)))
    value = getattr(table, name)
    changed: Any
    if isinstance(value, np.ndarray) and rng.random() < 0.7 and value.size:
        changed = value.copy()
        numbers: tuple[Any, ...] = REALS if changed.dtype.kind == "f" else NUMBERS
        with np.errstate(all="ignore"):
            changed.flat[rng.randrange(changed.size)] = np.array([rng.choice(numbers)]).astype(changed.dtype)[0]
    elif isinstance(value, np.ndarray | list):
        size = len(value)
        cut = rng.randrange(size + 1)
        changed = rng.choice((None, value[:cut], [*value, *value[cut:], *value[-1:] * rng.choice((1, 300))]))
    elif isinstance(value, bool):
        changed = not value
    elif isinstance(value, int):
        changed = rng.choice([item for item in NUMBERS if -(2**31) <= item < 2**31] + list(range(30)))
    elif isinstance(value, bytes | str):
        changed = rng.choice((None, b"\xff\xfe", *(text.encode(errors="replace") for text in TEXTS)))
    else:
        changed = None
    setattr(table, name, changed)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    start = min((entry.header_offset for entry in _entries(content)), default=len(content))
    return bytes(builder.Output()) + content[start:]


def _entries(content: bytes) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.infolist()
    except zipfile.BadZipFile:
        return []


def of_text(content: bytes, rng: Random) -> bytes:
    """Return a C file with a word of it changed, or with the JSON in its comment changed."""
    text = content.decode(errors="replace")
    before, mark, rest = text.partition("/* mnist-edge: ")
    if mark and rng.random() < 0.5:
        told, end, after = rest.partition(" */")
        return f"{before}{mark}{of_json(told.encode(), rng).decode(errors='replace')}{end}{after}".encode()
    words = (
        ("0x", rng.choice(("9", "-", "x", "0x1FF, 0x"))),
        ("{", "{{"),
        ("}", ""),
        ("/*", "/* /*"),
        ("unsigned", "uint8_t"),
    )
    old, new = rng.choice(words)
    return text.replace(old, new, rng.choice((1, 5, -1))).encode()
