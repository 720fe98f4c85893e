"""Compares a file for another kind of machine with its counterpart, the same network in another format."""

from collections.abc import Iterable

import numpy as np

from mnist_edge.core.errors import ArtifactError, MissingRuntime
from mnist_edge.formats import FORMATS
from mnist_edge.verify.result import ArtifactResult, Check, Sample, Status

SHOWN = 5


def counterpart_checks(results: tuple[ArtifactResult, ...], sample: Sample) -> Iterable[Check]:
    """Yield a check for each file for another platform that ran here."""
    for result in results:
        file_format = FORMATS.get(result.artifact.format)
        if file_format is not None and file_format.platform is not None and result.outputs is not None:
            other = _counterpart(result, file_format.platform.counterpart_format, results)
            status, detail = _compare(result, other, sample)
            if other is None:
                detail = (
                    f"has no counterpart in this folder: export {result.artifact.precision} with the same input and "
                    f"output to {file_format.platform.counterpart_format}"
                )
            yield Check(file_format.platform.promise, status, f"{result.artifact.path.name} {detail}")


def _counterpart(
    result: ArtifactResult, format_name: str, results: tuple[ArtifactResult, ...]
) -> ArtifactResult | None:
    own = result.artifact
    for other in results:
        artifact = other.artifact
        if (artifact.format, artifact.precision, artifact.contract) == (format_name, own.precision, own.contract):
            return other
    return None


def _compare(result: ArtifactResult, other: ArtifactResult | None, sample: Sample) -> tuple[Status, str]:
    """Compare classes on the whole sample; each must be the counterpart's in at least one variant of its runtime.

    The variants may differ where two classes are a step apart: XNNPACK has an int8 Softmax of its own.
    """
    if other is None or other.outputs is None or result.outputs is None:
        name = other.artifact.path.name if other else ""
        return Status.SKIPPED, f"could not be compared with {name}, which did not run here"
    name, file_format = other.artifact.path.name, FORMATS[other.artifact.format]
    classes = result.outputs.argmax(axis=1)
    differ = np.flatnonzero(classes != other.outputs.argmax(axis=1))
    explained = ""
    for variant in file_format.variants:
        if not len(differ):
            break
        if file_format.missing_variant(variant):
            continue
        try:
            with file_format.open(other.artifact.path, variant=variant) as runner:
                agrees = runner.run(sample.images[differ]).argmax(axis=1) == classes[differ]
        except (ArtifactError, MissingRuntime):
            continue  # the file's own verdict says so
        if agrees.any():
            explained += f", on {int(agrees.sum())} of them as that is computed {variant}"
        differ = differ[~agrees]
    if len(differ):
        some = ", ".join(map(str, differ[:SHOWN]))
        return Status.FAIL, f"gives another class than {name} on {len(differ)} of {len(classes)} images: {some}"
    return Status.PASS, f"gives the class of {name} on all {len(classes)} images{explained}"
