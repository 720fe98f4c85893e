"""The dataset: where it comes from, whether it is genuine MNIST, its splits, and balanced choices from it."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.errors import DataError
from mnist_edge.core.files import atomic_write
from mnist_edge.data.download import SOURCES
from mnist_edge.data.idx import Arrays, Bytes, header, read_folder, read_npz, write_npz

Indices = NDArray[np.int64]

VARIABLE = "MNIST_EDGE_DATA"
WAY_OUT = f"Give the data yourself: --data PATH or {VARIABLE}=PATH, an mnist.npz or a folder of the four IDX files."

# SHA-256 of the raw IDX files of MNIST by Yann LeCun, Corinna Cortes and Christopher Burges, CC BY-SA 3.0.
OFFICIAL = {
    "train": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "test": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}


@dataclass(frozen=True)
class Digits:
    """Images uint8 `[N, 28, 28]`, 0 black to 255 white, and labels uint8 `[N]`, 0 to 9."""

    images: Bytes
    labels: Bytes

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, indices: Indices) -> "Digits":
        """Return some of the digits."""
        return Digits(self.images[indices], self.labels[indices])

    @cached_property
    def idx_digests(self) -> tuple[str, str]:
        """Return the SHA-256 of the raw IDX files that would hold the images and the labels."""
        return _idx_digest(self.images), _idx_digest(self.labels)

    @cached_property
    def digest(self) -> str:
        """Return one SHA-256 for both arrays."""
        return hashlib.sha256("".join(self.idx_digests).encode()).hexdigest()


def _idx_digest(array: Bytes) -> str:
    digest = hashlib.sha256(header(array))
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """The training and the test digits, and where they come from."""

    train: Digits
    test: Digits
    source: str

    @property
    def arrays(self) -> Arrays:
        """Return the four arrays, as a file holds them."""
        return Arrays(self.train.images, self.train.labels, self.test.images, self.test.labels)

    @cached_property
    def genuine(self) -> bool:
        """Return whether all four arrays are MNIST's own, by SHA-256."""
        return self.train.idx_digests == OFFICIAL["train"] and self.test.idx_digests == OFFICIAL["test"]

    @property
    def name(self) -> str:
        """Return `MNIST`, or that it is not, with the digest of its test set."""
        return "MNIST" if self.genuine else f"not MNIST (test set {self.test.digest[:12]})"


def cache_file() -> Path:
    """Return where a downloaded dataset is kept."""
    from platformdirs import user_cache_path

    return user_cache_path("mnist-edge") / "mnist.npz"


def load_mnist(path: str | Path | None = None, notify: Callable[[str], None] = lambda line: None) -> Dataset:
    """Return the dataset from `path`, else `MNIST_EDGE_DATA`, else our cache, else the network.

    Args:
        path: an `mnist.npz` or a folder of IDX files.
        notify: called with one line before a download starts, and where the cache is damaged.

    Raises:
        DataError: the named data cannot be used, or no source has any; the message names all that was tried.
    """
    if dataset := load_local(path, notify):
        return dataset
    tried = [f"the cache {cache_file()} ({'damaged' if cache_file().is_file() else 'nothing there'})"]
    for name, download in SOURCES.items():
        notify(f"MNIST is not in the cache; trying {name} …")
        try:
            dataset = _checked(download(), name)
            if not dataset.genuine:
                raise DataError("what came is not MNIST by its SHA-256")
        except DataError as error:
            tried.append(f"{name} ({error})")
            continue
        with atomic_write(cache_file()) as temporary:
            write_npz(temporary, dataset.arrays)
        return dataset
    raise DataError(f"no MNIST found. Tried {'; '.join(tried)}. {WAY_OUT}")


def load_local(path: str | Path | None = None, notify: Callable[[str], None] = lambda line: None) -> Dataset | None:
    """Return the dataset from `path`, `MNIST_EDGE_DATA` or the cache; None where only the network has it.

    A damaged cache counts as none, and `notify` is told. Raises DataError where the data that was named cannot be used.
    """
    variable = os.environ.get(VARIABLE)
    named = path or variable
    if not named:
        return _cached(notify)
    if not Path(named).exists():
        origin = f"{VARIABLE}: " if path is None else ""
        raise DataError(f"{origin}{named} does not exist. {WAY_OUT}")
    return _read(Path(named))


def _cached(notify: Callable[[str], None]) -> Dataset | None:
    """Return MNIST from the cache, which holds nothing else, by its digest; None where it is not there or damaged."""
    if not cache_file().is_file():
        return None
    try:
        dataset = _read(cache_file())
        if not dataset.genuine:
            raise DataError(f"{cache_file()} is not MNIST by its SHA-256.")
    except DataError as error:
        notify(f"Note: the cached dataset is damaged and not used: {error}")
        return None
    return dataset


def _read(path: Path) -> Dataset:
    if path.is_dir() and (path / "mnist.npz").is_file():
        path = path / "mnist.npz"
    return _checked(read_folder(path) if path.is_dir() else read_npz(path), str(path))


def _checked(arrays: Arrays, source: str) -> Dataset:
    """Return the dataset that the arrays hold. Raises DataError where they do not have MNIST's form."""
    for part, images, labels in (("training", *arrays[:2]), ("test", *arrays[2:])):
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
            raise DataError(
                f"{source}: {part} images are {images.dtype} {list(images.shape)}, not uint8 [N, 28, 28]. {WAY_OUT}"
            )
        if labels.ndim != 1 or labels.dtype.kind not in "iu" or len(labels) != len(images):
            raise DataError(
                f"{source}: {part} labels are {labels.dtype} {list(labels.shape)} for {len(images)} images. {WAY_OUT}"
            )
        if set(np.unique(labels).tolist()) != set(range(10)):
            raise DataError(f"{source}: {part} labels are not the ten classes 0 to 9. {WAY_OUT}")
    train, test = (Digits(images, labels.astype(np.uint8)) for images, labels in (arrays[:2], arrays[2:]))
    return Dataset(train, test, source)


def split(count: int, validation: float | None, random_state: int | None) -> tuple[Indices, Indices]:
    """Return a split of training indices as scikit-learn's `train_test_split` does.

    Args:
        count: how many training images there are.
        validation: the share held out, or None to train on all.
        random_state: scikit-learn's seed.

    Returns:
        int64 indices of the training split and of the validation split (empty where `validation` is None).
    """
    indices = np.arange(count, dtype=np.int64)
    if validation is None:
        return indices, indices[:0]
    from sklearn.model_selection import train_test_split

    train, held_out = train_test_split(indices, test_size=validation, random_state=random_state)
    return train, held_out


def balanced(labels: Bytes, among: Indices, per_class: int, seed: int) -> Indices:
    """Return `per_class` indices of each class out of `among`, the same ones for the same seed, in rising order.

    A class with fewer members gives all it has.
    """
    rng = np.random.default_rng(seed)
    selected = [rng.permutation(among[labels[among] == digit])[:per_class] for digit in range(10)]
    return np.sort(np.concatenate(selected))
