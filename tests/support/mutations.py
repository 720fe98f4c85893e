"""Mutates valid files at the level of bytes and of fields; the same random numbers give the same file."""

import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

TEXTS = (
    "",
    "\x1b[2J\x1b]0;owned\x07",
    "\ud800",
    "\0",
    "a\nPASS  all",
    "\u202e\u2028\x85\x9b31m",
    "../../etc/passwd",
    "..",
    "<script>alert(1)</script>",
    "{{7*7}} $x %s {0}",
    "x" * 70_000,
    "é😀",
)
NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 2**15, 2**31 - 1, 2**31, -(2**31), 2**32, 2**53, 2**63 - 1, 2**63, -(2**63))
REALS = (0.0, -0.0, 1e-45, 1e38, 1e308, math.nan, math.inf, -math.inf, -1.5)
JSON_VALUES: tuple[Any, ...] = (None, True, False, [], {}, [[]], {"": None}, 10**400, *TEXTS, *NUMBERS, *REALS)
BOMB = zlib.compress(bytes(2**26), 9)


def mutate(kind: str, content: bytes, rng: Random) -> bytes:
    """Return a file of this kind with one to three changes, of its bytes or of its fields."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice((of_bytes, FIELDS[kind], FIELDS[kind])) if kind in FIELDS else of_bytes
        try:
            content = change(content, rng)
        except Exception:  # noqa: BLE001  # an earlier change left nothing that can be taken apart, or packed again
            content = of_bytes(content, rng)
    return content


def of_bytes(content: bytes, rng: Random) -> bytes:
    """Return bytes with some of them changed, cut, doubled, moved or put in."""
    data = bytearray(content)
    place = rng.randrange(len(data) + 1)
    length = rng.choice((1, 2, 4, 8, 64, 1000))
    match rng.randrange(7):
        case 0:
            for _ in range(rng.choice((1, 3, 30))):
                if data:
                    data[rng.randrange(len(data))] = rng.randrange(256)
        case 1 if data:
            data[place % len(data)] ^= 1 << rng.randrange(8)
        case 2:
            del data[place:]
        case 3:
            del data[place : place + length]
        case 4:
            data[place:place] = data[place : place + length] * rng.choice((1, 2, 50))
        case 5:
            data[place : place + 4] = struct.pack("<q", rng.choice(NUMBERS[:-2]))[:4]
        case _:
            data[place:place] = rng.randbytes(length)
    return bytes(data)


def of_json(content: bytes, rng: Random) -> bytes:
    """Return JSON with a value, a key or the depth changed."""
    document = json.loads(content)
    places: list[tuple[Any, Any]] = []
    todo: list[Any] = [document]
    while todo:
        item = todo.pop()
        keys = list(item) if isinstance(item, dict) else range(min(len(item), 50)) if isinstance(item, list) else ()
        places += [(item, key) for key in keys]
        todo += [item[key] for key in keys]
    holder, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(TEXTS)] = holder.pop(key)
        case 2:
            other, there = rng.choice(places)
            holder[key], other[there] = other[there], holder[key]
        case 3:
            return (
                json.dumps(document)
                .replace(json.dumps(holder[key]), "[" * (depth := rng.choice((70, 5000, 10**6))) + "]" * depth, 1)
                .encode()
            )
        case 4 if isinstance(holder[key], str):
            holder[key] += rng.choice(TEXTS)
        case _:
            holder[key] = rng.choice(JSON_VALUES)
    return json.dumps(document, ensure_ascii=rng.random() < 0.9).encode(errors="surrogatepass")


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


def of_zip(content: bytes, rng: Random) -> bytes:
    """Return a zip archive with a member changed, as what it is; or with its directory changed."""
    if rng.random() < 0.3:
        return _of_directory(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    name = rng.choice(list(members))
    match rng.randrange(6):
        case 0:
            members[rng.choice(TEXTS).encode(errors="replace").decode() or "x"] = members.pop(name)
        case 1:
            del members[name]
        case 2 if len(members[name]) < 10**6:
            members[name] += bytes(2**26)
        case _:
            ending = name.rpartition(".")[2]
            members[name] = {"json": of_json, "npy": of_npy}.get(ending, of_bytes)(members[name], rng)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for item, data in members.items():
            archive.writestr(item.replace("\0", "_"), data)
    return packed.getvalue()


def _of_directory(content: bytes, rng: Random) -> bytes:
    """Return an archive with another number in one of its headers: flags, method, sizes, offsets."""
    data = bytearray(content)
    signature, fields = rng.choice(
        ((b"PK\3\4", (4, 6, 8, 14, 18, 22, 26, 28)), (b"PK\1\2", (6, 8, 10, 16, 20, 24, 28, 42)))
    )
    places = [place for place in range(len(data) - 46) if data[place : place + 4] == signature]
    place = rng.choice(places) + rng.choice(fields)
    size = rng.choice((2, 2, 4))
    data[place : place + size] = struct.pack("<Q", rng.choice((0, 1, 8, 14, 99, 255, 2**16 - 1, 2**31, 2**32 - 1)))[
        :size
    ]
    return bytes(data)


def of_npy(content: bytes, rng: Random) -> bytes:
    """Return an `.npy` file with another header."""
    length = int.from_bytes(content[8:10], "little")
    header = content[10 : 10 + length].decode("latin-1")
    words = (
        ("'shape': (", f"'shape': ({rng.choice(NUMBERS)}, "),
        ("'descr': '", f"'descr': '{rng.choice(('|O', '<U9999999', '|V3', '<M8', '>f8', '', '|S0', '<c16', 'x'))}"),
        ("False", rng.choice(("True", "1", "None", "(" * 500))),
        ("{", rng.choice(("{" * 300, "", "{'a': ", "{**", "lambda: {"))),
        ("}", rng.choice(("", "\n\n(", "}'''", "} " * 3000))),
        ("'shape'", "'form'"),
    )
    old, new = rng.choice(words)
    header = header.replace(old, new, 1)
    version = rng.choice((b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\x09\0"))
    raw = header.encode("latin-1", errors="replace")
    size = struct.pack("<I", len(raw)) if version[0] in (2, 3) else struct.pack("<H", len(raw) % 2**16)
    return b"\x93NUMPY" + version + size + raw + content[10 + length :]


def of_png(content: bytes, rng: Random) -> bytes:
    """Return a PNG with a chunk changed, its checksum right again."""
    chunks, place = [], 8
    while place + 8 <= len(content):
        (size,) = struct.unpack(">I", content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    index = rng.randrange(len(chunks))
    kind, data = chunks[index]
    match rng.randrange(6):
        case 0:
            del chunks[index]
        case 1:
            chunks.insert(index, chunks[index])
        case 2 if chunks[0][0] == b"IHDR":
            header = bytearray(chunks[0][1])
            at = rng.choice((0, 4, 8, 9, 10, 11, 12))
            if at < 8:
                header[at : at + 4] = struct.pack(">I", rng.choice((0, 1, 7000, 40_000, 2**31 - 1)))
            else:
                header[at] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
            chunks[0] = b"IHDR", bytes(header)
        case 3:
            name, head = rng.choice(
                ((b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"), (b"iCCP", b"a\0\0"), (b"eXIf", b"MM\0*"))
            )
            chunks.insert(1, (name, head + rng.choice((BOMB, rng.randbytes(50)))))
        case 4:
            chunks[index] = kind, of_bytes(data, rng)
        case _:
            chunks[index] = (
                rng.choice((b"tRNS", b"PLTE", b"gAMA", b"acTL", b"fcTL", b"sRGB", kind)),
                of_bytes(data, rng),
            )
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


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
