"""Networks as people bring them, put into the form of the contract: shape, pixels, end, and what is refused."""

from typing import Any

import numpy as np
import pytest
from support.networks import NETWORKS

from mnist_edge.core.errors import ModelError
from mnist_edge.core.optional import require_keras
from mnist_edge.data.dataset import Dataset
from mnist_edge.formats.keras.adapt import adapt, original_input
from mnist_edge.formats.keras.fake_quantization import int8_cost
from mnist_edge.formats.keras.folding import folded, stable, ungrouped
from mnist_edge.formats.keras.structure import layer_calls, outputs_of, structure_digest
from mnist_edge.formats.runner import softmax
from mnist_edge.training import own_model
from mnist_edge.training.own_model import OwnModelOptions, take_over
from mnist_edge.training.recipes import RECIPES, find_recipe

SHAPES = {
    "quickstart-28x28": (28, 28),
    "flat-784": (784,),
    "channels-first-input": (1, 28, 28),
    "three-channels": (28, 28, 3),
}


def untrained(name: str) -> Any:
    """Return a network with weights, and BatchNormalization statistics, that are not those it starts with."""
    keras = require_keras("a test")
    keras.utils.set_random_seed(3)
    model = NETWORKS[name].build(keras, keras.layers)
    rng = np.random.default_rng(3)
    for layer in model._flatten_layers():
        if type(layer).__name__ == "BatchNormalization":
            count = layer.gamma.shape
            layer.set_weights(
                [rng.uniform(0.5, 2, count), rng.normal(size=count), rng.normal(size=count), rng.uniform(0.5, 2, count)]
            )
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_the_form_of_the_contract_gives_the_same_answers(mnist: Dataset, name: str) -> None:
    """For every network: adapted, folded and without groups it gives what it gave before."""
    model, network = untrained(name), NETWORKS[name]
    shape = SHAPES.get(name, (28, 28, 1))
    pixel_range = {255.0: "0..255", 2.0: "-1..1"}.get(network.scale, "0..1")
    own, note = adapt(model, shape, pixel_range, 0)
    images = mnist.train.images[:20]
    before = np.asarray(outputs_of(model, original_input(images, shape, pixel_range))[0])
    before = before.reshape(20, 10)
    after = np.asarray(own(images[..., None].astype(np.float32) / np.float32(255), training=False))
    if "sigmoid" in note:
        before = np.log(before / (1 - before))
    wanted = before if note == "" else softmax(before)
    np.testing.assert_allclose(after, wanted, atol=2e-5)
    for rewritten in (folded(own), ungrouped(own), stable(own)):
        again = np.asarray(rewritten(images[..., None].astype(np.float32) / np.float32(255), training=False))
        np.testing.assert_allclose(again, after, atol=2e-5)
    pixels = images[..., None].astype(np.float32) / np.float32(255)
    assert 0 < int8_cost(own, pixels[:8], pixels)["int8_noise"] < 5
    kinds = {type(call.layer).__name__ for call in layer_calls(own)}
    assert not kinds & {"Dropout", "GaussianNoise", "RandomTranslation", "Functional", "Sequential"}


@pytest.mark.parametrize("recipe", RECIPES)
def test_int8_is_simulated_with_dropout_inside(mnist: Dataset, recipe: str) -> None:
    pixels = mnist.train.images[:20, ..., None].astype(np.float32) / np.float32(255)
    assert 0 < int8_cost(find_recipe(recipe).build(), pixels[:8], pixels)["int8_noise"] < 5


def test_batchnorm_and_relu_are_folded_into_their_layer() -> None:
    own, _ = adapt(untrained("depthwise-separable"), (28, 28, 1), "0..1", 0)
    kinds = [type(call.layer).__name__ for call in layer_calls(folded(own))]
    assert kinds == ["Conv2D", "DepthwiseConv2D", "Conv2D", "Flatten", "Dense"]


