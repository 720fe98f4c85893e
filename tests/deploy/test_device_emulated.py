"""The bundle on Raspberry Pis' real userlands: Debian's arm64 and armhf with the real ARM wheels, under qemu."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support import faults
from support.commands import Run

from mnist_edge.core.errors import DeviceError
from mnist_edge.core.manifest import Manifest
from mnist_edge.data.dataset import Dataset
from mnist_edge.deploy.boards import BOARDS
from mnist_edge.deploy.emulation import userland as emulate
from mnist_edge.deploy.emulation.userland import Userland
from mnist_edge.formats.tflite.compiled import VARIANT as COMPILED

pytestmark = pytest.mark.extra("a board's userland")

ALL, SOME = 1000, 100
RUNS = {
    "rpi4-debian12": ALL,
    "rpi4-debian13": SOME,
    "rpi3-debian12": SOME,
    "rpi5-debian13": SOME,
    "rpi-32bit-debian12": SOME,
}
LOGITS = ("cnn-int8-logits.tflite", "cnn-int8-logits.onnx")
RAW = """
import sys
import numpy as np
images, target, *models = sys.argv[1:]
images = np.load(images)["images"]
found = {}
for model in models:
    if model.endswith(".onnx"):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        rows = [session.run(None, {"image": image[None, None]})[0] for image in images]
    else:
        try:
            from ai_edge_litert import interpreter as runtime
        except ImportError:
            from tflite_runtime import interpreter as runtime
        kernels = runtime.OpResolverType
        kernels = kernels.BUILTIN_WITHOUT_DEFAULT_DELEGATES if OWN else kernels.AUTO
        interpreter = runtime.Interpreter(model, num_threads=1, experimental_op_resolver_type=kernels)
        interpreter.allocate_tensors()
        (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
        rows = []
        for image in images:
            interpreter.set_tensor(source["index"], image[None, :, :, None])
            interpreter.invoke()
            rows.append(interpreter.get_tensor(sink["index"]).copy())
    found[model.rpartition("/")[2]] = np.concatenate(rows)
np.savez(target, **found)
"""
Logits = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def folder(exports: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`cnn` in every precision, and int8 with logits and with full-integer ends."""
    target = shutil.copytree(exports / "cnn", tmp_path_factory.mktemp("emulated") / "cnn")
    for more in (["--head", "logits"], ["--io", "int8"]):
        run("export", "--model", "cnn", "--int8", *more, "--out", target.parent)
    return target


@pytest.fixture(scope="module")
def verdicts(folder: Path, run: Run) -> dict[str, dict[str, Any]]:
    """What `mnist-edge device emulate` leaves for each board and release, two at a time."""
    manifest = Manifest.read(folder)
    try:
        for board in BOARDS.values():
            for release in board.releases:
                emulate.prepare(board, release, manifest, print)
    except DeviceError as error:  # no qemu, no apt, no network
        pytest.skip(str(error))

    def one(name: str) -> subprocess.CompletedProcess[str]:
        board, _, release = name.rpartition("-debian")
        some = [] if RUNS[name] == ALL else ["--images", RUNS[name]]
        return run("device", "emulate", board, folder, "--debian", release, *some, check=None)

    names = list(RUNS)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(one, names))
    for outcome in done:
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        assert "µs" not in outcome.stdout  # emulated time is no latency
    return {name: json.loads((folder / "devices" / name / "verify.json").read_text()) for name in names}


@pytest.mark.parametrize("name", RUNS)
def test_every_file_passes_there(name: str, verdicts: dict[str, dict[str, Any]], folder: Path) -> None:
    content = verdicts[name]
    assert content["images"] == RUNS[name]
    assert content["host"]["machine"] == ("armv7l" if "32bit" in name else "aarch64")
    assert "emulated by qemu" in content["host"]["cpu"]
    results = {item["file"]: item for item in content["results"]}
    runnable = {artifact.path.name for artifact in Manifest.read(folder).artifacts}
    if "32bit" in name:  # its bundle leaves out what has no runtime there
        runnable = {file for file in runnable if not file.endswith(".onnx")}
    assert set(results) == runnable
    for file, item in results.items():
        assert item["status"] == "PASS", item["reasons"]
        on_host = item["on_host"]
        assert not on_host["flips"]
        if "32bit" in name:
            continue  # another version of the runtime, held to its own limits by verify
        limit = 1 / 256 if "io8" in file else 1e-6 if "int8" in file else 5e-6
        if "dynamic" not in file and "int16" not in file and "float16" not in file:
            assert on_host["largest_difference"] <= limit, file


def test_compiled_runs_where_the_cpu_has_atomic_instructions(verdicts: dict[str, dict[str, Any]]) -> None:
    for name, content in verdicts.items():
        reasons = [each["skipped"] for item in content["results"] for each in item["paths"] if each["name"] == COMPILED]
        assert reasons, name
        wanted = {"rpi3": "ARMv8.1", "rpi4": "ARMv8.1", "rpi5": None, "rpi-32bit": "no wheel"}[name.rpartition("-")[0]]
        for reason in reasons:
            assert reason is None if wanted is None else wanted in reason, name


@pytest.fixture(scope="module")
def places(folder: Path, verdicts: dict[str, dict[str, Any]]) -> Iterator[dict[str, tuple[Userland, Path, Path]]]:
    """The userlands, with the unpacked bundle and its package."""
    found = {}
    manifest = Manifest.read(folder)
    userlands = {
        f"{name}-debian{release.number}": emulate.prepare(BOARDS[name], release, manifest, print)
        for name, release in ((name, release) for name in BOARDS for release in BOARDS[name].releases)
    }
    one = next(iter(userlands.values()))
    with one.unpacked(folder) as (bundled, package):
        for name in RUNS:
            found[name] = (userlands[name], bundled, package)
        yield found


