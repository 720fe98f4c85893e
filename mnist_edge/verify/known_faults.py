"""Known faults of converted files: each function recognizes one kind, and yields it with the evidence.

A fault is named only where undoing it gives back what Keras has.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats.inspection import Kernel
from mnist_edge.formats.layer_errors import saturated, sqnr
from mnist_edge.formats.runner import softmax

Array = NDArray[np.float32]
Change = Callable[[Array], Array]
"""Does a fault to what a layer of Keras gives."""

SAME = 25.0  # dB: int8 weights and activations give 30 to 50, 4-bit weights 8 to 20
GAIN = 10.0  # dB: what undoing a fault has to win
EXPLAINED = 4  # by how much the mean square difference has to fall
BORDERLINE = 0.005  # share of images whose class int8's rounding may decide: one of 1,000 was seen
ROUNDED = 5.0  # dB: under this it is no rounding
LEVELS = 16
FEWEST = 4
WIDE = 10_000  # inputs of a layer up to which they are matched with each other, all with all
CHANNELS_FIRST = (2, 0, 1)
LAYOUT, SCALE, CHANNEL_SCALES = "NHWC weights read as NCHW", "wrong scale", "per-channel scales misread"
REWRITES = {
    LAYOUT,
    SCALE,
    CHANNEL_SCALES,
}  # what a converter also does rightly, folding BatchNorm or Permute into a kernel


@dataclass(frozen=True)
class Fault:
    """A known fault in a few words, and the evidence for it."""

    name: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.name} ({self.evidence})"


def agreement(first: Array, second: Array) -> float:
    """Return the share of images on which two outputs `[N, 10]` name the same class."""
    return float((first.argmax(axis=1) == second.argmax(axis=1)).mean())


def explains(keras: Array, before: Array, after: Array) -> bool:
    """Return whether undoing a fault, or doing it to Keras, makes two outputs agree that did not agree before."""
    was, now = (float(np.nan_to_num(np.abs(keras - outputs), nan=1.0).mean()) for outputs in (before, after))
    return now < 0.02 and now < was / 4 and agreement(keras, after) > 0.95


def nearer(outputs: Array, keras: Array, faulty: Array) -> bool:
    """Return whether Keras with a fault done to it gives what a file gives, and Keras without it does not."""
    before, after = (float(np.square(outputs - other).mean()) for other in (keras, faulty))
    return after < before / EXPLAINED and agreement(outputs, faulty) >= agreement(outputs, keras) - BORDERLINE


def of_outputs(keras: Array, outputs: Array) -> Iterator[Fault]:
    """Yield faults between the last layer and the output; both outputs are `[N, 10]`."""
    sums = outputs.sum(axis=1)
    if not np.isfinite(outputs).all():
        yield Fault("the file gives numbers that are not finite", f"{(~np.isfinite(outputs)).sum()} of them")
        return
    if explains(keras, outputs, softmax(outputs)):
        evidence = f"its ten outputs sum to {np.median(sums):.2f}, and Softmax of them gives Keras's probabilities"
        yield Fault("Softmax missing", evidence)
    if explains(softmax(keras), keras, outputs):
        yield Fault("Softmax applied twice", "Softmax of Keras's probabilities gives what the file gives")
    yield from _wrapped(keras, outputs)
    yield from _permuted(keras, outputs)
    yield from _affine(keras, outputs)


def _wrapped(keras: Array, outputs: Array) -> Iterator[Fault]:
    """Yield a fault where 1.0, which is 256 steps of 1/256 and no 8-bit number, became 0."""
    top = keras.argmax(axis=1)
    sure = keras.max(axis=1) > 1 - 1 / 512
    leading = outputs[np.arange(len(top)), top]
    wrapped = sure & (leading < 1 / 64)
    rest = ~sure & (keras.max(axis=1) < 1 - 1 / 128)
    if sure.sum() and wrapped.sum() > 0.5 * sure.sum() and (leading[rest] > 0.25).mean() > 0.9:
        yield Fault(
            "int8 Softmax wraps",
            f"{wrapped.sum()} of the {sure.sum()} images of which Keras is surest (over 511/512) get a probability "
            "near 0, the others do not",
        )


def _permuted(keras: Array, outputs: Array) -> Iterator[Fault]:
    """Yield a fault where another order of classes gives Keras's answers back."""
    table = np.zeros((10, 10))
    np.add.at(table, (keras.argmax(axis=1), outputs.argmax(axis=1)), 1)
    order = table.argmax(axis=1)
    moved = np.flatnonzero(order != np.arange(10))
    if len(set(order.tolist())) < 10 or not len(moved) or not explains(keras, outputs, outputs[:, order]):
        return
    shift = (order - np.arange(10)) % 10
    if len(set(shift.tolist())) == 1:
        yield Fault("labels shifted", f"output {shift[0]} stands for digit 0, and so on: shifted back, Keras agrees")
    else:
        evidence = ", ".join(f"digit {digit} is at output {order[digit]}" for digit in moved)
        yield Fault("swapped channels in the output", evidence)


