"""The C array: compilers take it without a word, and TensorFlow Lite Micro computes from its bytes what TFLite does."""

import ctypes
import io
import json
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import faults
import numpy as np
import pytest
from conftest import MODELS, Run
from numpy.typing import NDArray
from rich.console import Console

from mnist_edge import as_json, c_source, page, report_verify
from mnist_edge.artifact import Ends, Manifest, Precision
from mnist_edge.data import Dataset
from mnist_edge.errors import ArtifactError, IntegrityError
from mnist_edge.export import export, possible
from mnist_edge.formats import FORMATS
from mnist_edge.imports import installed
from mnist_edge.parity import verify
from mnist_edge.reference import Reference
from mnist_edge.verdict import ParityReport, Status

ROOT = Path(__file__).parent.parent
STEM = "cnn-int8-io8"
WORDS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
ALONE = ["-ffreestanding", "-nostdinc"]  # a microcontroller may have no C library, and the header wants none
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

if not installed("tflite_micro"):
    pytest.skip("TensorFlow Lite Micro is not here: pip install '.[mcu]'", allow_module_level=True)


def tool(name: str) -> str:
    """A compiler or a tool beside it, from Debian."""
    if shutil.which(name) is None:
        package = "gcc-arm-none-eabi" if name.startswith("arm-") else "g++" if name == "g++" else "gcc"
        pytest.skip(f"{name} is not here: apt-get install {package}")
    return name


def call(*command: object) -> str:
    """Run a tool that must succeed and say nothing on standard error."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def mcu(run: Run, exports: Path, mnist: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four recipes for microcontrollers, and `cnn` with logits too."""
    out = tmp_path_factory.mktemp("mcu")
    pairs = [(name, Precision.INT8) for name in ("tflite", "c")]
    for model in MODELS:
        (out / model).mkdir()
        for name in ("model.keras", "training.json"):
            shutil.copy(exports / model / name, out / model)
        if model != "cnn":
            export(out / model, mnist, pairs, Ends(full_integer=True))
    done = run("export", "--target", "mcu", "--out", out)
    assert "Left out" not in done.stderr
    assert re.search(r"Note: cnn-int8-io8\.c: [\d,]+ bytes of flash .* bytes of arena in RAM", done.stderr)
    run("export", "--target", "mcu", "--head", "logits", "--out", out)
    return out


def macros(header: Path) -> dict[str, str]:
    """The numbers that a header defines, without the names' common beginning."""
    prefix = c_source.identifier(header.stem).upper()
    return dict(re.findall(rf"#define {prefix}_(\w+) (\S+)", header.read_text()))


