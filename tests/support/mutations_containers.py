"""Changes the parts of files that hold others: zip archives, numpy arrays, chunks of PNG."""

import io
import struct
import zipfile
import zlib
from random import Random

from support.mutations_basic import NUMBERS, TEXTS, of_bytes, of_json

BOMB = zlib.compress(bytes(2**26), 9)


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
    with zipfile.ZipFile(packed, "w") as archive:
        for item, data in members.items():
            entry = zipfile.ZipInfo(item.replace("\0", "_"), date_time=(1980, 1, 1, 0, 0, 0))  # not that of the clock
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, compresslevel=1)
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