def host_logits(bundled: Path, target: Path, own: bool) -> Logits:
    """Return the raw logits that this machine computes; with TFLite's own kernels, or with XNNPACK."""
    models = [str(bundled / name) for name in LOGITS]
    code = f"OWN = {own}\n{RAW}"
    subprocess.run([sys.executable, "-c", code, str(bundled / "reference.npz"), str(target), *models], check=True)
    return dict(np.load(target))


def board_logits(place: tuple[Userland, Path, Path], target: Path, names: tuple[str, ...]) -> Logits:
    """Return those that a board computes."""
    userland, bundled, package = place
    models = [str(bundled / name) for name in names]
    done = userland.python(
        "-c", f"OWN = False\n{RAW}", str(bundled / "reference.npz"), str(target), *models, package=package
    )
    assert done.returncode == 0, done.stderr
    return dict(np.load(target))


def test_int8_logits_are_the_same_bits(places: dict[str, tuple[Userland, Path, Path]], tmp_path: Path) -> None:
    bundled = places["rpi4-debian12"][1]
    here = host_logits(bundled, tmp_path / "here.npz", own=False)
    names = [name for name in RUNS if "32bit" not in name]
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda name: board_logits(places[name], tmp_path / f"{name}.npz", LOGITS), names)
    for name, there in zip(names, found, strict=True):
        for file in LOGITS:
            assert there[file].shape == (1000, 10)
            assert np.array_equal(there[file], here[file]), (name, file)


def test_on_32_bit_the_logits_are_those_of_tflites_own_kernels(
    places: dict[str, tuple[Userland, Path, Path]], tmp_path: Path
) -> None:
    place = places["rpi-32bit-debian12"]
    here = host_logits(place[1], tmp_path / "here.npz", own=True)[LOGITS[0]]
    there = board_logits(place, tmp_path / "there.npz", LOGITS[:1])[LOGITS[0]]
    assert np.abs(here - there).max() < 1e-5  # the integers are the same, their scaling to float is not
    assert np.abs(here).max() > 5
    assert np.array_equal(here.argmax(axis=1), there.argmax(axis=1))


def test_predict_there_with_one_runtime_alone(
    exports: Path, verdicts: dict[str, dict[str, Any]], mnist: Dataset, tmp_path: Path
) -> None:
    folder = faults.only(exports / "cnn", tmp_path / "cnn", "cnn-int8.tflite")
    picture = tmp_path / "seven.png"
    Image.fromarray(255 - mnist.test.images[0]).resize((300, 300)).save(picture)
    for release in BOARDS["rpi4"].releases:
        userland = emulate.prepare(BOARDS["rpi4"], release, Manifest.read(folder), print)
        assert not list(userland.site.glob("onnxruntime*"))
        assert list(userland.site.glob("ai_edge_litert*"))
        with userland.unpacked(folder) as (bundled, package):
            model = str(bundled / "cnn-int8.tflite")
            done = userland.python("-m", "mnist_edge", "predict", str(picture), "--artifact", model, package=package)
            assert done.returncode == 0, done.stderr
            assert "seven.png: 7 (" in done.stdout
            timed = userland.python("-m", "mnist_edge", "bench", str(bundled), package=package)
            assert timed.returncode == 2
            assert "emulated" in timed.stderr
            assert len(timed.stderr.splitlines()) == 1


def test_a_changed_model_fails_there(
    exports: Path, verdicts: dict[str, dict[str, Any]], run: Run, tmp_path: Path
) -> None:
    folder = faults.only(exports / "cnn", tmp_path / "cnn", "cnn-int8.tflite")
    content = bytearray((folder / "cnn-int8.tflite").read_bytes())
    content[100_000:200_000] = content[200_000:300_000]
    (folder / "cnn-int8.tflite").write_bytes(content)
    faults.resign(folder, "cnn-int8.tflite")
    done = run("device", "emulate", "rpi5", folder, "--debian", 12, "--images", 50, check=1)
    assert "FAIL" in done.stdout
    assert run("report", folder, "--out", tmp_path, check=1).stdout == "FAIL\n"


def test_without_qemu_it_says_how_to_get_one(exports: Path, run: Run, tmp_path: Path) -> None:
    folder = exports / "cnn"
    empty = {**os.environ, "PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "MNIST_EDGE_QEMU": ""}
    done = run("device", "emulate", "rpi4", folder, check=2, env=empty)
    assert "qemu-aarch64 is not here. Get it without root: mnist-edge device qemu" in done.stderr
    (tmp_path / "qemu-aarch64").write_text("#!/bin/sh\necho qemu-aarch64 version 7.2.15\n")
    (tmp_path / "qemu-aarch64").chmod(0o755)
    (tmp_path / "sh").symlink_to("/bin/sh")
    done = run("device", "emulate", "rpi4", folder, check=2, env=empty)
    assert "is version 7.2.15, which crashes inside the runtimes; version 10 is needed" in done.stderr
    assert "has Debian 12 alone" in run("device", "emulate", "rpi-32bit", folder, "--debian", 13, check=2).stderr
    assert "needs a Debian or Ubuntu machine" in run("device", "qemu", check=2, env=empty).stderr
