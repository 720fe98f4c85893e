"""Changes bytes, and the values of JSON; and holds the values that readers are apt to stumble over."""

import json
import math
import struct
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
