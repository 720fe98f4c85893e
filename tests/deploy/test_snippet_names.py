"""Whatever a file and its ends are called, the printed code says it in its language, and says nothing else."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from support.commands import Run
from support.printed import SOURCES, outputs

from mnist_edge.core.reference import Reference
from mnist_edge.deploy.snippets import snippet

pytestmark = pytest.mark.extra("another runtime")

ODD = "\n\r\t\x01\x1b[31m\x7f\u202e\u2028\U000e0041"  # control characters and others that do not print
FILE = f'q"u\'o\\te`${{process.exit(3)}} % ??! * """ coding=latin-9 {ODD}é\U0001f6001.onnx'
ENDS = ('in"\\ ??/ */ /* ${x} $y \x01\x1f1\u2028\n#coding:x', 'out\'"""\\u0041 \u202e\r\n??/')
IMAGES = 5


@pytest.fixture(scope="module")
def odd(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of nobody's, with odd names inside and out."""
    proto = onnx.load(exports / "mlp" / "mlp-int8.onnx")
    del proto.metadata_props[:]
    renamed = dict(zip(("image", "probabilities"), ENDS, strict=True))
    for value in (*proto.graph.input, *proto.graph.output):
        value.name = renamed[value.name]
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    path = tmp_path_factory.mktemp("odd") / FILE
    onnx.save(proto, path)
    return path


@pytest.mark.parametrize("language", SOURCES)
def test_odd_names_of_a_file_and_its_ends(
    language: str, odd: Path, exports: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    golden = Reference.read(exports / "mlp" / "reference.npz")
    code = snippet(odd, language)
    assert all(line.isprintable() for line in code.splitlines())
    found = outputs(code, language, odd, golden.images[:IMAGES], tmp_path, request)
    assert found.shape == (IMAGES, 10)
    assert np.abs(found - golden.outputs["mlp-int8.onnx"][:IMAGES]).max() < 1e-2


def test_a_name_that_no_c_string_can_have_is_refused(odd: Path, run: Run, tmp_path: Path) -> None:
    proto = onnx.load(odd)
    for names in (proto.graph.output[0], *proto.graph.node):
        fields = [names.output] if hasattr(names, "op_type") else []
        for field in fields:
            field[:] = ["a\0b" if name == ENDS[1] else name for name in field]
    proto.graph.output[0].name = "a\0b"
    onnx.save(proto, tmp_path / "null.onnx")
    assert "null character" in run("snippet", tmp_path / "null.onnx", check=2).stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("snippet", "NAME.onnx"),
        ("inspect", "NAME.tflite"),
        ("predict", "NAME.png", "--artifact", "x.onnx"),
        ("predict", "x.png", "--artifact", "NAME.onnx"),
        ("verify", "NAME"),
        ("verify", "x.onnx", "--reference", "NAME.npz"),
        ("verify", "x", "--junit", "NAME.xml"),
        ("bench", "NAME"),
        ("demo", "NAME"),
        ("report", "NAME"),
        ("report", "x", "--device", "NAME"),
        ("bundle", "x", "--out", "NAME.tar.gz"),
        ("export", "--from", "NAME.keras"),
        ("export", "--out", "NAME"),
        ("train", "--data", "NAME"),
        ("device", "run", "pi@board", "NAME"),
        ("device", "emulate", "rpi4", "NAME"),
    ],
    ids=" ".join,
)
def test_a_name_that_is_not_text_is_refused(arguments: tuple[str, ...], run: Run, tmp_path: Path) -> None:
    odd = os.fsdecode(b"bad\xff")
    done = run(*(argument.replace("NAME", odd) for argument in arguments), check=2, cwd=tmp_path)
    assert "is not UTF-8, which the runtimes cannot open. Rename it." in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_errors_show_control_characters_instead_of_sending_them(run: Run, tmp_path: Path) -> None:
    done = run("snippet", "no\x1b[31m\u202e\nne.onnx", check=2, cwd=tmp_path)
    assert done.stderr == "error: there is no file no\\x1b[31m\\u202e ne.onnx.\n"
