"""The C array: compilers take it without a word, and TensorFlow Lite Micro computes from its bytes what it should."""

import ctypes
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import Run
from support.micro import ALONE, STEM, WORDS, call, macros, outputs_of, tool

from mnist_edge.core.contract import IOOptions, Precision
from mnist_edge.core.errors import ConversionError
from mnist_edge.core.optional import require_keras
from mnist_edge.core.reference import Reference
from mnist_edge.data.dataset import Dataset
from mnist_edge.export import export_folder
from mnist_edge.export.inputs import load_inputs
from mnist_edge.export.plan import ExportPlan
from mnist_edge.formats import FORMATS
from mnist_edge.formats.c_array import source as c_source
from mnist_edge.training import store
from mnist_edge.training.own_model import adopt

pytestmark = pytest.mark.extra("a Debian package")

ROOT = Path(__file__).parents[2]
ARM = ["-mcpu=cortex-m4", "-mthumb"]
COMPILERS = [
    ("gcc", ["-std=c11"]),
    ("gcc", ["-std=c99"]),
    ("g++", ["-std=c++11", "-x", "c++"]),
    ("g++", ["-std=c++20", "-x", "c++"]),
    ("arm-none-eabi-gcc", ["-std=c11", *ARM]),
    ("arm-none-eabi-gcc", ["-std=c99", *ARM]),
    ("arm-none-eabi-g++", ["-std=c++17", "-x", "c++", *ARM]),
]


def test_the_array_is_the_tflite_file_without_its_json(mcu: Path) -> None:
    for stem in (STEM, "cnn-int8-logits-io8"):
        content, told = c_source.read(mcu / "cnn" / f"{stem}.c")
        whole = (mcu / "cnn" / f"{stem}.tflite").read_bytes()
        assert whole.startswith(content + b"PK\x03\x04")
        header = (mcu / "cnn" / f"{stem}.h").read_text()
        assert told["sha256"] == c_source.digest(content)
        assert told["sha256"] in header


@pytest.mark.parametrize(("compiler", "flags"), COMPILERS, ids=[" ".join([name, *flags]) for name, flags in COMPILERS])
def test_compilers_take_it_and_keep_every_byte(mcu: Path, tmp_path: Path, compiler: str, flags: list[str]) -> None:
    tool(compiler)
    source, binary = mcu / "cnn" / f"{STEM}.c", "arm-none-eabi-" if compiler.startswith("arm-") else ""
    name, target = c_source.identifier(STEM), tmp_path / "array.o"
    call(compiler, *flags, *WORDS, *ALONE, "-fdata-sections", "-c", source, "-o", target)
    sections = call(f"{binary}readelf", "-SW", target)
    (row,) = [line.split("]")[1].split() for line in sections.splitlines() if f".rodata.{name} " in line]
    assert row[-1] == "16"  # alignment
    assert "W" not in row[-4]  # not writable: it stays in flash
    call(f"{binary}objcopy", "-O", "binary", "-j", f".rodata.{name}", target, tmp_path / "bytes")
    content = (tmp_path / "bytes").read_bytes()
    assert (mcu / "cnn" / f"{STEM}.tflite").read_bytes().startswith(content)
    golden = Reference.read(mcu / "cnn" / "reference.npz")
    images = golden.images[::20]
    arena = int(macros(source.with_suffix(".h"))["ARENA_BYTES"])
    found = (outputs_of(content, arena, images).astype(np.float32) + 128) / 256
    assert np.array_equal(found, golden.outputs[source.name][::20])


