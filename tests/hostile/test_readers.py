"""Damaged and hostile files of every kind end in one error of ours, before they take time or memory."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from support import faults, fuzz
from support.mutations_containers import BOMB

from mnist_edge.core.errors import ArtifactError, DataError, FolderError, ModelError, PictureError
from mnist_edge.core.reading import reading
from mnist_edge.core.reference import Reference
from mnist_edge.core.text import one_line, printable
from mnist_edge.core.typed_json import parse, strict_json
from mnist_edge.data import dataset as data
from mnist_edge.data.idx import read_folder, read_npz
from mnist_edge.formats import FORMATS
from mnist_edge.formats.c_array import source as c_source
from mnist_edge.predict.picture import read as read_picture
from mnist_edge.report.html import _in_markdown, _in_one_line
from mnist_edge.training import store

ESCAPE = "\x1b[2J\x1b]0;owned\x07"
KINDS = {"json", "npz", "png", "idx", "onnx", "tflite"}


def archive(member: bytes) -> bytearray:
    """A zip archive with one array in it, which is stored as it is."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr("images.npy", member)
    return bytearray(packed.getvalue())


def npy(header: bytes, content: bytes = b"", version: bytes = b"\1\0") -> bytes:
    """An array with this header."""
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header + content


def in_headers(content: bytearray, local: int, central: int, value: int) -> bytes:
    """An archive with another number in both headers of its entry."""
    for signature, place in ((b"PK\3\4", local), (b"PK\1\2", central)):
        start = content.index(signature) + place
        content[start : start + 2] = struct.pack("<H", value)
    return bytes(content)


HEADER = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%s,), }"
WHOLE = npy(HEADER % b"3", b"abc")
ARRAYS = {
    "encrypted": in_headers(archive(WHOLE), 6, 8, 1),
    "compressed by method 14": in_headers(archive(WHOLE), 8, 10, 14),
    "compressed by method 99": in_headers(archive(WHOLE), 8, 10, 99),
    "zip file version": in_headers(archive(WHOLE), 4, 6, 255),
    "promises 784,000,000,000 bytes": bytes(archive(npy(HEADER % b"784000000000"))),
    "EOF in multi-line": bytes(archive(npy(b"{'descr': '|u1', (\n"))),
    "Object arrays": bytes(archive(npy((HEADER % b"1").replace(b"|u1", b"|O"), b"x"))),
    "npy version 9": bytes(archive(npy(HEADER % b"3", b"abc", b"\x09\0"))),
    "not a zip archive": b"hello",
    "of the 64-bit form": b"PK\6\7" + bytes(16) + b"PK\5\6" + bytes(18),
    "its directory takes 4,295 MB": b"PK\5\6" + bytes(8) + b"\xff\xff\xff\xff" + bytes(6),
}


