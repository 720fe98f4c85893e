"""The recipes are those of the notebooks."""

from typing import Any

import numpy as np
import pytest
from support.commands import MODELS as NAMES

from mnist_edge.core.errors import ModelError
from mnist_edge.formats.keras.folding import folded
from mnist_edge.training.edge import EDGE
from mnist_edge.training.notebooks import NOTEBOOKS
from mnist_edge.training.recipe import Recipe
from mnist_edge.training.recipes import RECIPES, find_recipe

LAYERS = {
    "cnn": ["Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dropout", "Dense"],
    "cnn-wide": ["Conv2D", "MaxPooling2D", "Flatten", "Dense", "Dense"],
    "mlp": ["Flatten", "Dense", "Dropout", "Dense"],
    "mlp-wide": ["Flatten", "Dense", "Dense"],
}
SHAPES = {
    "cnn": [(3, 3, 1, 32), (32,), (5408, 64), (64,), (64, 10), (10,)],
    "cnn-wide": [(4, 4, 1, 32), (32,), (4608, 128), (128,), (128, 10), (10,)],
    "mlp": [(784, 128), (128,), (128, 10), (10,)],
    "mlp-wide": [(784, 512), (512,), (512, 10), (10,)],
}


def macs(model: Any) -> int:
    """Count multiply-accumulates from the shapes that Keras infers."""
    total = 0
    for layer in model.layers:
        if weights := layer.get_weights():
            positions = np.prod(layer.output.shape[1:-1], dtype=int)  # 1 for Dense, height × width for Conv2D
            total += weights[0].size * int(positions)
    return total


@pytest.mark.parametrize("name", NAMES)
def test_network_parameters_and_macs_are_what_keras_builds(name: str) -> None:
    model = RECIPES[name].build()
    assert [type(layer).__name__ for layer in model.layers] == LAYERS[name]
    assert [array.shape for array in model.get_weights()] == SHAPES[name]
    assert [layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")][-2:] == [
        "relu",
        "softmax",
    ]
    assert (model.input_shape, model.output_shape) == ((None, 28, 28, 1), (None, 10))
    assert RECIPES[name].parameters == model.count_params()
    assert RECIPES[name].macs == macs(model)
    assert [layer.rate for layer in model.layers if hasattr(layer, "rate")] == [0.2] * ("Dropout" in LAYERS[name])


@pytest.mark.parametrize(
    ("name", "most"), [("edge-micro", 1000), ("edge-nano", 2000), ("edge-small", 4000), ("edge", 16_000)]
)
def test_an_edge_network_is_a_few_convolutions_and_a_dense_layer_of_few_parameters(name: str, most: int) -> None:
    model = EDGE[name].build()
    whole = folded(model)
    kinds = [type(layer).__name__ for layer in whole.layers if layer.weights]
    assert kinds == ["Conv2D"] * len(EDGE[name].convs) + ["Dense"]
    assert len(kinds) <= 7
    assert whole.layers[-1].activation.__name__ == "softmax"
    assert EDGE[name].parameters == whole.count_params() <= most
    assert EDGE[name].macs == macs(whole) <= 1_000_000
    assert (model.input_shape, model.output_shape) == ((None, 28, 28, 1), (None, 10))


def test_training_settings_are_those_of_the_notebooks() -> None:
    def settings(item: Recipe) -> tuple[object, ...]:
        return (item.optimizer, item.loss, item.validation, item.random_state, item.batch_size, item.epochs)

    sparse, categorical = "sparse_categorical_crossentropy", "categorical_crossentropy"
    assert {name: settings(item) for name, item in NOTEBOOKS.items()} == {
        "cnn": ("adam", sparse, 0.2, 42, 128, 10),
        "cnn-wide": ("rmsprop", categorical, None, None, 32, 2),
        "mlp": ("adam", categorical, 0.2, 5, 128, 10),
        "mlp-wide": ("rmsprop", categorical, None, None, 128, 5),
    }


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ModelError, match="cnn, cnn-wide, mlp, mlp-wide"):
        find_recipe("resnet")
