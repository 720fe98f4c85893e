"""The four recipes: network, optimizer, loss, split, batch and epochs, and what the notebook of each reported."""

from dataclasses import dataclass
from typing import Any

from mnist_edge.core.errors import ModelError
from mnist_edge.core.optional import require_keras


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained.

    All four networks are one family: an optional convolution with ReLU and 2×2 max pooling, Flatten, a hidden
    Dense with ReLU, optional Dropout, and Dense 10 with Softmax. `conv` is (filters, kernel size).
    `one_hot` recipes use categorical cross-entropy on one-hot labels, the others the sparse form.
    `validation` is the share of the training images held out, with scikit-learn's `random_state`.
    `reported` is the accuracy in the notebook, `floor` the one that any seed must reach on MNIST's test images.
    """

    name: str
    notebook: str
    conv: tuple[int, int] | None
    hidden: int
    dropout: float
    optimizer: str
    one_hot: bool
    validation: float | None
    random_state: int | None
    batch_size: int
    epochs: int
    reported: float
    floor: float

    @property
    def loss(self) -> str:
        """Return Keras's name of the loss."""
        return "categorical_crossentropy" if self.one_hot else "sparse_categorical_crossentropy"

    def _weights(self) -> tuple[list[int], int]:
        """Return the weights of each layer, without biases, and the positions the convolution slides over."""
        if self.conv is None:
            return [28 * 28 * self.hidden, self.hidden * 10], 0
        filters, kernel = self.conv
        side = 28 - kernel + 1
        return [kernel**2 * filters, (side // 2) ** 2 * filters * self.hidden, self.hidden * 10], side**2

    @property
    def parameters(self) -> int:
        """Return the number of trainable parameters."""
        weights, _ = self._weights()
        return sum(weights) + (self.conv[0] if self.conv else 0) + self.hidden + 10

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates of one inference."""
        weights, positions = self._weights()
        return sum(weights) + (weights[0] * (positions - 1) if self.conv else 0)

    @property
    def network(self) -> str:
        """Return the layers in one line."""
        conv = f"Conv {self.conv[0]} {self.conv[1]}×{self.conv[1]}, MaxPool 2×2, " if self.conv else ""
        dropout = f", Dropout {self.dropout}" if self.dropout else ""
        return f"{conv}Flatten, Dense {self.hidden}{dropout}, Dense 10"

    def build(self) -> Any:
        """Return the untrained, uncompiled Keras model: float32 `[N, 28, 28, 1]` in [0, 1] → `[N, 10]`."""
        keras = require_keras("building a network")
        layers = keras.layers
        stack = [keras.Input((28, 28, 1), name="image")]
        if self.conv:
            stack.append(layers.Conv2D(*self.conv, activation="relu", name="conv"))
            stack.append(layers.MaxPooling2D(2, name="pool"))
        stack.append(layers.Flatten(name="flatten"))
        stack.append(layers.Dense(self.hidden, activation="relu", name="hidden"))
        if self.dropout:
            stack.append(layers.Dropout(self.dropout, name="dropout"))
        stack.append(layers.Dense(10, activation="softmax", name="probabilities"))
        return keras.Sequential(stack, name=self.name.replace("-", "_"))


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="cnn",
            notebook="004_d1a29ff975793c0b",
            conv=(32, 3),
            hidden=64,
            dropout=0.2,
            optimizer="adam",
            one_hot=False,
            validation=0.2,
            random_state=42,
            batch_size=128,
            epochs=10,
            reported=0.99,
            floor=0.983,
        ),
        Recipe(
            name="cnn-wide",
            notebook="000_10d8ef61c116e705",
            conv=(32, 4),
            hidden=128,
            dropout=0.0,
            optimizer="rmsprop",
            one_hot=True,
            validation=None,
            random_state=None,
            batch_size=32,
            epochs=2,
            reported=0.9855,
            floor=0.978,
        ),
        Recipe(
            name="mlp",
            notebook="002_f9ef27d1b9237337",
            conv=None,
            hidden=128,
            dropout=0.2,
            optimizer="adam",
            one_hot=True,
            validation=0.2,
            random_state=5,
            batch_size=128,
            epochs=10,
            reported=0.9758,
            floor=0.971,
        ),
        Recipe(
            name="mlp-wide",
            notebook="001_a4026292c96808a4",
            conv=None,
            hidden=512,
            dropout=0.0,
            optimizer="rmsprop",
            one_hot=True,
            validation=None,
            random_state=None,
            batch_size=128,
            epochs=5,
            reported=0.9823,
            floor=0.974,
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of a name. Raises ModelError with the names there are."""
    if name not in RECIPES:
        raise ModelError(f"there is no model {name!r}. Choose one of {', '.join(RECIPES)} (see mnist-edge models).")
    return RECIPES[name]
