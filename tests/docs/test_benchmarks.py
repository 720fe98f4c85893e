"""The pieces of the benchmark of other runtimes that need none of them: our own calls, found ranges, the table."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from peers import PEERS, also, litert, onnx_runtime
from peers.environment import FOLDER, PINS
from peers.network import Bytes, Network, accuracy
from peers.report import table
from peers.scales import RANGES, probabilities
from peers.scales import table as numbers

from docs import ROOT


@pytest.fixture(scope="module")
def digits(exports: Path) -> tuple[Bytes, Bytes]:
    """200 images with their labels."""
    with np.load(exports / "cnn" / "reference.npz") as content:
        return content["images"][:200], content["labels"][:200]


@pytest.mark.parametrize("name", ["cnn-float32.onnx", "cnn-float32.tflite", "cnn-int8.onnx", "cnn-int8.tflite"])
def test_the_calls_of_our_own_files_read_digits(name: str, exports: Path, digits: tuple[Bytes, Bytes]) -> None:
    module = onnx_runtime if name.endswith(".onnx") else litert
    call = module.open_call(exports / "cnn" / name)
    assert accuracy(call, *digits) > 0.9
    output = call(digits[0][0])
    assert (output.shape, output.dtype) == ((10,), np.float32)
    assert float(output.sum()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", ["cnn-float32.onnx", "cnn-float32.tflite"])
def test_the_range_of_a_file_is_found(name: str, exports: Path, digits: tuple[Bytes, Bytes]) -> None:
    assert also.range_of(exports / "cnn" / name, *digits) == "0..1"
    inverted = 255 - digits[0]
    assert also.range_of(exports / "cnn" / name, inverted, digits[1]) == "1..0"


def test_an_integer_input_takes_what_its_scale_says() -> None:
    raw = numbers(np.dtype(np.uint8), RANGES["0..1"], 1 / 255, 0)
    assert raw.tolist() == list(range(256))
    assert numbers(np.dtype(np.int8), RANGES["0..1"], 1 / 255, -128).tolist() == list(range(-128, 128))
    assert numbers(np.dtype(np.uint8), RANGES["255..0"]).tolist() == list(range(255, -1, -1))


def test_logits_become_probabilities() -> None:
    logits = np.arange(10, dtype=np.float32)
    image = np.zeros((28, 28), np.uint8)
    output = probabilities(lambda image: logits, image)(image)
    assert float(output.sum()) == pytest.approx(1, abs=1e-6)
    assert output.argmax() == 9


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_is_complete_and_pinned(name: str) -> None:
    peer = import_module(f"peers.{name}")
    assert peer.RUNTIME
    assert all(callable(route) for route in peer.ROUTES.values())
    pins = {line.partition("==")[0].lower() for line in PINS.read_text(encoding="utf-8").splitlines()}
    packages = [*peer.PACKAGES, *getattr(peer, "ALONE", ())]
    assert {package.partition("[")[0].lower() for package in packages} <= pins


def test_a_network_comes_back_from_its_file(tmp_path: Path) -> None:
    network = Network("cnn", *(tmp_path / name for name in "abcdef"))
    network.write(tmp_path / "network.json")
    assert Network.read(tmp_path / "network.json") == network


def test_the_table_marks_the_fastest_right_file_and_tells_a_wrong_one() -> None:
    def row(peer: str, precision: str, accuracy: float, ns: int) -> dict[str, object]:
        about = {"key": f"{peer} {precision}", "peer": peer, "precision": precision, "path": "x", "bytes": 1024}
        return {**about, "accuracy": accuracy, "warm_ns": [[ns]] * 3, "cold_ns": [[10 * ns]] * 3}

    rows = [row("litert", "int8", 0.98, 2000), row("mnn_session", "float32", 0.98, 1000)]
    rows += [row("ncnn_net", "float32", 0.5, 100), {"peer": "ncnn_net", "precision": "int8", "error": "no tools"}]
    lines = table([{"network": "cnn", "keras": 0.98, "rows": rows}]).splitlines()
    assert [("fastest" in line, "wrong" in line) for line in lines[2:5]] == [(0, 0), (1, 0), (0, 1)]
    assert "0.50× (0.50–0.50)" in lines[3]
    assert lines[-1] == "- `cnn`, ncnn, int8: no tools"


def test_the_readme_of_the_benchmarks_names_every_script() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    scripts = [path for path in FOLDER.glob("*.py") if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]
    assert len(scripts) > 15
    assert not [path.name for path in scripts if f"`{path.name}`" not in text]
    assert (ROOT / "Makefile").read_text(encoding="utf-8").count("\nbench") >= 2
