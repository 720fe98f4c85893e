"""`verify`: healthy files pass, broken ones fail, and what was not checked is not passed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.commands import MODELS, Run
from support.faults import resign

from mnist_edge.core.contract import Precision
from mnist_edge.core.manifest import Artifact, Manifest
from mnist_edge.core.metrics import margins
from mnist_edge.core.reference import Reference
from mnist_edge.data.dataset import Dataset, Digits
from mnist_edge.formats import FORMATS
from mnist_edge.formats.runner import BatchRunner, Images, Probabilities
from mnist_edge.verify.result import Status, VerifyReport
from mnist_edge.verify.verify import verify


@pytest.fixture(scope="module")
def reports(exports: Path, mnist: Dataset) -> dict[str, VerifyReport]:
    """The verdict on every recipe over all test images."""
    return {path.name: verify(path, mnist) for path in exports.iterdir()}


@pytest.mark.parametrize("model", MODELS)
def test_a_healthy_export_passes_over_all_test_images(reports: dict[str, VerifyReport], model: str) -> None:
    report = reports[model]
    assert len(report.sample) == 10_000
    assert set(report.statuses()) == {Status.PASS}
    assert report.passes(strict=True)
    assert len(report.checks) == 3  # the reference was recomputed, the kernels compared, and the floor holds


@pytest.mark.parametrize("model", MODELS)
def test_int8_keeps_the_promises_of_the_project(
    exports: Path, mnist: Dataset, reports: dict[str, VerifyReport], model: str
) -> None:
    """Points lost, images that change class and their margins, against Keras and between the two formats."""
    points, flips = (0.05, 15) if model.startswith("cnn") else (0.08, 25)
    outputs = []
    for result in reports[model].results:
        if result.artifact.precision is not Precision.INT8:
            continue
        found = result.comparison
        assert found is not None
        assert abs(found.drop) <= points + 1e-9
        assert len(found.flips) <= flips
        assert found.largest_margin <= 0.15
        with FORMATS[result.artifact.format].open(result.artifact.path) as runner:
            outputs.append(runner.run(mnist.test.images).argmax(axis=1))
    assert len(outputs) == 2
    assert (outputs[0] != outputs[1]).sum() <= flips


def test_figures_are_those_of_a_plain_recount(exports: Path, mnist: Dataset, reports: dict[str, VerifyReport]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(exports / "mlp" / "mlp-int8.tflite"))
    interpreter.allocate_tensors()
    outputs = []
    for image in mnist.test.images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None, :, :, None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].copy())
    plain, keras = np.array(outputs), Reference.read(exports / "mlp" / "reference.npz").keras
    (result,) = [item for item in reports["mlp"].results if item.artifact.path.name == "mlp-int8.tflite"]
    found = result.comparison
    assert found is not None
    assert found.accuracy == (plain.argmax(1) == mnist.test.labels).mean()
    flips = np.flatnonzero(plain.argmax(1) != keras.argmax(1))
    assert found.flips == tuple(flips)
    assert found.margins == pytest.approx(margins(keras)[flips])
    assert found.largest_difference == pytest.approx(np.abs(plain - keras).max())


def test_without_the_dataset_the_golden_images_serve(exports: Path) -> None:
    report = verify(exports / "cnn", images=1000)
    assert len(report.sample) == 1000
    assert report.passes(strict=True)


def test_another_dataset_is_not_used(exports: Path, mnist: Dataset) -> None:
    shifted = Dataset(mnist.train, Digits(mnist.test.images, (mnist.test.labels + 1) % 10), "elsewhere")
    assert len(verify(exports / "mlp", shifted).sample) == 1000


def test_a_wrong_reference_is_noticed_where_keras_can_recompute_it(exports: Path, run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    golden = Reference.read(folder / "reference.npz")
    golden.keras[:] = np.roll(golden.keras, 1, axis=1)
    golden.write(folder / "reference.npz")
    resign(folder, "reference.npz")
    done = run("verify", folder, check=1)
    assert "FAIL  reference.npz is what Keras computes" in done.stdout


def test_a_missing_model_is_skipped_and_strict_makes_that_a_failure(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    (folder / "model.keras").unlink()
    assert "SKIPPED  reference.npz is what Keras computes: model.keras is not here" in run("verify", folder).stdout
    run("verify", folder, "--strict", check=1)


def test_a_model_under_its_floor_fails(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    content = json.loads((folder / "manifest.json").read_text())
    content["about"]["accuracy_floor"] = 0.999
    (folder / "manifest.json").write_text(json.dumps(content))
    assert "FAIL  Keras's accuracy reaches the recipe's floor" in run("verify", folder, check=1).stdout


def test_a_truncated_artifact_is_named(exports: Path, run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    path = folder / "mlp-int8.onnx"
    path.write_bytes(path.read_bytes()[:1000])
    for command in ("verify", "bench"):
        done = run(command, folder, check=2)
        assert "has 1000 bytes" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_json_has_every_figure(run: Run, exports: Path) -> None:
    content = json.loads(run("verify", exports / "mlp", "--json").stdout)
    assert content["schema"] == 1
    assert content["good"]
    assert {item["status"] for item in content["results"]} == {"PASS"}
    assert {item["file"] for item in content["results"]} == {
        artifact.path.name for artifact in Manifest.read(exports / "mlp").artifacts
    }
    assert content["results"][0]["comparison"]["count"] == 10_000


def test_an_artifact_of_an_unknown_format_is_skipped(exports: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    manifest = Manifest.read(folder)
    first = manifest.artifacts[0]
    foreign = Artifact(first.path, "coreml", first.precision, first.contract, first.bytes, first.sha256)
    replace(manifest, artifacts=(foreign, *manifest.artifacts[1:])).write()
    report = verify(folder, images=1000)
    assert report.results[0].status is Status.SKIPPED
    assert report.passed
    assert not report.passes(strict=True)


def test_without_the_dataset_no_image_runs_twice(exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    run = BatchRunner.run

    def counted(self: BatchRunner, images: Images) -> Probabilities:
        if len(images) > 500:  # the variants take 200
            counts.append(len(images))
        return run(self, images)

    monkeypatch.setattr(BatchRunner, "run", counted)
    report = verify(exports / "mlp", images=1000)
    assert report.sample.name == "1000 golden images of reference.npz"
    assert counts == [1000] * len(report.results)