def outputs_of(content: bytes, arena: int, images: NDArray[np.uint8]) -> NDArray[np.int8]:
    """What TensorFlow Lite Micro computes, called as its documentation says and not through our code."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena)
    rows = []
    for image in images:
        interpreter.set_input((image.astype(np.int16) - 128).astype(np.int8).reshape(1, 28, 28, 1), 0)
        interpreter.invoke()
        rows.append(interpreter.get_output(0)[0].copy())
    return np.array(rows)


def test_what_is_written(mcu: Path) -> None:
    manifest = Manifest.read(mcu / "mlp")
    assert [item.path.name for item in manifest.artifacts] == ["mlp-int8-io8.tflite", "mlp-int8-io8.c"]
    assert [path.name for path in manifest.artifacts[1].paths] == ["mlp-int8-io8.c", "mlp-int8-io8.h"]
    assert {path.name for path in (mcu / "mlp").iterdir()} == {
        *("mlp-int8-io8.tflite", "mlp-int8-io8.c", "mlp-int8-io8.h"),
        *("model.keras", "training.json", "manifest.json", "reference.npz"),
    }


@pytest.mark.parametrize("model", MODELS)
def test_every_model_conforms(mcu: Path, model: str) -> None:
    """The conformance test of a format, as in test_export.py, for the one that is made on request."""
    file_format, path = FORMATS["c"], mcu / model / f"{model}-int8-io8.c"
    manifest = Manifest.read(mcu / model)
    (artifact,) = [item for item in manifest.artifacts if item.path == path]
    artifact.check()
    assert artifact.contract == file_format.contract(Precision.INT8, Ends(full_integer=True))
    golden = Reference.read(manifest.check("reference.npz"))
    with file_format.open(path) as runner:
        assert artifact.contract.breaches(runner.ends or pytest.fail("no ends")) == []
        outputs = runner.run(golden.images)
        runner.invoke()
    assert np.array_equal(outputs, golden.outputs[path.name])
    assert (outputs.argmax(axis=1) == golden.keras[golden.indices].argmax(axis=1)).mean() >= 0.98


@pytest.mark.parametrize("model", MODELS)
def test_the_same_class_as_tflite_on_all_reference_images(mcu: Path, model: str) -> None:
    golden = Reference.read(mcu / model / "reference.npz")
    content, told = c_source.read(mcu / model / f"{model}-int8-io8.c")
    ours = outputs_of(content, told["arena"], golden.images)
    with FORMATS["tflite"].open(mcu / model / f"{model}-int8-io8.tflite") as runner:
        theirs = runner.run(golden.images)
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).sum() == 1000


@pytest.fixture(scope="module")
def reports(mcu: Path) -> dict[str, ParityReport]:
    """What verify says of each recipe over the golden images."""
    return {model: verify(mcu / model) for model in MODELS}


@pytest.mark.parametrize("model", MODELS)
def test_verify_says_so_with_arena_and_flash(reports: dict[str, ParityReport], model: str) -> None:
    report = reports[model]
    assert report.good(strict=True)
    checks = [check for check in report.checks if check.name == "TensorFlow Lite Micro gives TFLite's classes"]
    assert len(checks) == (2 if model == "cnn" else 1)
    assert all("on all 1000 images" in check.detail for check in checks)
    for result in report.results:
        if result.artifact.format == "c":
            content, told = c_source.read(result.artifact.path)
            assert result.footprint is not None
            assert (result.footprint.flash, result.footprint.arena) == (len(content), told["arena"])
            assert result.paths == ()  # its runtime has no threads and no delegates
            (twin,) = [
                item for item in report.results if item.artifact.path == result.artifact.path.with_suffix(".tflite")
            ]
            assert result.look is not None
            assert twin.look is not None
            assert result.look.worst_kernel == twin.look.worst_kernel


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


@pytest.mark.parametrize("model", MODELS)
def test_the_arena_is_the_smallest(mcu: Path, model: str) -> None:
    content, told = c_source.read(mcu / model / f"{model}-int8-io8.c")
    black = np.zeros((1, 28, 28), np.uint8)
    outputs_of(content, told["arena"], black)
    with pytest.raises(RuntimeError, match="allocate"):
        outputs_of(content, told["arena"] - 16, black)


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


def test_two_exports_give_the_same_bytes(run: Run, mcu: Path, tmp_path: Path) -> None:
    (tmp_path / "mlp").mkdir()
    for name in ("model.keras", "training.json"):
        shutil.copy(mcu / "mlp" / name, tmp_path / "mlp")
    run("export", "--format", "c", "--io", "int8", "--model", "mlp", "--out", tmp_path)
    for suffix in ("c", "h"):
        name = f"mlp-int8-io8.{suffix}"
        assert (tmp_path / "mlp" / name).read_bytes() == (mcu / "mlp" / name).read_bytes()
    skipped = [check for check in verify(tmp_path / "mlp").checks if check.status is Status.SKIPPED]
    assert [check.detail for check in skipped] == [
        "mlp-int8-io8.c has no twin in this folder: export int8 with the same ends to tflite"
    ]
    (tmp_path / "mlp" / "mlp-int8-io8.h").unlink()
    done = run("export", "--float32", "--format", "tflite", "--model", "mlp", "--out", tmp_path)
    assert "mlp-int8-io8.c is damaged" in done.stderr


@pytest.mark.parametrize("suffix", ["c", "h"])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_one_changed_bit_is_noticed(mcu: Path, tmp_path: Path, run: Run, suffix: str, place: float) -> None:
    folder = shutil.copytree(mcu / "mlp", tmp_path / "mlp")
    path = folder / f"mlp-int8-io8.{suffix}"
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{path.name} was changed"):
        verify(folder)
    path.unlink()
    with pytest.raises(ArtifactError, match="not on disk"):
        verify(folder)


def change(path: Path, old: str, new: str) -> None:
    """Replace what stands in a file once."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def signed(mcu: Path, target: Path) -> Path:
    """Give a copy of `mlp` with the array alone and without Keras's model; `faults.resign` then signs what changed."""
    folder = faults.only(mcu / "mlp", target / "mlp", "mlp-int8-io8.c")
    (folder / "model.keras").unlink()
    return folder / "mlp-int8-io8.c"


