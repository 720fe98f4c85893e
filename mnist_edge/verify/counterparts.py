"""Holds a file for another kind of machine to its twin: the same network in the format that it was made from."""

from collections.abc import Iterable

import numpy as np

from mnist_edge.core.errors import ArtifactError
from mnist_edge.formats import FORMATS
from mnist_edge.verify.result import ArtifactResult, Check, Sample, Status

SHOWN = 5


def counterpart_checks(results: tuple[ArtifactResult, ...], sample: Sample) -> Iterable[Check]:
    """Return a check for each file with a target that ran here."""
    for result in results:
        file_format = FORMATS.get(result.artifact.format)
        if file_format is not None and file_format.platform is not None and result.outputs is not None:
            status, detail = _compare(result, file_format.platform.counterpart_format, results, sample)
            yield Check(file_format.platform.promise, status, f"{result.artifact.path.name} {detail}")


def _compare(
    result: ArtifactResult, counterpart_format: str, results: tuple[ArtifactResult, ...], sample: Sample
) -> tuple[Status, str]:
    """Compare classes on the whole sample; a class must be the twin's, as its runtime computes it in one way at least.

    That runtime's own ways may differ where two classes are a step apart: XNNPACK has an int8 Softmax of its own.
    """
    ours = result.artifact
    for other in results:
        its = other.artifact
        if (its.format, its.precision, its.contract) == (counterpart_format, ours.precision, ours.contract):
            break
    else:
        return (
            Status.SKIPPED,
            f"has no twin in this folder: export {ours.precision} with the same ends to {counterpart_format}",
        )
    name = its.path.name
    if other.outputs is None or result.outputs is None:
        return Status.SKIPPED, f"could not be compared with {name}, which did not run here"
    classes = result.outputs.argmax(axis=1)
    differ = np.flatnonzero(classes != other.outputs.argmax(axis=1))
    left = differ
    explained = []
    for variant in FORMATS[counterpart_format].variants:
        if not len(left):
            break
        try:
            with FORMATS[counterpart_format].open(its.path, variant=variant) as runner:
                agrees = runner.run(sample.images[left]).argmax(axis=1) == classes[left]
        except ArtifactError:
            continue  # the file's own verdict tells
        if agrees.any():
            explained.append(f"on {int(agrees.sum())} of them as that is computed {variant}")
        left = left[~agrees]
    if len(left):
        some = ", ".join(map(str, left[:SHOWN]))
        return Status.FAIL, f"gives another class than {name} on {len(left)} of {len(classes)} images: {some}"
    told = "".join(f", {line}" for line in explained)
    return Status.PASS, f"gives the class of {name} on all {len(classes)} images{told}"
