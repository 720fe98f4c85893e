"""Compares kernels and layers of a file with Keras's, and names the known fault that explains a failure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.core.contract import Contract
from mnist_edge.core.errors import ArtifactError, MissingRuntime
from mnist_edge.core.manifest import Artifact
from mnist_edge.formats.base import Format
from mnist_edge.formats.inspection import Trace
from mnist_edge.formats.keras.model import load_model, predict, predict_pixels, scaled
from mnist_edge.formats.keras.trace import LOGITS, LayerTracer
from mnist_edge.formats.layer_errors import LayerError, candidates, first_far_off, layer_errors, sqnr
from mnist_edge.formats.runner import Runner
from mnist_edge.verify import known_faults
from mnist_edge.verify.kernels import KernelPair, pair_kernels
from mnist_edge.verify.known_faults import Fault
from mnist_edge.verify.tolerances import QUANTIZED
from mnist_edge.verify.variants import VariantResult

FEW = 20
BY_SETTING = 10  # the same of a setting: float sums instead of int8 ones win up to 5.4 where nothing is wrong
HIGHEST, LEAST = 1.5, 0.5  # an input that spans more, or less, was not calibrated on pixels in [0, 1]
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

    @cached_property
    def outputs(self) -> NDArray[np.float32]:
        """Return its outputs on the images, `[N, 10]`."""
        return predict(self.model, self.images)

    @property
    def few(self) -> NDArray[np.uint8]:
        """Return some of the images, from all over the set."""
        return self.images[:: max(len(self.images) // FEW, 1)]

    @cached_property
    def layers(self) -> LayerTracer:
        """Return what traces the model, and computes it with a layer changed."""
        return LayerTracer(self.model)

    @cached_property
    def trace(self) -> Trace:
        """Return its kernels, and its layers' outputs on a few images."""
        return self.layers.trace(scaled(self.few))


@dataclass(frozen=True)
class InternalCheck:
    """The comparison of kernels and layers with Keras's: faults, the worst kernel in dB, and each layer's error.

    `not_compared` says what could not be compared, and why; `same_network` says that the last layer agrees, and
    `same_kernels` that every kernel does; `begins` names the first layer that is far off. A
    `possible` fault may also come from calibration, from another unit or from a rewritten kernel; it counts only where
    the file fails otherwise.
    """

    faults: tuple[Fault, ...] = ()
    possible: tuple[Fault, ...] = ()
    worst_kernel: float | None = None
    not_compared: str | None = None
    errors: tuple[LayerError, ...] = ()
    same_network: bool = False
    same_kernels: bool = False
    begins: str | None = None


def check_internals(
    keras_model: KerasModel, file_format: Format, artifact: Artifact, outputs: NDArray[np.float32]
) -> InternalCheck:
    """Return the comparison of a file's kernels with Keras's, and of its layers up to the first that is wrong.

    Args:
        keras_model: what the file was made from.
        file_format: of the file.
        artifact: the file.
        outputs: the file's own, `[N, 10]`, on the images of `keras_model`.
    """
    keras = keras_model.trace
    try:
        file = file_format.trace(artifact.path, keras_model.few)
    except (ArtifactError, MissingRuntime) as error:
        return InternalCheck(not_compared=str(error))
    errors = layer_errors(keras, file, artifact.precision in QUANTIZED)
    pairs, alone = pair_kernels(keras, file)
    not_compared = None if not alone else f"the file has no kernel of the shape of {', '.join(alone)}"
    if not keras.kernels:
        not_compared = "no layer of the network has a kernel that can be compared"
    worst, same = min((pair.sqnr for pair in pairs), default=None), bool(pairs) and all(pair.same for pair in pairs)
    at_end = next((error.sqnr for error in errors if error.layer == keras.tensors[-1][0]), -float("inf"))
    if at_end >= SAME_NETWORK:  # what differs on the way makes no difference in the end: it was rewritten
        return InternalCheck((), (), worst, not_compared, errors, same_network=True, same_kernels=same)
    begins = first_far_off(keras, errors)
    trial = _Trial(keras_model, outputs)
    faults, possible = [], []
    for pair in pairs:
        for fault in pair.faults():
            if fault.name not in known_faults.REWRITES:
                faults.append(fault)
            elif at_end < known_faults.SAME and trial.explains_kernel(pair):
                possible.append(fault)
    if faults or possible:
        return InternalCheck(tuple(faults), tuple(possible), worst, not_compared, errors)
    return InternalCheck(*_of_layers(keras, file, trial), worst, not_compared, errors, same_kernels=same, begins=begins)


