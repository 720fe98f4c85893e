"""Compares a file with Keras inside the network, and says why one failed: the known fault that explains it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.contract import Contract
from mnist_edge.core.errors import ArtifactError, MissingRuntime
from mnist_edge.formats.base import Format
from mnist_edge.formats.inspection import Trace
from mnist_edge.formats.keras.model import LOGITS, load_model, predict_pixels, trace
from mnist_edge.formats.runner import Runner
from mnist_edge.verify import known_faults as causes
from mnist_edge.verify.known_faults import Fault
from mnist_edge.verify.layer_errors import LayerError, candidates, layer_errors, sqnr

FEW = 20
SAME_NETWORK = 40.0  # dB at the logits: int8 files of the recipes have 40 to 50, with 4-bit weights 20 to 35


@dataclass(frozen=True)
class KerasModel:
    """Keras's model at hand, with uint8 `images` `[N, 28, 28]` on which files are compared with it."""

    path: Path
    images: NDArray[np.uint8]

    @cached_property
    def model(self) -> Any:
        """The model, loaded."""
        return load_model(self.path)

    @property
    def few(self) -> NDArray[np.uint8]:
        """Some of the images, of all classes where they are."""
        return self.images[:: max(len(self.images) // FEW, 1)]

    @cached_property
    def inside(self) -> Trace:
        """Its kernels, and its layers' outputs on a few images."""
        return trace(self.model, self.few)


@dataclass(frozen=True)
class InternalCheck:
    """What was seen inside a file: faults, the kernel nearest to being one, in dB, and each layer's error.

    `unseen` says what could not be compared, and why; `same_network` that the last layer agrees, whatever came before.

    `suspicions` are what a calibration, a unit or a rewritten kernel may explain too; they count only where the file
    fails otherwise.
    """

    causes: tuple[Fault, ...] = ()
    suspicions: tuple[Fault, ...] = ()
    worst_kernel: float | None = None
    unseen: str | None = None
    errors: tuple[LayerError, ...] = ()
    same_network: bool = False


def check_internals(keras_model: KerasModel, file_format: Format, path: Path) -> InternalCheck:
    """Compare kernels with Keras's, then what the layers give; the first layer that is wrong tells."""
    keras = keras_model.inside
    try:
        file = file_format.trace(path, keras_model.few)
    except (ArtifactError, MissingRuntime) as error:
        return InternalCheck(unseen=str(error))
    errors = layer_errors(keras, file)
    kernels, worst, unseen = _of_kernels(keras, file)
    at_end = next((error.sqnr for error in errors if error.layer == keras.tensors[-1][0]), -float("inf"))
    if at_end >= SAME_NETWORK:  # what differs on the way makes no difference in the end: it was rewritten
        return InternalCheck((), (), worst, unseen, errors, same_network=True)
    rewritten = tuple(cause for cause in kernels if cause.name in causes.REWRITES and at_end < causes.SAME)
    found = tuple(cause for cause in kernels if cause.name not in causes.REWRITES)
    if found or rewritten:
        return InternalCheck(found, rewritten, worst, unseen, errors)
    return InternalCheck(*_of_layers(keras, file), worst, unseen, errors)


def _of_kernels(keras: Trace, file: Trace) -> tuple[list[Fault], float | None, str | None]:
    """Return the faulty kernels, the signal-to-noise ratio of the worst in dB, and why they cannot be compared."""
    if not keras.kernels or len(keras.kernels) != len(file.kernels):
        return [], None, f"{len(file.kernels)} kernels in the file do not pair up with Keras's {len(keras.kernels)}"
    found: list[Fault] = []
    worst = float("inf")
    for index, (right, kernel) in enumerate(zip(keras.kernels, file.kernels, strict=True)):
        picture = _picture(keras, index)
        if sorted(right.layout) != sorted(kernel.layout):
            return [], None, f"{kernel.name} of the file and Keras's {right.name} are layers of two kinds"
        native = causes.native(right, kernel.layout, file.channels_first, picture)
        if native.shape != kernel.values.shape:
            return [], None, f"{kernel.name} is {kernel.values.shape}, Keras's {right.name} {native.shape}"
        worst = min(worst, sqnr(native, kernel.values))
        found += causes.of_kernel(right, kernel, native, picture)
    return found, worst, None


def _of_layers(keras: Trace, file: Trace) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
    """Return the fault of the first layer that has one (later ones inherit it), and what may be one.

    That another tensor is right makes a fault a suspicion: a file may compute the same numbers in another unit first.
    """
    for layer, values in keras.tensors:
        if values.shape[1:] == (10,) and layer != LOGITS:
            continue  # probabilities are compared as outputs
        faults: list[Fault] = []
        suspicions: list[Fault] = []
        right = False
        for _, tensor in candidates(values, file):
            # int8 logits may saturate below, where no class has a chance
            expected = np.maximum(values, tensor.min()) if layer == LOGITS else values
            right = right or sqnr(expected, tensor) >= causes.SAME
            faults += causes.of_activations(layer, expected, tensor)
            suspicions += causes.of_range(layer, expected, tensor)
        if faults or suspicions:
            return ((), tuple([*faults, *suspicions][:1])) if right else (tuple(faults[:1]), tuple(suspicions[:1]))
    return (), ()


def _picture(keras: Trace, index: int) -> tuple[int, ...]:
    """Return height, width and channels of the picture that a Dense layer's input was flattened from; () where none."""
    size = keras.kernels[index].values.shape[0]
    if keras.kernels[index].values.ndim != 2:
        return ()
    shapes = [(28, 28, 1), *(values.shape[1:] for _, values in keras.tensors)]
    return next((shape for shape in reversed(shapes) if len(shape) == 3 and np.prod(shape) == size), ())


@dataclass(frozen=True)
class Suspect:
    """A failed file with what it gave: uint8 `images` `[N, 28, 28]`, and Keras's and its own outputs `[N, 10]`."""

    contract: Contract
    images: NDArray[np.uint8]
    keras: NDArray[np.float32]
    outputs: NDArray[np.float32]


@dataclass(frozen=True)
class Diagnosis:
    """The likely causes, the likeliest first, and what could not be looked at; no cause means that it is unknown.

    `kernels_good` tells of a file without a known fault that its kernels were compared and are Keras's.
    """

    causes: tuple[Fault, ...]
    unseen: str | None = None
    kernels_good: bool = False

    def __str__(self) -> str:
        unseen = f"; not compared: {self.unseen}" if self.unseen else ""
        if not self.causes:
            kernels = "; every kernel is Keras's, so it is not the weights" if self.kernels_good else ""
            return f"cause unknown: no known fault explains what the file gives{kernels}{unseen}"
        return f"likely cause: {'; '.join(map(str, self.causes))}{unseen}"


def diagnose(suspect: Suspect, runner: Runner, keras_model: KerasModel | None, look: InternalCheck) -> Diagnosis:
    """Name the cause. What explains the outputs as a whole comes first, then what was seen inside the network."""
    at_ends = tuple(_at_the_ends(suspect, runner))
    behind = tuple(causes.of_outputs(suspect.keras, suspect.outputs))
    if behind:
        return Diagnosis(at_ends + behind)
    before = tuple(_before_the_network(suspect, runner, keras_model))
    inside = before or look.causes or look.suspicions
    kernels_good = look.worst_kernel is not None and look.worst_kernel >= causes.SAME
    return Diagnosis(at_ends + inside, None if inside else look.unseen, kernels_good and not inside)


def _at_the_ends(suspect: Suspect, runner: Runner) -> Iterator[Fault]:
    """Hold the file's own ends to its contract."""
    for line in suspect.contract.mismatches(runner.io_specs) if runner.io_specs else ():
        kinds = {"labels": "labels shifted", "zero point": "wrong zero point", "scale": "wrong scale"}
        yield Fault(next((kind for word, kind in kinds.items() if word in line), "broken contract"), line)


def _before_the_network(suspect: Suspect, runner: Runner, keras_model: KerasModel | None) -> Iterator[Fault]:
    """Return Keras other images; where it is not at hand, give the file a black one."""
    if keras_model is None:
        if causes.same_as_black(suspect.outputs, runner.run(np.zeros((1, 28, 28), np.uint8))):
            yield Fault("normalization applied twice", "every image gets nearly the answer of a black one")
        return
    pixels = suspect.images.astype(np.float32) / np.float32(255)
    yield from causes.of_inputs(lambda changed: predict_pixels(keras_model.model, changed), pixels, suspect.outputs)
