"""Zip archives and NumPy arrays of others: what they take in memory is known before it is read."""

import math
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.reading import check_size

ENCRYPTED = 1  # the bit of an entry's flags
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy and Keras write; others need much memory themselves
MOST_DIRECTORY = 4 * 10**6  # bytes: each entry becomes an object of many times its size
END, END_SIZE, LONGEST_COMMENT = b"PK\5\6", 22, 2**16
LOCATOR, LOCATOR_SIZE = b"PK\6\7", 20


@contextmanager
def open_zip(path: Path, most: int) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose entries take at most so many bytes together.

    Raises:
        ValueError, BadZipFile: they take more, are encrypted or compressed in an unusual way, or it is damaged.
    """
    _check_directory(path)
    with zipfile.ZipFile(path) as archive:
        check_size(sum(entry.file_size for entry in archive.infolist()), most, "what is packed in it")
        for entry in archive.infolist():
            if entry.flag_bits & ENCRYPTED:
                raise ValueError(f"its {entry.filename} is encrypted")
            if entry.compress_type not in METHODS:
                raise ValueError(f"its {entry.filename} is compressed by method {entry.compress_type}, not by deflate")
        yield archive


def _check_directory(path: Path) -> None:
    """Raise ValueError where the directory of an archive is too long to be read; found as `zipfile` finds it."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - END_SIZE - LONGEST_COMMENT))
        tail = file.read()
    plain = tail[-END_SIZE:].startswith(END) and tail.endswith(b"\0\0")
    place = len(tail) - END_SIZE if plain else tail.rfind(END)
    if place < 0:
        raise ValueError("it is not a zip archive")
    if tail[max(0, place - LOCATOR_SIZE) : place].startswith(LOCATOR):
        raise ValueError("it is a zip archive of the 64-bit form")
    check_size(int.from_bytes(tail[place + 12 : place + 16], "little"), MOST_DIRECTORY, "its directory")


def read_arrays(path: Path, most: int) -> dict[str, Any]:
    """Return the arrays of an `.npz`, which take at most so many bytes together.

    Raises:
        ValueError, BadZipFile: they take more, or the file is damaged; NumPy and zlib raise other errors too.
    """
    with open_zip(path, most) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers of Python 2
        return {entry.filename.removesuffix(".npy"): _read_array(archive, entry) for entry in archive.infolist()}


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    """Return an array whose header promises just what there is; one of Python objects is refused by NumPy."""
    readers = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    with archive.open(entry) as member:
        version = np.lib.format.read_magic(member)
        if version[0] not in readers:
            raise ValueError(
                f"its {entry.filename} is of npy version {version[0]}, which NumPy writes for no array here"
            )
        shape, _, dtype = readers[version[0]](member)
        promised, there = math.prod(shape) * dtype.itemsize, entry.file_size - member.tell()
        if promised != there and not dtype.hasobject:
            raise ValueError(f"the header of its {entry.filename} promises {promised:,} bytes, and there are {there:,}")
    with archive.open(entry) as member:
        return np.asarray(np.lib.format.read_array(member, allow_pickle=False))