@pytest.mark.parametrize("stem", [STEM, "cnn-int8-logits-io8"])
def test_the_headers_numbers_are_the_models(mcu: Path, tmp_path: Path, stem: str) -> None:
    """As a compiler reads them, bit by bit."""
    from tflite_micro import runtime

    header = mcu / "cnn" / f"{stem}.h"
    names = sorted(set(macros(header)) - {"H"})
    prefix = c_source.identifier(stem).upper()
    lines = [f'printf("%a\\n", (double)({prefix}_{name}));' for name in names]
    lines.append(f"for (int i = 0; i < {prefix}_OUTPUT_CLASSES; i++) puts({prefix.lower()}_labels[i]);")
    body = "\n".join(lines)
    main = f'#include <stdio.h>\n#include "{header}"\nint main(void) {{\n{body}\nreturn 0;\n}}\n'
    (tmp_path / "main.c").write_text(main)
    call(tool("gcc"), "-std=c11", *WORDS, tmp_path / "main.c", header.with_suffix(".c"), "-o", tmp_path / "main")
    printed = call(tmp_path / "main").splitlines()
    found = {name: float.fromhex(text) for name, text in zip(names, printed, strict=False)}
    assert printed[len(names) :] == [*"0123456789"]
    content, told = c_source.read(header.with_suffix(".c"))
    interpreter = runtime.Interpreter.from_bytes(content)
    for end, details in (("INPUT", interpreter.get_input_details(0)), ("OUTPUT", interpreter.get_output_details(0))):
        quantized = details["quantization_parameters"]
        assert found[f"{end}_SCALE"] == float(quantized["scales"][0])
        assert found[f"{end}_ZERO_POINT"] == quantized["zero_points"][0]
    assert (found["BYTES"], found["ARENA_BYTES"]) == (len(content), told["arena"])
    assert (found["INPUT_BYTES"], found["OUTPUT_CLASSES"], found["ALIGNMENT"]) == (784, 10, 16)
    assert [found[f"INPUT_{side}"] for side in ("HEIGHT", "WIDTH", "CHANNELS")] == [28, 28, 1]
    kinds = {item.kind for item in FORMATS["c"].describe(header.with_suffix(".c")).operators}
    assert found["OPERATORS"] == len(kinds)
    assert f"/* {', '.join(sorted(kinds))} */" in header.read_text()


def test_the_example_recognizes_what_was_recorded(mcu: Path, tmp_path: Path) -> None:
    """`examples/mcu/digit.c` quantizes and reads the result; the runtime in Python takes the place of the call."""
    example, folder = ROOT / "examples" / "mcu" / "digit.c", mcu / "cnn"
    for compiler in ("gcc", "arm-none-eabi-gcc"):
        where = ["-I", folder, "-c", example, "-o", tmp_path / "digit.o"]
        call(tool(compiler), "-std=c99", "-Os", *WORDS, *ALONE, *where)
    library = tmp_path / "digit.so"
    call("gcc", "-std=c11", *WORDS, "-shared", "-fPIC", "-I", folder, example, folder / f"{STEM}.c", "-o", library)
    digit = ctypes.CDLL(str(library))
    digit.digit_probability.restype = ctypes.c_float
    array = (ctypes.c_ubyte * int(macros(folder / f"{STEM}.h")["BYTES"])).in_dll(digit, "cnn_int8_io8")
    assert ctypes.addressof(array) % 16 == 0

    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(bytes(array))
    golden = Reference.read(folder / "reference.npz")
    for image, expected in zip(golden.images[::5], golden.outputs[f"{STEM}.c"][::5], strict=True):
        pixels = np.empty(784, np.int8)
        digit.digit_input(image.tobytes(), pixels.ctypes.data_as(ctypes.c_char_p))
        interpreter.set_input(pixels.reshape(1, 28, 28, 1), 0)
        interpreter.invoke()
        result = interpreter.get_output(0).copy()
        assert digit.digit_best(result.tobytes()) == expected.argmax()
        found = [digit.digit_probability(ctypes.c_byte(int(value))) for value in result[0]]
        assert np.array_equal(np.array(found, np.float32), expected)


