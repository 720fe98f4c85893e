"""Read and encode MNIST's IDX files and `mnist.npz`; nothing is ever unpickled."""

import gzip
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.archives import read_arrays
from mnist_edge.core.errors import DataError
from mnist_edge.core.reading import MEGABYTE, check_size, read_bytes, reading

Bytes = NDArray[np.uint8]


class Arrays(NamedTuple):
    """The four arrays of an MNIST-like dataset: uint8 images `[N, 28, 28]` and labels `[N]`."""

    train_images: Bytes
    train_labels: Bytes
    test_images: Bytes
    test_labels: Bytes


MOST_BYTES = 300 * MEGABYTE  # of a dataset, unpacked; MNIST takes 55, EMNIST's digits 220
STEMS = ("train-images", "train-labels", "t10k-images", "t10k-labels")
NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")


def header(array: Bytes) -> bytes:
    """Return what a raw IDX file that holds `array` has before its bytes."""
    return b"\0\0\x08" + bytes([array.ndim]) + np.asarray(array.shape, ">u4").tobytes()


def encode(array: Bytes) -> bytes:
    """Return the bytes of the raw IDX file that holds `array`."""
    return header(array) + array.tobytes()


def decode(raw: bytes, name: str) -> Bytes:
    """Read an IDX file of bytes. Raises DataError, naming `name`, where it is not one or is truncated."""
    if len(raw) < 4 or raw[:3] != b"\0\0\x08" or raw[3] not in (1, 3):
        raise DataError(f"{name} is not an IDX file of bytes (its first bytes are {raw[:4].hex(' ') or 'none'}).")
    start = 4 + 4 * raw[3]
    shape = tuple(int.from_bytes(raw[at : at + 4], "big") for at in range(4, start, 4))
    if len(raw) < start or len(raw) - start != math.prod(shape):
        raise DataError(
            f"{name} is truncated or damaged: {len(raw)} bytes, its header promises {start + math.prod(shape)}."
        )
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def read_folder(folder: Path) -> Arrays:
    """Read four IDX files, raw or `.gz`, spelled `train-images-idx3-ubyte` or `train-images.idx3-ubyte`."""
    return Arrays(*(_read_idx(folder, stem) for stem in STEMS))


def _read_idx(folder: Path, stem: str) -> Bytes:
    kind = "idx3" if stem.endswith("images") else "idx1"
    for name in (f"{stem}{dash}{kind}-ubyte{gz}" for gz in ("", ".gz") for dash in "-."):
        path = folder / name
        if not path.is_file():
            continue
        if not name.endswith(".gz"):
            with reading(DataError, f"{path} cannot be read"):
                return decode(read_bytes(path, MOST_BYTES), str(path))
        with reading(DataError, f"{path} is not a whole gzip file", "Download it again."), gzip.open(path) as file:
            raw = file.read(MOST_BYTES + 1)
            check_size(len(raw), MOST_BYTES, "what is packed in it")
        return decode(raw, str(path))
    raise DataError(f"{folder} has no {stem}-{kind}-ubyte (nor with a dot, nor .gz), which MNIST's IDX form needs.")


def read_npz(path: Path) -> Arrays:
    """Read `mnist.npz` as Keras writes it (`x_train`, `y_train`, `x_test`, `y_test`)."""
    with reading(DataError, f"{path} is not an mnist.npz that can be read"):
        content = read_arrays(path, MOST_BYTES)
        if missing := [key for key in NPZ_KEYS if key not in content]:
            raise DataError(f"{path} has no {', '.join(missing)}: it is not an mnist.npz.")
        return Arrays(*(content[key] for key in NPZ_KEYS))


def write_npz(path: Path, arrays: Arrays) -> None:
    """Write `arrays` in the form that `read_npz` reads."""
    content: dict[str, Any] = dict(zip(NPZ_KEYS, arrays, strict=True))
    with path.open("wb") as file:
        np.savez_compressed(file, **content)