def _affine(keras: Array, outputs: Array) -> Iterator[Fault]:
    """Yield a fault where output = scale × Keras's + offset."""
    scale, offset = np.polyfit(keras.ravel().astype(np.float64), outputs.ravel().astype(np.float64), 1)
    if not 0.05 < abs(scale) < 1e4 or not explains(keras, outputs, (outputs - np.float32(offset)) / np.float32(scale)):
        return
    if abs(scale - 1) < 0.02:
        evidence = f"every probability is {offset:+.3f} off, {offset * 256:+.0f} steps of 1/256"
        yield Fault("wrong zero point at the output", evidence)
    else:
        yield Fault("wrong scale at the output", f"outputs are {scale:.3f} × Keras's {offset:+.3f}")


def of_inputs(keras: Callable[[Array], Array], pixels: Array, outputs: Array) -> Iterator[Fault]:
    """Yield faults of the image: Keras gives the file's outputs for an image that was changed so.

    Args:
        keras: float32 `[N, 28, 28]` in [0, 1] → probabilities.
        pixels: the images, `[N, 28, 28]` in [0, 1].
        outputs: of the file.
    """
    usual = keras(pixels)
    done: dict[str, tuple[str, Array]] = {
        "normalization applied twice": ("divided by 255 once more", pixels / np.float32(255)),
        "normalization missing": ("not divided by 255", pixels * np.float32(255)),
        "image inverted": ("with black and white exchanged", 1 - pixels),
        "image transposed": ("with rows and columns exchanged", pixels.transpose(0, 2, 1)),
    }
    for name, (how, changed) in done.items():
        if explains(keras(changed), usual, outputs):
            yield Fault(name, f"Keras gives the same answers when its image is {how}")
    few = slice(None, None, max(len(pixels) // 100, 1))
    steps = min(range(-128, 129, 8), key=lambda k: float(np.abs(keras(pixels[few] + k / 255) - outputs[few]).mean()))
    if steps and explains(keras(np.asarray(pixels + steps / 255, np.float32)), usual, outputs):
        evidence = f"Keras gives nearly the same answers when about {steps:+d} is added to every pixel"
        yield Fault("wrong zero point at the input", evidence)


def of_kernel(expected: Kernel, actual: Kernel, ours: Array, picture: tuple[int, ...]) -> Iterator[Fault]:
    """Yield the fault that turns Keras's kernel of a layer into the file's.

    Args:
        expected: Keras's kernel, named after its layer.
        actual: the file's.
        ours: Keras's as `native` brings it into the file's layout.
        picture: height, width and channels of the picture that a Dense layer's input was flattened from, or ().
    """
    layer, theirs = expected.name, actual.values
    if sqnr(ours, theirs) >= SAME:
        return
    for other in _layouts(expected, actual.layout, theirs.shape, picture):
        if sqnr(other, theirs) >= SAME:
            evidence = f"the weights of {layer} are Keras's in another order of axes"
            yield Fault(LAYOUT, evidence)
            return
    channel = actual.layout.index("O")
    if theirs.size < FEWEST * theirs.shape[channel]:
        return  # with a weight or two a channel, nearly any kernel is a multiple of any other
    flat, expected_flat = (np.moveaxis(array, channel, 0).reshape(array.shape[channel], -1) for array in (theirs, ours))
    yield from _kernel_faults(layer, expected_flat, flat)


def _kernel_faults(layer: str, expected: Array, actual: Array) -> Iterator[Fault]:
    """Yield the fault of a kernel; both are `[output channels, weights]`."""
    order = _match(expected, actual)
    if order is not None and sqnr(expected, actual[order]) >= SAME:
        moved = np.flatnonzero(order != np.arange(len(order)))
        where = f"{moved[0]} and {moved[1]}" if len(moved) == 2 else f"{len(moved)} of {len(order)}"
        yield Fault("swapped channels", f"output channels {where} of {layer} have each other's weights")
        return
    columns = _match(expected.T, actual.T) if expected.shape[1] <= WIDE else None
    if columns is not None and sqnr(expected, actual[:, columns]) >= SAME:
        moved = np.flatnonzero(columns != np.arange(len(columns)))
        yield Fault("swapped channels", f"{len(moved)} input channels of {layer} have each other's weights")
        return
    offset = (actual - expected).mean(axis=1, keepdims=True)
    if sqnr(expected, actual - offset) >= SAME:
        evidence = f"every weight of {layer} is off by {_span(offset)}; less that, they are Keras's"
        yield Fault("wrong zero point", evidence)
        return
    ratio = (actual * expected).sum(axis=1, keepdims=True) / np.maximum(
        (expected * expected).sum(axis=1, keepdims=True), 1e-30
    )
    if sqnr(expected * ratio, actual) >= SAME:
        if np.ptp(ratio) < 0.02 * np.abs(ratio).max():
            yield Fault(SCALE, f"every weight of {layer} is {_span(ratio)} × Keras's")
        else:
            evidence = f"the channels of {layer} are {_span(ratio)} × Keras's, each in itself the same"
            yield Fault(CHANNEL_SCALES, evidence)
        return
    levels = max(len(np.unique(row)) for row in actual) if actual.shape[1] > LEVELS else len(np.unique(actual))
    if levels <= LEVELS and sqnr(expected, actual) >= ROUNDED:
        decibels = f"{sqnr(expected, actual):.0f} dB over the error"
        evidence = f"a channel of {layer} has at most {levels} different values; {decibels}"
        yield Fault("weights rounded to 4 bits", evidence)


def _span(values: Array) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.3g}" if np.isclose(low, high, rtol=0.02) else f"{low:.3g} to {high:.3g}"


def _match(expected: Array, actual: Array) -> NDArray[np.int64] | None:
    """Return the row of `actual` nearest to each of `expected`; None where they are in order or not all there."""
    lengths = np.linalg.norm(expected, axis=1)[:, None] * np.linalg.norm(actual, axis=1)[None]
    order = (expected @ actual.T / np.maximum(lengths, 1e-30)).argmax(axis=1)
    return order if len(set(order.tolist())) == len(order) and (order != np.arange(len(order))).any() else None


def native(expected: Kernel, layout: str, channels_first: bool, picture: tuple[int, ...]) -> Array:
    """Return Keras's kernel in a file's layout; `channels_first` where the file flattens pictures so."""
    values = expected.values
    if channels_first and picture:
        values = _rows(values, picture, CHANNELS_FIRST)
    return values.transpose([expected.layout.index(axis) for axis in layout])


def _rows(values: Array, picture: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """Return the rows of a Dense kernel in the order that follows from other axes of the picture."""
    return values.reshape(*picture, -1).transpose(*axes, 3).reshape(values.shape)


def _layouts(expected: Kernel, layout: str, shape: tuple[int, ...], picture: tuple[int, ...]) -> Iterator[Array]:
    """Yield Keras's kernel with its axes in every order, read as if in the file's order."""
    values = expected.values
    if values.ndim == 4:
        for axes in permutations(range(4)):
            yield values.transpose(axes).reshape(shape)
        return
    orders = [values]
    if picture:
        once = [_rows(values, picture, axes) for axes in permutations(range(3))]
        orders = [*once, *(_rows(rows, picture, CHANNELS_FIRST) for rows in once)]
    for rows in orders:
        yield rows.transpose([expected.layout.index(axis) for axis in layout])
        yield rows.T.reshape(shape) if layout == expected.layout else rows.reshape(shape)
        yield rows.reshape(rows.shape[::-1]).T.reshape(shape)


def of_activations(layer: str, expected: Array, actual: Array) -> Iterator[tuple[Fault, Change]]:
    """Yield the fault of a layer's output, `[N, …, channels]`, with what does it to Keras's."""
    if sqnr(expected, actual) >= SAME or not np.isfinite(actual).all():
        return
    flat, expected_flat = actual.reshape(-1, actual.shape[-1]).T, expected.reshape(-1, expected.shape[-1]).T
    order = _match(expected_flat, flat)
    if order is not None and sqnr(expected_flat, flat[order]) >= SAME:
        moved = np.flatnonzero(order != np.arange(len(order)))
        evidence = f"channels {', '.join(map(str, moved[:6]))} of {layer}'s output are exchanged"
        back = np.argsort(order)
        yield Fault("swapped channels", evidence), lambda values: values[..., back]
        return
    enough = max(SAME - 5, sqnr(expected, actual) + GAIN)
    offset = np.float32(np.median(actual - expected))
    if sqnr(expected, actual - offset) >= enough:
        evidence = f"the output of {layer} is off by {offset:.3g}; less that, it is Keras's"
        yield Fault("wrong zero point", evidence), lambda values: values + offset
        return
    ratio = np.float32((actual * expected).sum() / max(float((expected * expected).sum()), 1e-30))
    if ratio and sqnr(expected, actual / ratio) >= enough:
        yield Fault(SCALE, f"the output of {layer} is {ratio:.3g} × Keras's"), lambda values: values * ratio


def of_range(layer: str, expected: Array, actual: Array) -> Iterator[tuple[Fault, Change]]:
    """Yield a fault where a layer's output is Keras's, but clipped to a range that calibration may have chosen."""
    low, high = actual.min(), actual.max()
    before, clipped = sqnr(expected, actual), np.clip(expected, low, high)
    share = float(saturated(expected, actual).mean())
    if before < SAME and share > 0.001 and sqnr(clipped, actual) >= max(SAME - 5, before + GAIN):
        evidence = (
            f"{share:.1%} of {layer}'s output stops at {low:.3g} or {high:.3g}, "
            f"Keras's goes from {expected.min():.3g} to {expected.max():.3g}"
        )
        yield Fault("wrong zero point or range", evidence), lambda values: np.clip(values, low, high)


def same_as_black(outputs: Array, black: Array) -> bool:
    """Return whether every image gets nearly the answer of a black one, `[1, 10]`."""
    return float(np.abs(outputs - black).mean()) < 0.02 and float(outputs.std(axis=0).max()) < 0.05