def test_the_examples_readme_names_what_there_is(mcu: Path) -> None:
    text = (ROOT / "examples" / "mcu" / "README.md").read_text()
    known = {f"CNN_INT8_IO8_{name}" for name in macros(mcu / "cnn" / f"{STEM}.h")}
    assert set(re.findall(r"CNN_INT8_IO8_\w+", text)) <= known
    kinds = re.findall(r"ops\.Add(\w+)\(", text)
    assert len(kinds) == int(macros(mcu / "cnn" / f"{STEM}.h")["OPERATORS"])
    declared = {
        name.replace("_", "").lower()
        for name in re.findall(r"/\* ([A-Z_0-9, ]+) \*/", (mcu / "cnn" / f"{STEM}.h").read_text())[0].split(", ")
    }
    assert {kind.lower() for kind in kinds} == declared


def test_an_array_of_somebody_else(mcu: Path, tmp_path: Path, run: Run) -> None:
    """As `xxd -i` writes one: no digest, no arena, no word of ours."""
    content, _ = c_source.read(mcu / "mlp" / "mlp-int8-io8.c")
    theirs = tmp_path / "theirs.c"
    rows = ", ".join(map(str, content))
    theirs.write_text(f"// a model\nunsigned char model_tflite[] = {{\n  {rows}\n}};\nunsigned int model_len = 1;\n")
    assert c_source.read(theirs) == (content, {})
    assert "none in the file; it is not one of ours" in run("inspect", theirs).stdout
    done = run("verify", theirs, "--reference", mcu / "mlp" / "reference.npz", "--json")
    (result,) = json.loads(done.stdout)["results"]
    assert result["status"] == "PASS"
    assert result["footprint"]["flash"] == len(content)
    for bad in ("", "int x;\n", "unsigned char a[] = {1, 2, 300};\n", "unsigned char a[] = {1, 2, 3};\n"):
        theirs.write_text(bad)
        for command in (["inspect", theirs], ["predict", "x.png", "--artifact", theirs]):
            assert len(run(*command, check=2).stderr.splitlines()) == 1


@pytest.mark.parametrize("seed", range(20))
def test_any_float_keeps_its_bits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    value = rng.integers(1, 0x7F800000, dtype=np.uint32).view(np.float32)
    literal = c_source._float(float(value))
    assert literal.endswith("f")
    assert np.float32(literal[:-1]) == value


def test_names_that_c_does_not_take(tmp_path: Path) -> None:
    assert c_source.identifier("my model-int8-io8") == "my_model_int8_io8"
    assert c_source.identifier("3d-int8-io8") == "model_3d_int8_io8"
    assert c_source.identifier("ziffer-ä-int8-io8") == "ziffer___int8_io8"
    told: dict[str, Any] = {"model": "a*/b/*c??/", "sha256": c_source.digest(b"TFL3")}
    path = tmp_path / "x.c"
    path.write_text(c_source.source("x", b"TFL3", told))
    (tmp_path / "x.h").write_text("#define X_ALIGNMENT 16\n#define X_BYTES 4\n")
    assert c_source.read(path) == (b"TFL3", told)
    call(tool("gcc"), "-std=c11", "-c", *WORDS, path, "-o", tmp_path / "x.o")


def test_a_models_name_with_signs_is_included_and_one_with_a_quote_refused(tmp_path: Path, mnist: Dataset) -> None:
    plan = ExportPlan((("c", Precision.INT8),), IOOptions(full_integer=True))
    keras = require_keras("a test")
    layers = [keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    model = keras.Sequential([keras.Input((28, 28, 1)), *layers])
    for name in ("50% a#b 'c' & d", 'a "b"'):
        store.save(adopt(model, mnist), tmp_path / name)
    export_folder(load_inputs(tmp_path / "50% a#b 'c' & d", mnist), plan)
    (path,) = (tmp_path / "50% a#b 'c' & d").glob("*.c")
    call(tool("gcc"), "-std=c11", "-c", *WORDS, path, "-o", tmp_path / "x.o")
    with pytest.raises(ConversionError, match="no C code can include"):
        export_folder(load_inputs(tmp_path / 'a "b"', mnist), plan)
