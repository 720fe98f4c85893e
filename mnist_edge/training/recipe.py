"""A recipe: a network, and how it is trained. The eight of them are in `notebooks` and `edge`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mnist_edge.core.optional import require_keras
from mnist_edge.training.augmentation import Augmentation

SIDE = 28


@dataclass(frozen=True)
class Conv:
    """A square convolution with ReLU, after it BatchNormalization where `norm` is set, and max pooling over `pool`."""

    filters: int
    kernel: int
    stride: int = 1
    padding: str = "valid"
    pool: int = 1
    norm: bool = False

    def side(self, side: int) -> int:
        """Return the side of what the convolution gives for an image of a side, before pooling."""
        return -(-side // self.stride) if self.padding == "same" else (side - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class Teacher:
    """A network that is trained before another, whose probabilities become a share of the other's targets.

    Attributes:
        width: its filters, as a multiple of the other network's.
        epochs: its epochs, as a share of the other network's.
        share: its probabilities' share of a target; the label has the rest.
        temperature: what its logits are divided by before they become probabilities.
    """

    width: int
    epochs: float
    share: float
    temperature: float


@dataclass(frozen=True)
class AugmentedTraining:
    """How a network is trained on varied images, as `augmented.fit` does it.

    Attributes:
        learning_rate: the largest one of AdamW, after a warm-up of a tenth of the steps; then it falls as a cosine.
        weight_decay: of AdamW, of kernels alone.
        change: how images are varied.
        unvaried: the share of the epochs, at the end, in which images are as they are. Source: He et al., "Data
            augmentation revisited: rethinking the distribution gap between clean and augmented data" (2019).
        drawn_digits: images of digits in hands that MNIST lacks, added to the training images.
        drawn_marks: images that are no digit; their target is a tenth for each class.
        teacher: None where labels alone are the targets.
    """

    learning_rate: float
    weight_decay: float
    change: Augmentation
    unvaried: float = 0.0
    drawn_digits: int = 0
    drawn_marks: int = 0
    teacher: Teacher | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network and how it is trained.

    All networks are one family: convolutions, Flatten, a hidden Dense with ReLU and Dropout where there is one, and
    Dense 10 with Softmax. `one_hot` recipes use categorical cross-entropy on one-hot labels, the others the sparse
    form. `validation` is the share of the training images held out, with scikit-learn's `random_state`. `reported` is
    the accuracy in the notebook, `floor` the one that any seed must reach on MNIST's test images.
    """

    name: str
    convs: tuple[Conv, ...]
    hidden: int | None
    dropout: float
    optimizer: str
    one_hot: bool
    validation: float | None
    random_state: int | None
    batch_size: int
    epochs: int
    floor: float
    notebook: str | None = None
    reported: float | None = None
    augmented: AugmentedTraining | None = None

    @property
    def loss(self) -> str:
        """Return Keras's name of the loss."""
        return "categorical_crossentropy" if self.one_hot else "sparse_categorical_crossentropy"

    def teacher_epochs(self, epochs: int) -> int:
        """Return the epochs in which a teacher is trained before `epochs` of the network itself; 0 without one."""
        teacher = self.augmented.teacher if self.augmented else None
        return max(1, round(teacher.epochs * epochs)) if teacher else 0

    def _layers(self) -> Iterator[tuple[int, int, int]]:
        """Yield of each layer its weights without biases, its outputs a position, and the positions it slides over."""
        side, channels = SIDE, 1
        for conv in self.convs:
            side = conv.side(side)
            yield conv.kernel**2 * channels * conv.filters, conv.filters, side**2
            side, channels = side // conv.pool, conv.filters
        inputs = side**2 * channels
        for outputs in filter(None, (self.hidden, 10)):
            yield inputs * outputs, outputs, 1
            inputs = outputs

    @property
    def parameters(self) -> int:
        """Return the number of weights and biases, with BatchNormalization folded."""
        return sum(weights + outputs for weights, outputs, _ in self._layers())

    @property
    def macs(self) -> int:
        """Return the multiply-accumulates of one inference."""
        return sum(weights * positions for weights, _, positions in self._layers())

    @property
    def network(self) -> str:
        """Return the layers in one line."""
        names = []
        for conv in self.convs:
            stride = f" stride {conv.stride}" if conv.stride > 1 else ""
            names.append(f"Conv {conv.filters} {conv.kernel}×{conv.kernel}{stride}")
            names += [f"MaxPool {conv.pool}×{conv.pool}"] if conv.pool > 1 else []
        names.append("Flatten")
        names += [f"Dense {self.hidden}"] if self.hidden else []
        names += [f"Dropout {self.dropout}"] if self.dropout else []
        return ", ".join([*names, "Dense 10"])

    def build(self) -> Any:
        """Return the untrained, uncompiled Keras model: float32 `[N, 28, 28, 1]` in [0, 1] → `[N, 10]`."""
        keras = require_keras("building a network")
        layers = keras.layers
        stack = [keras.Input((SIDE, SIDE, 1), name="image")]
        for index, conv in enumerate(self.convs, 1):
            number = "" if len(self.convs) == 1 else str(index)
            options = {"strides": conv.stride, "padding": conv.padding, "name": f"conv{number}"}
            if conv.norm:
                stack.append(layers.Conv2D(conv.filters, conv.kernel, use_bias=False, **options))
                stack.append(layers.BatchNormalization(momentum=0.95, name=f"norm{number}"))
                stack.append(layers.ReLU(name=f"relu{number}"))
            else:
                stack.append(layers.Conv2D(conv.filters, conv.kernel, activation="relu", **options))
            if conv.pool > 1:
                stack.append(layers.MaxPooling2D(conv.pool, name=f"pool{number}"))
        stack.append(layers.Flatten(name="flatten"))
        if self.hidden:
            stack.append(layers.Dense(self.hidden, activation="relu", name="hidden"))
        if self.dropout:
            stack.append(layers.Dropout(self.dropout, name="dropout"))
        stack.append(layers.Dense(10, activation="softmax", name="probabilities"))
        return keras.Sequential(stack, name=self.name.replace("-", "_"))
