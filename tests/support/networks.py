"""Small networks as people bring them: built by code, trained for seconds. Each name says what is special about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mnist_edge.core.optional import require_keras
from mnist_edge.data.dataset import Digits

Build = Callable[[Any, Any], Any]
"""Takes keras and keras.layers, and returns a model."""
IMAGE = (28, 28, 1)


@dataclass(frozen=True)
class Network:
    """A network and the pixels that it is trained on.

    `scale` and `offset` make its pixels of those in [0, 1]; `loss` is a Keras loss on whole-number labels.
    """

    build: Build
    scale: float = 1.0
    offset: float = 0.0
    epochs: int = 1
    logits: bool = False

    def trained(self, digits: Digits, count: int = 6000, seed: int = 1) -> Any:
        """Return the network, trained on the first `count` images."""
        keras = require_keras("a test")
        keras.utils.set_random_seed(seed)
        model = self.build(keras, keras.layers)
        pixels = digits.images[:count].astype(np.float32) / np.float32(255) * self.scale + self.offset
        shape = [size or 28 for size in model.inputs[0].shape[1:]]
        pixels = np.repeat(pixels[..., None], 3, axis=-1) if shape[-1] == 3 else pixels.reshape(-1, *shape)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=self.logits)
        model.compile(keras.optimizers.Adam(2e-3), loss)
        for _ in range(self.epochs):
            model.fit(pixels.astype(np.float32), digits.labels[:count], batch_size=64, verbose=0)
        return model


def _plain(*layers: Callable[[Any], Any], end: str | None = "softmax", shape: tuple[int | None, ...] = IMAGE) -> Build:
    """Return a Sequential network of these layers, with Flatten and Dense at the end."""

    def build(keras: Any, make: Any) -> Any:
        made = [layer(make) for layer in layers]
        return keras.Sequential([keras.Input(shape), *made, make.Flatten(), make.Dense(10, end)])

    return build


def _conv(filters: int = 8, kernel: int = 3, **options: Any) -> Callable[[Any], Any]:
    return lambda make: make.Conv2D(filters, kernel, **{"strides": 2, "activation": "relu", **options})


def _functional(body: Callable[[Any, Any, Any], Any], shape: tuple[int | None, ...] = IMAGE) -> Build:
    def build(keras: Any, make: Any) -> Any:
        image = keras.Input(shape)
        return keras.Model(image, body(keras, make, image))

    return build


def _residual(activation: str) -> Build:
    def body(keras: Any, make: Any, image: Any) -> Any:
        first = make.Conv2D(8, 3, strides=2, padding="same", activation=activation)(image)
        second = make.BatchNormalization()(make.Conv2D(8, 3, padding="same", use_bias=False)(first))
        added = make.Activation(activation)(make.Add()([first, second]))
        return make.Dense(10, "softmax")(make.Flatten()(make.MaxPooling2D()(added)))

    return _functional(body)


def _branches(keras: Any, make: Any, image: Any) -> Any:
    parts = [make.Conv2D(4, size, strides=2, padding="same", activation="relu")(image) for size in (1, 3, 5)]
    return make.Dense(10, "softmax")(make.Flatten()(make.Concatenate()(parts)))


def _shared(keras: Any, make: Any, image: Any) -> Any:
    shared = make.Conv2D(8, 3, padding="same", activation="relu")
    first = shared(make.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image))
    return make.Dense(10, "softmax")(make.Flatten()(make.MaxPooling2D()(shared(first))))


def _two_halves(keras: Any, make: Any, image: Any) -> Any:
    half = keras.Input((14, 28, 1))
    shared = keras.Model(half, make.Dense(16, "relu")(make.Flatten()(_conv(4)(make)(half))))
    return make.Dense(10, "softmax")(make.Concatenate()([shared(image[:, :14]), shared(image[:, 14:])]))


def _image_beside_signed(keras: Any, make: Any, image: Any) -> Any:
    signed = make.Conv2D(4, 3, padding="same", activation="tanh")(image)
    values = _conv()(make)(make.Concatenate()([signed, image]))
    return make.Dense(10, "softmax")(make.Flatten()(keras.ops.log1p(values)))


def _nested(keras: Any, make: Any, image: Any) -> Any:
    inner = keras.Input(IMAGE)
    values = make.BatchNormalization()(make.Conv2D(8, 3, strides=2, use_bias=False)(inner))
    backbone = keras.Model(inner, make.MaxPooling2D()(make.ReLU()(values)), name="backbone")
    return make.Dense(10, "softmax")(make.Dropout(0.2)(make.Flatten()(backbone(image))))


def _attention(keras: Any, make: Any, image: Any) -> Any:
    rows = make.Dense(16)(make.Reshape((28, 28))(image))
    attended = make.LayerNormalization()(make.Add()([rows, make.MultiHeadAttention(2, 8)(rows, rows)]))
    return make.Dense(10, "softmax")(make.GlobalAveragePooling1D()(make.Dense(16, "gelu")(attended)))


def _squeeze_and_excite(keras: Any, make: Any, image: Any) -> Any:
    values = make.Conv2D(8, 3, strides=2, activation="relu")(image)
    weights = make.Dense(8, "sigmoid")(make.Dense(4, "relu")(make.GlobalAveragePooling2D()(values)))
    scaled = make.Multiply()([values, make.Reshape((1, 1, 8))(weights)])
    return make.Dense(10, "softmax")(make.Flatten()(make.MaxPooling2D()(scaled)))


def _two_poolings(keras: Any, make: Any, image: Any) -> Any:
    values = make.Conv2D(16, 3, strides=2, activation="relu")(image)
    values = make.Conv2D(16, 3, activation="relu")(values)
    both = make.Concatenate()([make.GlobalAveragePooling2D()(values), make.GlobalMaxPooling2D()(values)])
    return make.Dense(10, "softmax")(both)


def _autoencoder_head(keras: Any, make: Any, image: Any) -> Any:
    small = make.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    large = make.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu")(small)
    return make.Dense(10, "softmax")(make.Flatten()(make.AveragePooling2D(2)(large)))


def _dict_outputs(keras: Any, make: Any) -> Any:
    image = keras.Input(IMAGE, name="digit")
    scores = make.Dense(10, "softmax", name="scores")(make.Flatten()(image))
    return keras.Model({"digit": image}, {"scores": scores})


def _normalized(keras: Any, make: Any) -> Any:
    norm = make.Normalization(axis=None, mean=0.13, variance=0.095)
    return _plain(lambda _: norm, _conv())(keras, make)


def _per_pixel_normalized(keras: Any, make: Any) -> Any:
    norm = make.Normalization(axis=(1, 2, 3), mean=np.full(IMAGE, 0.13), variance=np.full(IMAGE, 0.09))
    return _plain(lambda _: norm, _conv())(keras, make)


def _recurrent(name: str, **options: Any) -> Build:
    return lambda keras, make: keras.Sequential(
        [keras.Input(IMAGE), make.Reshape((28, 28)), getattr(make, name)(12, **options), make.Dense(10, "softmax")]
    )


NETWORKS: Mapping[str, Network] = {
    "conv-batchnorm-relu": Network(
        _plain(_conv(use_bias=False, activation=None), lambda make: make.BatchNormalization(), lambda make: make.ReLU())
    ),
    "batchnorm-before-conv": Network(_plain(lambda make: make.BatchNormalization(), _conv())),
    "batchnorm-last": Network(
        lambda keras, make: keras.Sequential(
            [keras.Input(IMAGE), _conv()(make), make.Flatten(), make.Dense(10), make.BatchNormalization()]
        ),
        logits=True,
    ),
    "depthwise-separable": Network(
        _plain(
            _conv(),
            lambda make: make.DepthwiseConv2D(3, use_bias=False),
            lambda make: make.BatchNormalization(),
            lambda make: make.ReLU(),
            lambda make: make.Conv2D(16, 1, use_bias=False),
            lambda make: make.BatchNormalization(),
            lambda make: make.ReLU(6.0),
        )
    ),
    "separable-conv": Network(_plain(_conv(), lambda make: make.SeparableConv2D(16, 3, activation="relu"))),
    "depthwise-multiplier": Network(
        _plain(lambda make: make.DepthwiseConv2D(3, strides=2, depth_multiplier=8, activation="relu"))
    ),
    "grouped-conv": Network(_plain(_conv(), lambda make: make.Conv2D(8, 3, groups=4, activation="relu"))),
    "dilated-conv": Network(_plain(_conv(), lambda make: make.Conv2D(8, 3, dilation_rate=2, activation="relu"))),
    "conv-transpose": Network(_functional(_autoencoder_head)),
    "conv-1d": Network(
        lambda keras, make: keras.Sequential(
            [
                keras.Input(IMAGE),
                make.Reshape((28, 28)),
                make.Conv1D(16, 3, activation="relu"),
                make.MaxPooling1D(),
                make.Flatten(),
                make.Dense(10, "softmax"),
            ]
        )
    ),
    "average-pooling": Network(_plain(_conv(), lambda make: make.AveragePooling2D(2))),
    "global-average-last": Network(
        lambda keras, make: keras.Sequential(
            [
                keras.Input(IMAGE),
                _conv(16)(make),
                make.Conv2D(16, 3, strides=2, activation="relu"),
                make.Conv2D(10, 1),
                make.GlobalAveragePooling2D(),
            ]
        ),
        logits=True,
        epochs=2,
    ),
    "residual-relu": Network(_residual("relu")),
    "residual-swish": Network(_residual("swish")),
    "residual-mish": Network(_residual("mish")),
    "branches": Network(_functional(_branches)),
    "shared-conv": Network(_functional(_shared)),
    "two-halves": Network(_functional(_two_halves)),
    "image-beside-signed": Network(_functional(_image_beside_signed)),
    "nested-backbone": Network(_functional(_nested)),
    "attention": Network(_functional(_attention), epochs=2),
    "squeeze-and-excite": Network(_functional(_squeeze_and_excite)),
    "two-poolings": Network(_functional(_two_poolings), epochs=2),
    "layer-normalization": Network(_plain(_conv(), lambda make: make.LayerNormalization())),
    "group-normalization": Network(_plain(_conv(), lambda make: make.GroupNormalization(4))),
    "leaky-relu": Network(_plain(_conv(activation=None), lambda make: make.LeakyReLU(0.1))),
    "prelu": Network(_plain(_conv(activation=None), lambda make: make.PReLU(shared_axes=[1, 2]))),
    "elu": Network(_plain(_conv(activation="elu"))),
    "selu": Network(_plain(_conv(activation="selu"))),
    "gelu": Network(_plain(_conv(activation="gelu"))),
    "tanh": Network(_plain(_conv(activation="tanh"))),
    "sigmoid-inside": Network(_plain(_conv(activation="sigmoid"))),
    "hard-swish": Network(_plain(_conv(activation="hard_silu"))),
    "softplus": Network(_plain(_conv(activation="softplus"))),
    "quickstart-28x28": Network(
        _plain(lambda make: make.Flatten(), lambda make: make.Dense(32, "relu"), end=None, shape=(28, 28)), logits=True
    ),
    "flat-784": Network(_plain(lambda make: make.Dense(32, "relu"), shape=(784,))),
    "channels-first-input": Network(_plain(lambda make: make.Permute((2, 3, 1)), _conv(), shape=(1, 28, 28))),
    "any-size": Network(
        _functional(
            lambda keras, make, image: make.Dense(10, "softmax")(
                make.GlobalMaxPooling2D()(make.Conv2D(16, 5, activation="relu")(make.Conv2D(8, 3, strides=2)(image)))
            ),
            (None, None, 1),
        )
    ),
    "three-channels": Network(_plain(_conv(), shape=(28, 28, 3))),
    "rescaling-inside": Network(_plain(lambda make: make.Rescaling(1 / 255), _conv()), scale=255.0),
    "minus-one-to-one": Network(_plain(_conv()), scale=2.0, offset=-1.0),
    "normalization": Network(_normalized),
    "normalization-per-pixel": Network(_per_pixel_normalized),
    "augmentation-inside": Network(
        _plain(lambda make: make.RandomTranslation(0.05, 0.05), lambda make: make.GaussianNoise(0.05), _conv())
    ),
    "ends-in-sigmoid": Network(_plain(_conv(), end="sigmoid")),
    "ends-in-log-softmax": Network(_plain(_conv(), end="log_softmax"), logits=True),
    "softmax-layer": Network(
        lambda keras, make: keras.Sequential(
            [keras.Input(IMAGE), make.Flatten(), make.Dense(10), make.Dropout(0.1), make.Softmax(), make.Reshape((10,))]
        )
    ),
    "dict-input-and-output": Network(_dict_outputs),
    "layer-named-probabilities": Network(
        lambda keras, make: keras.Sequential(
            [keras.Input(IMAGE), make.Flatten(name="image_"), make.Dense(10, name="probabilities")]
        ),
        logits=True,
    ),
    "lstm": Network(_recurrent("LSTM"), epochs=2),
    "gru": Network(_recurrent("GRU"), epochs=2),
    "simple-rnn": Network(_recurrent("SimpleRNN"), epochs=2),
    "lstm-unrolled": Network(_recurrent("LSTM", unroll=True), epochs=2),
}
