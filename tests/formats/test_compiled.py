"""LiteRT's CompiledModel gives the Interpreter's outputs, bit by bit; where it is missing, that is told."""

import os
import subprocess
import sys
from pathlib import Path

import ai_edge_litert
import numpy as np
import pytest
from support import faults
from support.commands import Run

from mnist_edge.core.errors import ArtifactError, MissingRuntime
from mnist_edge.core.reference import Reference
from mnist_edge.formats import FORMATS
from mnist_edge.formats.runner import Images
from mnist_edge.formats.tflite import metadata
from mnist_edge.formats.tflite.compiled import VARIANT, CompiledRunner
from mnist_edge.formats.tflite.graph import canonical
from mnist_edge.predict import predict
from mnist_edge.verify.result import Status
from mnist_edge.verify.verify import verify

TFLITE = FORMATS["tflite"]
ENDS = ("--io int8", "--io int8 --head logits", "--head logits", "--batch 3", "--dynamic-batch")


@pytest.fixture(scope="module")
def images(exports: Path) -> Images:
    """Some of the golden images; their number is no multiple of a batch here."""
    return Reference.read(exports / "mlp" / "reference.npz").images[:100]


def assert_equal(path: Path, images: Images, threads: int = 1, batch: int = 1) -> None:
    """Compare both runtimes on a file."""
    with (
        TFLITE.open(path, threads=threads, batch=batch) as usual,
        TFLITE.open(path, threads=threads, batch=batch, variant=VARIANT) as compiled,
    ):
        assert isinstance(compiled, CompiledRunner)
        assert compiled.io_specs == usual.io_specs
        assert compiled.batch == usual.batch
        compiled.invoke()
        for some in (images, images[: usual.batch], images[:0]):
            outputs = compiled.run(some)
            assert outputs.dtype == np.float32
            np.testing.assert_array_equal(outputs, usual.run(some))


@pytest.mark.parametrize("precision", ["float32", "float16", "dynamic", "int8", "int16x8"])
@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_it_gives_the_interpreters_outputs(exports: Path, images: Images, model: str, precision: str) -> None:
    path = exports / model / f"{model}-{precision}.tflite"
    assert_equal(path, images)
    assert_equal(path, images, threads=2)


@pytest.mark.parametrize("batch", [1, 7])
def test_a_file_for_any_batch_is_resized(exports: Path, images: Images, tmp_path: Path, batch: int) -> None:
    path = tmp_path / "any.tflite"
    content = metadata.without(exports / "mlp" / "mlp-float32.tflite")
    path.write_bytes(canonical(content, ("image", "probabilities"), True))
    assert_equal(path, images, batch=batch)


@pytest.mark.extra("a quarter of a minute or more")
@pytest.mark.parametrize("ends", ENDS)
def test_every_choice_of_ends_is_the_same(run: Run, exports: Path, images: Images, tmp_path: Path, ends: str) -> None:
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "")
    run("export", "--model", "mlp", "--out", tmp_path, "--int8", "--format", "tflite", *ends.split())
    (path,) = (item for item in folder.glob("mlp-int8-*.tflite"))
    assert_equal(path, images, batch=5)


def test_verify_runs_it_as_a_variant(exports: Path, tmp_path: Path) -> None:
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-int8.tflite")
    report = verify(folder, images=50)
    (compiled,) = (item for item in report.results[0].variants if item.name == VARIANT)
    assert compiled.passed
    assert compiled.largest_difference == 0
    assert report.passes(strict=True)


def test_an_older_litert_is_told_of_and_fails_nothing(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert TFLITE.missing_variant(VARIANT) is None
    monkeypatch.setitem(sys.modules, "ai_edge_litert.options", None)  # as before 2.1.6
    told = TFLITE.missing_variant(VARIANT)
    assert told is not None
    assert "has no CompiledModel" in told
    assert "pip install 'ai-edge-litert>=2.1.6'" in told
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-int8.tflite")
    with pytest.raises(MissingRuntime, match="pip install"):
        TFLITE.open(folder / "mlp-int8.tflite", variant=VARIANT)
    report = verify(folder, images=50)
    (check,) = (item for item in report.checks if item.status is Status.SKIPPED)
    assert told in check.detail
    assert report.passed
    assert not report.passes(strict=True)
    assert TFLITE.missing_variant("without XNNPACK") is None


def test_without_litert_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    assert "LiteRT is not installed" in str(TFLITE.missing_variant(VARIANT))


@pytest.mark.parametrize("part", [0.01, 0.5, 0.9])
def test_a_file_that_is_cut_short_does_not_crash_it(exports: Path, tmp_path: Path, part: float) -> None:
    path = tmp_path / "cut.tflite"
    content = metadata.without(exports / "mlp" / "mlp-int8.tflite")
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ArtifactError, match="TFLite file that"):
        TFLITE.open(path, variant=VARIANT)
    with pytest.raises(ArtifactError, match="TFLite file that"):
        CompiledRunner(path, 1, 1)


def test_a_file_that_crashes_it_alone_does_not_crash_verify(
    exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that stands for LiteRT in the child has the real Interpreter, and a CompiledModel that crashes."""
    folder = faults.only(exports / "mlp", tmp_path / "mlp", "mlp-int8.tflite")
    package = tmp_path / "packages" / "ai_edge_litert"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"__path__.append({ai_edge_litert.__path__[0]!r})\n")
    (package / "compiled_model.py").write_text("import os; os.abort()\n")
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # in which no file is known
    (result,) = verify(folder, images=50).results
    assert result.status is Status.FAIL
    assert len(result.reasons) == 1
    assert "it does not run compiled" in result.reasons[0]
    assert "crashes on it (SIGABRT)" in result.reasons[0]
    assert predict(np.zeros((28, 28), np.uint8), folder / "mlp-int8.tflite").shape == (1, 10)


def test_what_fails_in_it_is_an_error_of_the_file(exports: Path) -> None:
    with TFLITE.open(exports / "mlp" / "mlp-int8.tflite", variant=VARIANT) as runner:
        assert isinstance(runner, CompiledRunner)
        with pytest.raises(ArtifactError, match="does not run"):
            runner._call(np.zeros((1, 28, 28, 1), np.int64))


@pytest.mark.parametrize("close", [True, False])
def test_it_prints_nothing(exports: Path, close: bool) -> None:
    path = exports / "mlp" / "mlp-int8.tflite"
    code = f"""
import numpy as np
from pathlib import Path
from mnist_edge.formats import FORMATS
runner = FORMATS["tflite"].open(Path({str(path)!r}), variant={VARIANT!r})
runner.run(np.zeros((3, 28, 28), np.uint8))
if {close}:
    with runner:
        pass
"""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""
