"""`export --from`: a user's own Keras model through the same chain, and int8 within a budget."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import Run

from mnist_edge.core.optional import require_keras
from mnist_edge.data.dataset import Dataset


def build(head: str | None, filters: int = 8) -> Any:
    """A small network with what the recipes do not have: padding, stride, two convolutions, BatchNorm, pooling."""
    keras = require_keras("a test")
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(filters, 5, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation=head),
        ]
    )


@pytest.fixture(scope="module")
def own(mnist: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a user's models: one ends in Softmax, one in logits, others are of no use."""
    keras = require_keras("a test")
    folder = tmp_path_factory.mktemp("own")
    keras.utils.set_random_seed(1)
    logits = build(None)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    logits.compile("adam", loss, metrics=["accuracy"])
    images = mnist.train.images[:20_000, ..., None].astype(np.float32) / 255
    logits.fit(images, mnist.train.labels[:20_000], batch_size=64, epochs=2, verbose=0)
    softmax = build("softmax")
    softmax.set_weights(logits.get_weights())
    logits.save(folder / "logits.keras")
    softmax.save(folder / "mine.keras")
    build("softmax").save(folder / "other.keras")
    image = keras.Input((28, 28, 1))
    flat = keras.layers.Flatten()(image)
    keras.Model(image, [keras.layers.Dense(10)(flat), keras.layers.Dense(10)(flat)]).save(folder / "two.keras")
    keras.Sequential([image, keras.layers.Flatten(), keras.layers.Dense(26)]).save(folder / "letters.keras")
    kept = keras.layers.Dropout(0.5)(flat, training=True)
    keras.Model(image, keras.layers.Dense(10, "softmax")(kept)).save(folder / "random.keras")
    broken = build("softmax")
    broken.set_weights([np.full_like(array, np.nan) for array in broken.get_weights()])
    broken.save(folder / "broken.keras")
    broken.set_weights([np.zeros_like(array) for array in broken.get_weights()])
    broken.save(folder / "constant.keras")
    keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10)]).save(
        folder / "cifar.keras"
    )
    return folder


@pytest.mark.extra("a quarter of a minute or more")
@pytest.mark.parametrize(("name", "flag", "files"), [("mine", "--all", 9), ("logits", "--int8", 2)])
def test_a_model_of_ones_own_goes_through_the_whole_chain(
    run: Run, own: Path, tmp_path: Path, name: str, flag: str, files: int
) -> None:
    done = run("export", "--from", own / f"{name}.keras", flag, "--out", tmp_path)
    assert f"Took {own / name}.keras: test accuracy 0.9" in done.stderr
    content = json.loads(run("verify", tmp_path / name, "--strict", "--json").stdout)
    assert len(content["results"]) == files
    assert content["results"][0]["comparison"]["accuracy"] > 0.95
    assert "int8" in run("bench", tmp_path / name, "--runs", 25).stdout
    again = run("export", "--from", own / f"{name}.keras", "--int8", "--head", "logits", "--out", tmp_path)
    assert "Removed" not in again.stderr  # the same model: what is there stays
    assert f"--artifact {tmp_path / name / name}-int8-logits.tflite" in again.stderr
    assert ("float16" in again.stdout) == (flag == "--all")  # the table has what was there too
    run("verify", tmp_path / name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cifar", "It has to take one 28×28 image"),
        ("two", "Say which one: --output NAME"),
        ("letters", "letters.keras gives (None, 26); wanted are ten numbers"),
        ("broken", "are not finite"),
        ("random", "with training=True"),
        ("nowhere", "nowhere.keras"),
    ],
)
def test_another_shape_is_refused_with_its_reason(
    run: Run, mnist: Dataset, own: Path, tmp_path: Path, name: str, reason: str
) -> None:
    done = run("export", "--from", own / f"{name}.keras", "--out", tmp_path, check=2)
    (line,) = done.stderr.splitlines()
    assert reason in line
    assert not list(tmp_path.iterdir())


def test_a_network_that_gives_the_same_whatever_the_image_is_refused(run: Run, own: Path, tmp_path: Path) -> None:
    done = run("export", "--from", own / "constant.keras", "--int8", "--out", tmp_path, check=2)
    assert "the same probability, whatever the image" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.extra("a quarter of a minute or more")
def test_another_model_is_not_replaced_but_an_unfinished_export_goes_on(run: Run, own: Path, tmp_path: Path) -> None:
    arguments = ("export", "--float32", "--format", "onnx", "--out", tmp_path, "--name", "it")
    run(*arguments, "--from", own / "mine.keras")
    (tmp_path / "it" / "manifest.json").unlink()  # as after Ctrl-C
    run(*arguments, "--from", own / "mine.keras")
    whole = {path.name: path.read_bytes() for path in (tmp_path / "it").iterdir()}
    done = run(*arguments, "--from", own / "other.keras", check=2)
    assert "holds another model" in done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "it").iterdir()} == whole
    run(*arguments, "--from", own / "other.keras", "--force")