def test_a_rescaling_at_the_start_becomes_one_with_the_range() -> None:
    own, _ = adapt(untrained("rescaling-inside"), (28, 28, 1), "0..255", 0)
    assert "Rescaling" not in [type(call.layer).__name__ for call in layer_calls(own)]


def test_names_do_not_count_in_the_digest_of_a_structure() -> None:
    first, second = (adapt(untrained("residual-relu"), (28, 28, 1), "0..1", 0)[0] for _ in range(2))
    assert structure_digest(first) == structure_digest(second)
    other, _ = adapt(untrained("residual-relu"), (28, 28, 1), "-1..1", 0)
    assert structure_digest(other) != structure_digest(first)


def test_mixed_float16_becomes_float32(mnist: Dataset) -> None:
    keras = require_keras("a test")
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = untrained("conv-batchnorm-relu")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    own = take_over(model, "it", mnist.train).model
    assert {call.layer.compute_dtype for call in layer_calls(own)} == {"float32"}


@pytest.mark.parametrize(("name", "wanted"), [("rescaling-inside", "0..255"), ("conv-batchnorm-relu", "0..1")])
def test_the_pixel_range_is_found_by_trying(mnist: Dataset, name: str, wanted: str) -> None:
    found = take_over(NETWORKS[name].trained(mnist.train, 3000), "it", mnist.train)
    assert found.pixel_range == wanted
    assert any("found by trying" in note for note in found.notes) == (wanted != "0..1")
    said = take_over(NETWORKS[name].trained(mnist.train, 100), "it", mnist.train, OwnModelOptions("-1..1"))
    assert said.pixel_range == "-1..1"


def test_one_of_several_outputs_is_chosen_by_name(mnist: Dataset) -> None:
    keras = require_keras("a test")
    image = keras.Input((28, 28, 1))
    flat = keras.layers.Flatten()(image)
    heads = [keras.layers.Dense(10, name=name)(flat) for name in ("one", "other")]
    model = keras.Model(image, heads)
    with pytest.raises(ModelError, match="Say which one: --output NAME"):
        take_over(model, "it", mnist.train)
    with pytest.raises(ModelError, match=r"no output 'third'\. Say one of one, other"):
        take_over(model, "it", mnist.train, OwnModelOptions(output="third"))
    own = take_over(model, "it", mnist.train, OwnModelOptions("0..1", "other")).model
    pixels = mnist.train.images[:5, ..., None].astype(np.float32) / np.float32(255)
    np.testing.assert_allclose(np.asarray(own(pixels)), softmax(np.asarray(model(pixels)[1])), atol=1e-5)


def test_a_layer_that_28_pixels_are_too_few_for_is_named(mnist: Dataset) -> None:
    keras = require_keras("a test")
    layers = keras.layers
    deep = [layers.Conv2D(4, 9, strides=2, name=f"conv_{index}") for index in range(3)]
    model = keras.Sequential([keras.Input((None, None, 1)), *deep, layers.GlobalAveragePooling2D(), layers.Dense(10)])
    with pytest.raises(ModelError, match=r"the layer 'conv_2' \(Conv2D\) cannot be built for a 28×28 image"):
        take_over(model, "it", mnist.train)


def test_a_layer_that_fails_is_told_and_a_fault_of_ours_is_not_taken_for_it(
    mnist: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = require_keras("a test")

    class Failing(keras.layers.Layer):  # type: ignore[name-defined,misc]
        def call(self, values: Any) -> Any:
            raise KeyError("lost")

        def compute_output_shape(self, shape: Any) -> Any:  # so that a graph is built without a call
            return shape

    image = keras.Input((28, 28, 1))
    outputs = keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(image))
    failing = keras.Model(image, Failing()(outputs))
    with pytest.raises(ModelError, match=r"does not run .KeyError: .*Failing.call.*lost"):
        take_over(failing, "it", mnist.train)
    monkeypatch.setattr(own_model, "adapt", lambda *given: int("a fault of ours"))
    with pytest.raises(ValueError, match="a fault of ours"):
        take_over(keras.Model(image, outputs), "it", mnist.train)