@pytest.mark.parametrize("words", ARRAYS)
def test_arrays_that_are_not_read(words: str, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(ARRAYS[words])
    for read, kind in ((Reference.read, FolderError), (read_npz, DataError)):
        with pytest.raises(kind, match=words) as caught:
            read(tmp_path / "x.npz")
        assert "\n" not in str(caught.value)


def test_what_is_packed_is_known_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        zipped.writestr("images.npy", bytes(10**8 + 1))
    with pytest.raises(FolderError, match=r"what is packed in it takes 100 MB, and the limit is 100 MB"):
        Reference.read(tmp_path / "x.npz")
    compressor = zlib.compressobj(1, wbits=31)
    packed = b"".join(compressor.compress(bytes(10**7)) for _ in range(31)) + compressor.flush()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(packed)
    with pytest.raises(DataError, match="the limit is 300 MB"):
        read_folder(tmp_path)


def png(width: int, height: int, chunks: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    """A black-and-white PNG whose pixels are missing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    framed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (png(40_000, 40_000), "40,000 × 40,000 pixels takes 6,400 MB, and the limit is 200 MB"),
        (png(9_000, 9_000), "9,000 × 9,000 pixels takes 324 MB, and the limit is 200 MB"),
        (b"P3 5000 5000 255\n" + b"1 " * 100, "5,000 × 5,000 pixels takes 100 MB, and the limit is 17 MB"),
        (png(30, 30, ((b"zTXt", b"a\0\0" + BOMB),)), "too large"),
        (png(30, 30, ((b"iCCP", b"a\0\0" + BOMB),)), "too large"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "a program in PostScript"),
    ],
)
def test_pictures_that_are_not_read(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(PictureError, match=words):
        read_picture(tmp_path / "x.png")


def test_a_photo_of_200_megapixels_is_read_at_a_smaller_size(tmp_path: Path) -> None:
    photo = Image.new("L", (16_000, 12_600), 255)
    photo.paste(0, (7_500, 3_000, 8_500, 9_000))
    photo.save(tmp_path / "x.jpg", quality=50)
    assert read_picture(tmp_path / "x.jpg").max() == 255


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("weights_sha256",), 7),
        (("dataset",), {"name": "x", "train_sha256": []}),
        (("dataset", "train_sha256"), None),
        (("split",), []),
        (("split", "validation_share"), 1.5),
        (("split", "random_state"), -1),
        (("floor",), "high"),
        (("seed",), 1.5),
        (("history",), float("nan")),
    ],
)
def test_a_training_record_of_another_form(place: tuple[str, ...], value: Any, exports: Path, tmp_path: Path) -> None:
    record = json.loads((exports / "mlp" / "training.json").read_text())
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (tmp_path / "training.json").write_text(json.dumps(record))
    if place == ("history",):
        assert store._record(tmp_path)["history"] is None
        return
    with pytest.raises(ModelError, match=rf"training\.json is damaged \(.*{place[0]}|no training images.* Train again"):
        store.load(tmp_path)


def test_json_that_is_deep_long_or_no_text(tmp_path: Path) -> None:
    for text in ("[" * 100 + "]" * 100, "[" * 10**6, "\ud800"):
        with pytest.raises((ValueError, RecursionError)):
            parse(text)
    (tmp_path / "training.json").write_bytes(b" " * (32 * 10**6 + 1))
    with pytest.raises(ModelError, match="32 MB"):
        store.load(tmp_path)


def test_text_of_files_is_made_printable() -> None:
    assert printable(f"{ESCAPE}\ud800\u202e\x9b\n") == r"\x1b[2J\x1b]0;owned\x07\ud800\u202e\x9b" + "\n"
    assert one_line("a\nb\x1b") == r"a b\x1b"
    content = {ESCAPE: [float("nan"), float("inf"), 1.5, True, None, ("\ud800",)]}
    assert json.dumps(strict_json(content), allow_nan=False)
    assert strict_json(content) == {printable(ESCAPE): [None, None, 1.5, True, None, [r"\ud800"]]}


def test_text_of_files_is_no_markup_in_markdown() -> None:
    assert _in_markdown("a|b <script> [x](y)\n# z") == "a\\|b &lt;script> [x\\](y) # z"


def test_text_of_files_stays_in_its_line_on_a_page() -> None:
    assert _in_one_line(f" a\nPASS{ESCAPE}") == r" a PASS\x1b[2J\x1b]0;owned\x07"
    assert _in_one_line(3) == 3


def test_our_own_errors_and_missing_packages_pass_a_border() -> None:
    class OfOurs(ArtifactError):
        pass

    for error, seen in ((OfOurs("x"), OfOurs), (ImportError("x"), ImportError), (KeyError("x"), DataError)):
        with pytest.raises(seen), reading(DataError, "it cannot be read"):
            raise error
    words = r"it cannot be read \(it takes more memory than there is\)\. Buy some\."
    with pytest.raises(DataError, match=words), reading(DataError, "it cannot be read", "Buy some."):
        raise MemoryError


def network(path: Path, change: Callable[[Any], None] = lambda proto: None, factor: float = 0.1) -> Path:
    """Write a network of one layer that takes float pixels."""
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["image", "shape"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 28, 28])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [
            numpy_helper.from_array(np.array([1, 784]), "shape"),
            numpy_helper.from_array(np.full((784, 10), factor, np.float32), "w"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    change(proto)
    onnx.save(proto, path)
    return path


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_predict_says_where_a_file_gives_no_number(factor: float, tmp_path: Path) -> None:
    path = str(network(tmp_path / "x.onnx", factor=factor))
    arguments = ["predict", str(fuzz.PICTURE), "--artifact", path]
    for form in ([], ["--json"]):
        assert fuzz.run([*arguments, *form]) == 1  # which fails where NaN is printed, as JSON too


def test_escape_sequences_in_a_file_are_shown_as_text(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def change(proto: Any) -> None:
        proto.producer_name = ESCAPE
        proto.metadata_props.add(key=f"note{ESCAPE}", value=ESCAPE)

    path = str(network(tmp_path / "x.onnx", change))
    for arguments in (["inspect", path], ["inspect", path, "--json"]):
        assert fuzz.run(arguments) == 0  # which fails where anything printed is no text


@pytest.mark.parametrize(
    "text", ["/*" * 200_000, "uint8_t a[" * 100_000, "uint8_t a[]={" * 100_000, "/* mnist-edge: {" * 90_000]
)
def test_c_text_takes_no_long_time(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text(text)
    with pytest.raises(ArtifactError, match="is not a C file with a model in it"):
        c_source.read(tmp_path / "x.c")


def test_a_cached_dataset_with_another_pixel_is_told_and_not_used(
    mnist: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(data.VARIABLE, raising=False)
    data.cache_file().parent.mkdir()
    images = mnist.test.images.copy()
    for pixel, lines in ((0, 0), (1, 1)):
        images[5, 14, 14] ^= pixel
        arrays = {**dict(zip(("x_train", "y_train", "x_test", "y_test"), mnist.arrays, strict=True)), "x_test": images}
        np.savez(data.cache_file(), **arrays)  # type: ignore[arg-type]
        told: list[str] = []
        assert (data.load_local(notify=told.append) is None) is bool(pixel)
        assert len(told) == lines
        assert all("is not MNIST by its SHA-256" in line for line in told)


@pytest.fixture(scope="module")
def chosen(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[fuzz.Seed]]:
    """A small export and its files, but for Keras's and C's."""
    from support import faults

    folder = faults.only(exports / "mlp", tmp_path_factory.mktemp("hostile") / "mlp", "mlp-int8.onnx")
    found = [item for item in fuzz.seeds(folder) if item.kind in KINDS]
    assert {item.kind for item in found} == KINDS
    return folder, found


@pytest.mark.parametrize("part", range(2))
def test_no_mutated_file_is_a_traceback(part: int, chosen: tuple[Path, list[fuzz.Seed]]) -> None:
    folder, found = chosen
    faults = [
        fault for number in range(part * 60, part * 60 + 60) if (fault := fuzz.case(number, 13, found, folder)[1])
    ]
    assert faults == []


def test_the_same_numbers_make_the_same_file(chosen: tuple[Path, list[fuzz.Seed]]) -> None:
    from support.mutations import mutate

    for item in chosen[1]:
        assert mutate(item.kind, item.content, Random(3)) == mutate(item.kind, item.content, Random(3))


def test_an_input_of_gigabytes_is_refused_before_they_are_allocated(exports: Path, tmp_path: Path) -> None:
    def huge(model: Any, graph: Any) -> None:
        graph.tensors[graph.inputs[0]].shape = np.array([1, 28, 28, 11_730_945], np.int32)
        graph.tensors[graph.inputs[0]].shapeSignature = None

    path = tmp_path / "huge.tflite"
    path.write_bytes((exports / "mlp" / "mlp-int8.tflite").read_bytes())
    faults.edit_tflite(path, huge)
    with pytest.raises(ArtifactError, match="its input takes 9,197 MB, and the limit is 200 MB"):
        FORMATS["tflite"].open(path)
    assert "its input takes" in str(FORMATS["tflite"].describe(path))