@dataclass(frozen=True)
class _Trial:
    """Tries whether Keras, with a fault done to it, gives what the file gives: only then is it the cause."""

    keras_model: KerasModel
    outputs: NDArray[np.float32]

    def explains_kernel(self, pair: KernelPair) -> bool:
        """Return whether it does with the file's kernel, and the bias in the file's unit or in Keras's."""
        layers, pixels = self.keras_model.layers, scaled(self.keras_model.images)
        name, kernel = pair.keras.name, pair.in_keras()
        changed = (layers.with_kernel(name, kernel, pixels, bias_too) for bias_too in (True, False))
        return any(known_faults.nearer(self.outputs, self.keras_model.outputs, faulty) for faulty in changed)

    def explains_output(self, layer: str, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> bool:
        """Return whether it does with a layer's output changed."""
        faulty = self.keras_model.layers.with_output(layer, change, scaled(self.keras_model.images))
        return known_faults.nearer(self.outputs, self.keras_model.outputs, faulty)


def _of_layers(keras: Trace, file: Trace, trial: _Trial) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
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
            for found, changes in (
                (faults, known_faults.of_activations(layer, expected, tensor)),
                (possible, known_faults.of_range(layer, expected, tensor)),
            ):
                found += [fault for fault, change in changes if trial.explains_output(layer, change)]
        if faults or possible:
            return ((), tuple([*faults, *possible][:1])) if right else (tuple(faults[:1]), tuple(possible[:1]))
    return (), ()


@dataclass(frozen=True)
class GoldenOutputs:
    """A file's contract and its `outputs` `[N, 10]` on golden `images` uint8 `[N, 28, 28]`, with Keras's outputs.

    `input_range` are the lowest and highest number that it tells apart in a float input, where that is known;
    `of_runtime` are the faults that another setting of the runtime undoes.
    """

    contract: Contract
    images: NDArray[np.uint8]
    keras: NDArray[np.float32]
    outputs: NDArray[np.float32]
    input_range: tuple[float, float] | None = None
    of_runtime: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """The likely causes, the likeliest first; none means that the cause is unknown.

    `not_compared` says what inside the file could not be compared, `begins` which layer is the first that is far off.
    `kernels_good` says of a file without a known fault
    that its kernels are Keras's.
    """

    causes: tuple[Fault, ...]
    not_compared: str | None = None
    kernels_good: bool = False
    begins: str | None = None

    def __str__(self) -> str:
        not_compared = f"; not compared: {self.not_compared}" if self.not_compared else ""
        if not self.causes:
            kernels = "; every kernel is Keras's, so it is not the weights" if self.kernels_good else ""
            begins = f"; the first layer that is far off is {self.begins}" if self.begins else ""
            return f"cause unknown: no known fault explains what the file gives{kernels}{begins}{not_compared}"
        return f"likely cause: {'; '.join(map(str, self.causes))}{not_compared}"


def diagnose(
    failed: GoldenOutputs, runner: Runner, keras_model: KerasModel | None, internal: InternalCheck
) -> Diagnosis:
    """Return the likely cause of a failure: what explains all outputs comes before what was seen inside the network."""
    contract = (*_broken_contract(failed, runner), *_other_range(failed.input_range, runner))
    if outputs := tuple(known_faults.of_outputs(failed.keras, failed.outputs)):
        return Diagnosis(contract + outputs)
    causes = tuple(_wrong_input(failed, runner, keras_model)) or internal.faults
    causes = causes or failed.of_runtime or internal.possible
    kernels_good = internal.same_kernels
    return Diagnosis(
        contract + causes, None if causes else internal.not_compared, kernels_good and not causes, internal.begins
    )


def _broken_contract(failed: GoldenOutputs, runner: Runner) -> Iterator[Fault]:
    """Yield a fault for each difference between the file's own input and output and its contract."""
    for line in failed.contract.mismatches(runner.io_specs) if runner.io_specs else ():
        kinds = {"labels": "labels shifted", "zero point": "wrong zero point", "scale": "wrong scale"}
        yield Fault(next((kind for word, kind in kinds.items() if word in line), "broken contract"), line)


def of_runtime(variants: tuple[VariantResult, ...], file_format: Format) -> Iterator[Fault]:
    """Yield a fault where a setting of the runtime gives Keras's answers back: then the file itself is good."""
    for variant in variants:
        if variant.nearer > BY_SETTING:
            evidence = f"{variant.name}, the mean square difference to Keras is {variant.nearer:.0f} times smaller"
            known = file_format.variants.get(variant.name, "")
            yield Fault("the runtime computes it otherwise on this CPU", f"{evidence}{known and '; '}{known}")


def _other_range(input_range: tuple[float, float] | None, runner: Runner) -> Iterator[Fault]:
    """Yield a fault where the input does not span the pixels from 0 to 1, but another range of them.

    Args:
        input_range: of a float input that is quantized inside the file.
        runner: of the file, which says how a quantized input is.
    """
    spec = runner.io_specs[0] if runner.io_specs else None
    if input_range is None and spec is not None and spec.scale:
        limits = np.iinfo(spec.dtype)
        low, high = ((end - (spec.zero_point or 0)) * spec.scale for end in (limits.min, limits.max))
        input_range = low, high
    if input_range is None:
        return
    low, high = input_range
    if not LEAST <= high <= HIGHEST or low < -HIGHEST / 2:
        evidence = f"its input spans {low:.3g} to {high:.3g}, and pixels come in 0 to 1"
        yield Fault("calibrated on another pixel range", evidence)


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
