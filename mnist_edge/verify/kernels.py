"""Pairs the kernels of a file with Keras's, and names the fault of each that is not the same."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnist_edge.formats.inspection import Kernel, Trace
from mnist_edge.formats.layer_errors import sqnr
from mnist_edge.verify import known_faults
from mnist_edge.verify.known_faults import Fault

Array = NDArray[np.float32]


@dataclass(frozen=True)
class KernelPair:
    """A kernel of Keras's and the one of the file, with Keras's in the file's layout.

    `picture` is the height, width and channels of the picture that a Dense layer's input was flattened from, or ().
    """

    keras: Kernel
    file: Kernel
    native: Array
    picture: tuple[int, ...]
    channels_first: bool

    @property
    def sqnr(self) -> float:
        """Return the signal-to-noise ratio of the file's kernel, in dB."""
        return sqnr(self.native, self.file.values)

    @property
    def same(self) -> bool:
        """Return whether the file's kernel is Keras's, but for what 8 bits and one scale for all of it cost."""
        step = max(float(np.abs(self.native).max()) / 127, 1e-30)
        rounded = np.asarray(np.round(self.native / step) * step, np.float32)
        return self.sqnr >= min(known_faults.SAME, sqnr(self.native, rounded) - 3)

    def faults(self) -> list[Fault]:
        """Return the fault that turns Keras's kernel into the file's."""
        return [] if self.same else list(known_faults.of_kernel(self.keras, self.file, self.native, self.picture))

    def in_keras(self) -> Array:
        """Return the file's kernel in Keras's layout."""
        numbers = np.arange(self.native.size, dtype=np.float32).reshape(self.keras.values.shape)
        places = Kernel(self.keras.name, numbers, self.keras.layout)
        order = known_faults.native(places, self.file.layout, self.channels_first, self.picture).ravel().astype(int)
        values = np.empty(self.native.size, np.float32)
        values[order] = self.file.values.ravel()
        return values.reshape(self.keras.values.shape)


def pair_kernels(keras: Trace, file: Trace) -> tuple[list[KernelPair], list[str]]:
    """Return the pairs of kernels, and the names of Keras's that have none in the file.

    A file may hold its kernels in another order, a shared one more than once, and others that no layer of Keras has. So
    those that are alike are paired first, and the others by their shape, in the order of execution.
    """
    possible: list[tuple[float, int, int, KernelPair]] = []
    for index, expected in enumerate(keras.kernels):
        picture = _picture(keras, index)
        for place, kernel in enumerate(file.kernels):
            if sorted(expected.layout) != sorted(kernel.layout):
                continue
            native = known_faults.native(expected, kernel.layout, file.channels_first, picture)
            if native.shape == kernel.values.shape:
                pair = KernelPair(expected, kernel, native, picture, file.channels_first)
                possible.append((pair.sqnr, index, place, pair))
    alike = sorted((item for item in possible if item[0] >= known_faults.ROUNDED), key=lambda item: -item[0])
    rest = sorted((item for item in possible if item[0] < known_faults.ROUNDED), key=lambda item: item[1:3])
    pairs: dict[int, KernelPair] = {}
    taken: set[int] = set()
    for _, index, place, pair in (*alike, *rest):
        if index not in pairs and place not in taken:
            pairs[index] = pair
            taken.add(place)
    alone = [kernel.name for index, kernel in enumerate(keras.kernels) if index not in pairs]
    return [pairs[index] for index in sorted(pairs)], alone


def _picture(keras: Trace, index: int) -> tuple[int, ...]:
    """Return height, width and channels of the picture that a Dense layer's input was flattened from; () where none."""
    size = keras.kernels[index].values.shape[0]
    if keras.kernels[index].values.ndim != 2:
        return ()
    shapes = [(28, 28, 1), *(values.shape[1:] for _, values in keras.tensors)]
    return next((shape for shape in reversed(shapes) if len(shape) == 3 and np.prod(shape) == size), ())