@pytest.mark.extra("a quarter of a minute or more")
def test_a_budget_that_holds_is_recorded_with_what_was_tried(run: Run, exports: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    run("export", "--model", "mlp", "--out", tmp_path, "--int8", "--max-drop", 0.3)
    content = json.loads((folder / "manifest.json").read_text())
    for artifact in content["artifacts"]:
        if artifact["precision"] == "int8":
            (first,) = artifact["quantization"]["tried"]
            assert first["drop"] <= 0.3
    run("verify", folder)


@pytest.mark.extra("a quarter of a minute or more")
def test_a_budget_that_cannot_hold_is_refused_after_methods_and_layers(run: Run, own: Path, tmp_path: Path) -> None:
    from mnist_edge.core.contract import IOOptions
    from mnist_edge.core.errors import ConversionError
    from mnist_edge.data import dataset as data
    from mnist_edge.export.inputs import load_inputs
    from mnist_edge.export.tuning import Tuner, first_within

    run("export", "--from", own / "mine.keras", "--float32", "--format", "onnx", "--out", tmp_path)
    dataset = data.load_mnist()
    tried: list[str] = []
    tuner = Tuner(load_inputs(tmp_path / "mine", dataset), "onnx", IOOptions(), tried.append)
    with pytest.raises(ConversionError, match=r"no int8 quantization of onnx stays within -5"):
        first_within(tuner, -5)  # better than Keras by five points: nothing is
    words = "\n".join(tried)
    assert words.index("minmax") < words.index("entropy") < words.index("percentile") < words.index("in float")
    assert [item["quantization"]["float_layers"] for item in tuner.tried][-1] == (0, 1, 2, 3)


@pytest.mark.extra("a quarter of a minute or more")
def test_tune_latency_measures_candidates_and_keeps_one(run: Run, exports: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(exports / "mlp", tmp_path / "mlp")
    run("export", "--model", "mlp", "--out", tmp_path, "--int8", "--tune", "latency", "--max-drop", 0.5)
    content = json.loads((folder / "manifest.json").read_text())
    for artifact in content["artifacts"]:
        if artifact["precision"] == "int8":
            timed = [item for item in artifact["quantization"]["tried"] if "p50_us" in item]
            least = min(item["p50_us"] for item in timed)
            fastest = [item["quantization"] for item in timed if item["p50_us"] == least]  # two may tie
            assert artifact["quantization"]["quantization"] in fastest
            assert len(timed) >= 2
    run("verify", folder)


@pytest.mark.extra("a quarter of a minute or more")
def test_kernels_that_a_converter_rewrites_are_no_fault(run: Run, mnist: Dataset, tmp_path: Path) -> None:
    """Rescaling, Permute and BatchNorm before and behind a Relu: converters fold them into kernels, each in its way."""
    keras = require_keras("a test")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Rescaling(2.0, offset=-1.0),
            layers.Permute((2, 1, 3)),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.BatchNormalization(),
            layers.Conv2D(8, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(10, activation="softmax"),
        ]
    )
    keras.utils.set_random_seed(2)
    model.compile("adam", "sparse_categorical_crossentropy")
    images = mnist.train.images[:4000, ..., None].astype(np.float32) / 255
    model.fit(images, mnist.train.labels[:4000], batch_size=64, epochs=2, verbose=0)
    model.save(tmp_path / "folded.keras")
    run("export", "--from", tmp_path / "folded.keras", "--float32", "--out", tmp_path)
    content = json.loads(run("verify", tmp_path / "folded", "--strict", "--json").stdout)
    (check,) = [item for item in content["checks"] if item["name"] == "kernels and layers are Keras's"]
    assert "rewrote kernels" in check["detail"]


@pytest.mark.extra("a quarter of a minute or more")
def test_layers_that_cannot_be_paired_are_skipped_not_guessed(run: Run, mnist: Dataset, tmp_path: Path) -> None:
    """A wide and deep network, and a transposed convolution with BatchNorm: verified, but for the kernels."""
    keras = require_keras("a test")
    layers = keras.layers
    image = keras.Input((28, 28, 1))
    deep = layers.Conv2DTranspose(4, 3, strides=2)(layers.Conv2D(4, 3, strides=2, activation="relu")(image))
    deep = layers.MaxPooling2D(4)(layers.ReLU()(layers.BatchNormalization()(deep)))
    joined = layers.Add()([layers.Dense(10)(layers.Flatten()(image)), layers.Dense(10)(layers.Flatten()(deep))])
    model = keras.Model(image, layers.Softmax()(joined))
    model.save(tmp_path / "wide.keras")
    run("export", "--from", tmp_path / "wide.keras", "--float32", "--out", tmp_path)
    content = json.loads(run("verify", tmp_path / "wide", "--json").stdout)
    assert {item["status"] for item in content["results"]} == {"PASS"}
    (check,) = [item for item in content["checks"] if item["name"] == "kernels and layers are Keras's"]
    assert check["status"] in ("SKIPPED", "PASS")
