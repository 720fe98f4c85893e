"""Pairs the layers of two files: in the order of execution, by shape, and where there is a choice by name and more."""

from collections.abc import Sequence

import numpy as np

from mnist_edge.formats.layer_errors import sqnr
from mnist_edge.formats.weights import Layer

SAMPLE = 4096  # numbers of a kernel that are looked at for pairing
ALIKE = 6.0  # dB
PAIR, NAME, NUMBERS = 1.0, 0.5, 2.0
Pairs = list[tuple[Layer, Layer]]


def pair_layers(a: Sequence[Layer], b: Sequence[Layer]) -> tuple[Pairs, list[Layer], list[Layer]]:
    """Return pairs of layers in A's order, and the layers of A and of B that have no counterpart.

    The pairs are the best alignment of both sequences: layers that can be paired have kernels of one shape, or are
    operators of one kind without a kernel; one name counts half a pair, and numbers that are alike two. What is left is
    paired by its numbers and its name, in whatever order it stands.
    """
    scores = np.array([[_score(one, other) for other in b] for one in a], np.float64).reshape(len(a), len(b))
    places = _aligned(scores)
    rest = [
        (-scores[i, j], i, j)
        for i in {*range(len(a))} - {i for i, _ in places}
        for j in {*range(len(b))} - {j for _, j in places}
        if scores[i, j] > PAIR
    ]
    for _, i, j in sorted(rest):
        if i not in {i for i, _ in places} and j not in {j for _, j in places}:
            places.append((i, j))
    pairs = [(a[i], b[j]) for i, j in sorted(places)]
    alone_a = [item for i, item in enumerate(a) if i not in {i for i, _ in places}]
    alone_b = [item for j, item in enumerate(b) if j not in {j for _, j in places}]
    return pairs, alone_a, alone_b


def _score(a: Layer, b: Layer) -> float:
    """Return how well two layers pair; 0 where they cannot."""
    if a.kernel is None or b.kernel is None:
        one_kind = a.kind == b.kind and not a.kernel and not b.kernel
        return PAIR + NAME * (a.name == b.name) if one_kind else 0.0
    if _shape(a) != _shape(b):
        return 0.0
    step = max(a.kernel.values.size // SAMPLE, 1)
    numbers = [item.values.reshape(-1)[::step] for item in (a.kernel, b.kernel)]
    with np.errstate(over="ignore", invalid="ignore"):
        alike = sqnr(*numbers) > ALIKE
    return PAIR + NAME * (a.name == b.name) + NUMBERS * alike


def _shape(layer: Layer) -> tuple[int, ...]:
    """Return rows and output channels of a kernel: a convolution over all of a picture is a Dense layer."""
    assert layer.kernel is not None
    shape = layer.kernel.values.shape
    return int(np.prod(shape[:-1])), *shape[-1:]


def _aligned(scores: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> list[tuple[int, int]]:
    """Return the places of the pairs whose scores have the largest sum, both in rising order."""
    rows, columns = scores.shape
    best = np.zeros((rows + 1, columns + 1))
    for i in range(rows):
        for j in range(columns):
            paired = best[i, j] + scores[i, j] if scores[i, j] else 0.0
            best[i + 1, j + 1] = max(paired, best[i, j + 1], best[i + 1, j])
    places, i, j = [], rows, columns
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            places.append((i, j))
    return places[::-1]