def test_a_changed_array_fails_also_when_signed_again(mcu: Path, tmp_path: Path) -> None:
    path = signed(mcu, tmp_path)
    first = next(line for line in path.read_text().splitlines() if line.startswith("0x"))
    change(path, f"{{\n{first}", f"{{\n0x55{first[4:]}")
    faults.resign(path.parent, path.name)
    (result,) = verify(path.parent).results
    assert result.status is Status.FAIL
    assert "has not the SHA-256 that stands below it" in result.reasons[0]


def test_another_networks_array_fails_as_its_twin_does_not(mcu: Path, tmp_path: Path) -> None:
    """A whole and healthy array, but with a class exchanged: TFLite and TensorFlow Lite Micro then disagree."""
    folder = shutil.copytree(mcu / "mlp", tmp_path / "mlp")
    path = folder / "mlp-int8-io8.c"
    content, told = c_source.read(path)
    whole = bytearray(content)
    with FORMATS["c"].open(path):
        pass
    bias = _last_bias(content)
    whole[bias : bias + 40] = np.roll(np.frombuffer(content, np.int32, 10, bias), 1).tobytes()
    path.write_text(c_source.source(path.stem, bytes(whole), {**told, "sha256": c_source.digest(bytes(whole))}))
    faults.resign(folder, path.name)
    report = verify(folder)
    (check,) = [check for check in report.checks if "Micro" in check.name]
    assert check.status is Status.FAIL
    assert "gives another class than mlp-int8-io8.tflite on" in check.detail


