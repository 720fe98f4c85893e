"""Compares kernels and layers of a file with Keras's, and names the known fault that explains a failure."""

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
from mnist_edge.verify import known_faults
from mnist_edge.verify.known_faults import Fault
from mnist_edge.verify.layer_errors import LayerError, candidates, layer_errors, sqnr

FEW = 20
SAME_NETWORK = 40.0  # dB at the logits: int8 files of the recipes have 40 to 50, with 4-bit weights 20 to 35


@dataclass(frozen=True)
class KerasModel:
    """The Keras model of an export, with uint8 `images` `[N, 28, 28]` on which files are compared with it."""

    path: Path
    images: NDArray[np.uint8]

    @cached_property
    def model(self) -> Any:
        """Return the model, loaded once."""
        return load_model(self.path)

    @property
    def few(self) -> NDArray[np.uint8]:
        """Return some of the images, from all over the set."""
        return self.images[:: max(len(self.images) // FEW, 1)]

    @cached_property
    def trace(self) -> Trace:
        """Return its kernels, and its layers' outputs on a few images."""
        return trace(self.model, self.few)


@dataclass(frozen=True)
class InternalCheck:
    """The comparison of kernels and layers with Keras's: faults, the worst kernel in dB, and each layer's error.

    `not_compared` says what could not be compared, and why; `same_network` says that the last layer agrees. A
    `possible` fault may also come from calibration, from another unit or from a rewritten kernel; it counts only where
    the file fails otherwise.
    """

    faults: tuple[Fault, ...] = ()
    possible: tuple[Fault, ...] = ()
    worst_kernel: float | None = None
    not_compared: str | None = None
    errors: tuple[LayerError, ...] = ()
    same_network: bool = False


def check_internals(keras_model: KerasModel, file_format: Format, path: Path) -> InternalCheck:
    """Return the comparison of a file's kernels with Keras's, and of its layers up to the first that is wrong."""
    keras = keras_model.trace
    try:
        file = file_format.trace(path, keras_model.few)
    except (ArtifactError, MissingRuntime) as error:
        return InternalCheck(not_compared=str(error))
    errors = layer_errors(keras, file)
    kernels, worst, not_compared = _of_kernels(keras, file)
    at_end = next((error.sqnr for error in errors if error.layer == keras.tensors[-1][0]), -float("inf"))
    if at_end >= SAME_NETWORK:  # what differs on the way makes no difference in the end: it was rewritten
        return InternalCheck((), (), worst, not_compared, errors, same_network=True)
    rewritten = tuple(fault for fault in kernels if fault.name in known_faults.REWRITES and at_end < known_faults.SAME)
    faults = tuple(fault for fault in kernels if fault.name not in known_faults.REWRITES)
    if faults or rewritten:
        return InternalCheck(faults, rewritten, worst, not_compared, errors)
    return InternalCheck(*_of_layers(keras, file), worst, not_compared, errors)


def _of_kernels(keras: Trace, file: Trace) -> tuple[list[Fault], float | None, str | None]:
    """Return the faulty kernels, the signal-to-noise ratio of the worst in dB, and why they cannot be compared."""
    if not keras.kernels or len(keras.kernels) != len(file.kernels):
        return [], None, f"{len(file.kernels)} kernels in the file do not pair up with Keras's {len(keras.kernels)}"
    faults: list[Fault] = []
    worst = float("inf")
    for index, (right, kernel) in enumerate(zip(keras.kernels, file.kernels, strict=True)):
        picture = _picture(keras, index)
        if sorted(right.layout) != sorted(kernel.layout):
            return [], None, f"{kernel.name} of the file and Keras's {right.name} are layers of two kinds"
        native = known_faults.native(right, kernel.layout, file.channels_first, picture)
        if native.shape != kernel.values.shape:
            return [], None, f"{kernel.name} is {kernel.values.shape}, Keras's {right.name} {native.shape}"
        worst = min(worst, sqnr(native, kernel.values))
        faults += known_faults.of_kernel(right, kernel, native, picture)
    return faults, worst, None


def _of_layers(keras: Trace, file: Trace) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
    """Return the fault of the first layer that has one, as later layers inherit it, and a possible fault.

    A fault is only possible where another tensor is right: a file may compute the same numbers in another unit first.
    """
    for layer, values in keras.tensors:
        if values.shape[1:] == (10,) and layer != LOGITS:
            continue  # probabilities are compared as outputs
        faults: list[Fault] = []
        possible: list[Fault] = []
        right = False
        for _, tensor in candidates(values, file):
            # int8 logits may saturate below, where no class has a chance
            expected = np.maximum(values, tensor.min()) if layer == LOGITS else values
            right = right or sqnr(expected, tensor) >= known_faults.SAME
            faults += known_faults.of_activations(layer, expected, tensor)
            possible += known_faults.of_range(layer, expected, tensor)
        if faults or possible:
            return ((), tuple([*faults, *possible][:1])) if right else (tuple(faults[:1]), tuple(possible[:1]))
    return (), ()


def _picture(keras: Trace, index: int) -> tuple[int, ...]:
    """Return height, width and channels of the picture that a Dense layer's input was flattened from; () where none."""
    size = keras.kernels[index].values.shape[0]
    if keras.kernels[index].values.ndim != 2:
        return ()
    shapes = [(28, 28, 1), *(values.shape[1:] for _, values in keras.tensors)]
    return next((shape for shape in reversed(shapes) if len(shape) == 3 and np.prod(shape) == size), ())


@dataclass(frozen=True)
class GoldenOutputs:
    """A file's contract and its `outputs` `[N, 10]` on golden `images` uint8 `[N, 28, 28]`, with Keras's outputs."""

    contract: Contract
    images: NDArray[np.uint8]
    keras: NDArray[np.float32]
    outputs: NDArray[np.float32]


@dataclass(frozen=True)
class Diagnosis:
    """The likely causes, the likeliest first; none means that the cause is unknown.

    `not_compared` says what inside the file could not be compared. `kernels_good` says of a file without a known fault
    that its kernels are Keras's.
    """

    causes: tuple[Fault, ...]
    not_compared: str | None = None
    kernels_good: bool = False

    def __str__(self) -> str:
        not_compared = f"; not compared: {self.not_compared}" if self.not_compared else ""
        if not self.causes:
            kernels = "; every kernel is Keras's, so it is not the weights" if self.kernels_good else ""
            return f"cause unknown: no known fault explains what the file gives{kernels}{not_compared}"
        return f"likely cause: {'; '.join(map(str, self.causes))}{not_compared}"


def diagnose(
    failed: GoldenOutputs, runner: Runner, keras_model: KerasModel | None, internal: InternalCheck
) -> Diagnosis:
    """Return the likely cause of a failure: what explains all outputs comes before what was seen inside the network."""
    contract = tuple(_broken_contract(failed, runner))
    if outputs := tuple(known_faults.of_outputs(failed.keras, failed.outputs)):
        return Diagnosis(contract + outputs)
    causes = tuple(_wrong_input(failed, runner, keras_model)) or internal.faults or internal.possible
    kernels_good = internal.worst_kernel is not None and internal.worst_kernel >= known_faults.SAME
    return Diagnosis(contract + causes, None if causes else internal.not_compared, kernels_good and not causes)


def _broken_contract(failed: GoldenOutputs, runner: Runner) -> Iterator[Fault]:
    """Yield a fault for each difference between the file's own input and output and its contract."""
    for line in failed.contract.mismatches(runner.io_specs) if runner.io_specs else ():
        kinds = {"labels": "labels shifted", "zero point": "wrong zero point", "scale": "wrong scale"}
        yield Fault(next((kind for word, kind in kinds.items() if word in line), "broken contract"), line)


def _wrong_input(failed: GoldenOutputs, runner: Runner, keras_model: KerasModel | None) -> Iterator[Fault]:
    """Yield a fault where Keras gives the file's outputs for changed images; without Keras, try a black image."""
    if keras_model is None:
        if known_faults.same_as_black(failed.outputs, runner.run(np.zeros((1, 28, 28), np.uint8))):
            yield Fault("normalization applied twice", "every image gets nearly the answer of a black one")
        return
    pixels = failed.images.astype(np.float32) / np.float32(255)
    yield from known_faults.of_inputs(
        lambda changed: predict_pixels(keras_model.model, changed), pixels, failed.outputs
    )