def _last_bias(content: bytes) -> int:
    """Find the ten int32 of the last layer's bias."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    last = [graph.Operators(index) for index in range(graph.OperatorsLength())][-2]
    data = model.Buffers(graph.Tensors(last.Inputs(2)).Buffer()).DataAsNumpy()
    assert data.size == 40
    return content.index(data.tobytes())


def test_an_arena_that_is_too_small_fails(mcu: Path, tmp_path: Path) -> None:
    path = signed(mcu, tmp_path)
    _, told = c_source.read(path)
    change(path, f'"arena": {told["arena"]}', f'"arena": {told["arena"] - 16}')
    faults.resign(path.parent, path.name)
    (result,) = verify(path.parent).results
    assert result.status is Status.FAIL
    assert "bytes of arena" in result.reasons[0]


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


def test_bench_and_predict(run: Run, mcu: Path, mnist: Dataset, tmp_path: Path) -> None:
    from PIL import Image

    content = json.loads(run("bench", mcu / "mlp", "--runs", 20, "--json").stdout)
    assert [item["file"] for item in content["results"]] == ["mlp-int8-io8.tflite"]
    assert "a microcontroller" in content["skipped"]["mlp-int8-io8.c"]
    (mcu / "mlp" / "bench.json").unlink()
    Image.fromarray(255 - mnist.test.images[0]).resize((300, 300)).save(tmp_path / "seven.png")
    done = run("predict", tmp_path / "seven.png", "--artifact", mcu / "mlp" / "mlp-int8-io8.c")
    assert "seven.png: 7 (" in done.stdout


def test_reports_tell_arena_and_flash(reports: dict[str, ParityReport]) -> None:
    report = reports["mlp"]
    found = as_json.verify(report, strict=True)
    (footprint,) = [item["footprint"] for item in found["results"] if item["footprint"]]
    figures = (f"{footprint['flash']:,}", f"{footprint['arena']:,}")
    screen = Console(width=80, record=True, file=io.StringIO())
    screen.print(report_verify.verify_table(report))
    shown = " ".join(screen.export_text().split())
    assert "{} bytes of flash for the array, {} bytes of arena".format(*figures) in shown
    assert "PASS TensorFlow Lite Micro gives TFLite's classes: mlp-int8-io8.c gives the class of" in shown
    pages = page.render(report, None)
    assert "| mlp-int8-io8.c | {} | {} |".format(*figures) in pages[".md"]
    assert all(f">{figure}</td>" in pages[".html"] for figure in figures)


def test_files_without_a_footprint_have_no_section_of_it(exports: Path) -> None:
    pages = page.render(verify(exports / "mlp"), None)
    assert not [text for text in pages.values() if "microcontroller" in text]


BAD = [
    ("--target mcu --float32", "leave out --float32"),
    ("--target mcu --all", "leave out --all"),
    ("--target mcu --batch 4", "leave out --batch"),
    ("--target mcu --dynamic-batch", "leave out --dynamic-batch"),
    ("--target mcu --io default", "leave out --io default"),
    ("--target mcu --format onnx", "leave out --format"),
    ("--target mcu --tune latency", "leave out --tune"),
    ("--target rpi", "Choose one of mcu"),
    ("--format c", "Say --target mcu"),
    ("--format c --int8 --io int8 --batch 2", "Say --target mcu"),
    ("--format c --io int8 --tune latency", "measures on this host"),
]


@pytest.mark.parametrize(("line", "expected"), BAD, ids=[line for line, _ in BAD])
def test_what_contradicts_itself_is_one_line(run: Run, tmp_path: Path, line: str, expected: str) -> None:
    done = run("export", *line.split(), "--out", tmp_path, check=2)
    (message,) = done.stderr.splitlines()
    assert expected in message
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("ends", [Ends(), Ends(full_integer=True), Ends(batch=None)], ids=["default", "io8", "any"])
def test_it_is_made_on_request_alone(ends: Ends) -> None:
    pairs, refused = possible(Precision, (), ends)
    assert "c" not in {name for name, _ in pairs}
    assert not [reason for reason in refused if "microcontroller" in reason]
    assert possible([Precision.INT8], ("c",), Ends(full_integer=True))[0] == [("c", Precision.INT8)]


def test_a_tuned_array_takes_over_what_was_found_for_its_twin(run: Run, mcu: Path, tmp_path: Path) -> None:
    (tmp_path / "mlp").mkdir()
    for name in ("model.keras", "training.json"):
        shutil.copy(mcu / "mlp" / name, tmp_path / "mlp")
    run("export", "--target", "mcu", "--max-drop", 1, "--model", "mlp", "--out", tmp_path)
    first, second = Manifest.read(tmp_path / "mlp").artifacts
    assert first.quantization == second.quantization
    assert first.quantization is not None
    assert first.quantization["tried"]


def test_training_again_removes_the_header_too(mcu: Path, tmp_path: Path) -> None:
    from mnist_edge import training

    folder = shutil.copytree(mcu / "mlp", tmp_path / "mlp")
    removed = training.save(training.load(folder), folder)
    assert {"mlp-int8-io8.c", "mlp-int8-io8.h"} <= set(removed)
    assert not [*folder.glob("*.[ch]")]


HIDE = "import sys; sys.modules['tflite_micro'] = None\nfrom mnist_edge.cli import main; main(sys.argv[1:])"


def hidden(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line where TensorFlow Lite Micro is not installed."""
    command = [sys.executable, "-c", HIDE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_without_the_runtime_it_is_skipped_and_not_exported(mcu: Path, tmp_path: Path) -> None:
    done = hidden("verify", mcu / "mlp", "--strict")
    assert done.returncode == 1, done.stderr
    assert "SKIPPED mlp-int8-io8.c: TensorFlow Lite Micro is not installed. Install it:" in " ".join(
        done.stdout.split()
    )
    done = hidden("export", "--target", "mcu", "--model", "mlp", "--out", tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"{sys.executable} -m pip install tflite-micro.")
    assert not [*tmp_path.iterdir()]


def test_on_a_pi_it_says_where_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert "x86-64 Linux alone, and this is" in (FORMATS["c"].missing() or "")


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
