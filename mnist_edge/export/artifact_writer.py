"""Writes one file of an export, and runs it: on the golden images, and int8 on held-out training images too."""

import shutil
import tempfile
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_edge import __version__
from mnist_edge.core.contract import LABELS, IOOptions, Precision
from mnist_edge.core.errors import ArtifactError, ConversionError, MissingRuntime
from mnist_edge.core.files import sha256
from mnist_edge.core.host import Host
from mnist_edge.core.manifest import Artifact, FileEntry
from mnist_edge.core.metrics import Comparison, compare, mcnemar_interval
from mnist_edge.core.optional import versions
from mnist_edge.export.inputs import ExportInputs
from mnist_edge.export.plan import counterpart_format
from mnist_edge.export.tuning import Tuned
from mnist_edge.formats import FORMATS, runtime_versions
from mnist_edge.formats.base import Format
from mnist_edge.formats.keras.bias_correction import mean_shift, with_shifted_logits
from mnist_edge.formats.keras.model import predict, scaled
from mnist_edge.formats.keras.trace import LayerTracer
from mnist_edge.formats.layer_errors import first_far_off, layer_errors
from mnist_edge.formats.request import Request, TuningResult

LOSS = 0.3  # points of accuracy that int8 may lose without a word
FLIPPED = 0.005  # share of held-out images: where int8 changes the class of fewer, its bias is left as it is
UNSURE = 0.002  # share of held-out digits that a network which has learned marks takes for no digit
FEW = 20


@dataclass(frozen=True)
class Written:
    """A written file: its entry in the manifest, and its outputs `[K, 10]` on the golden images.

    `loss` says what int8 loses on held-out training images, where that is more than noise.
    """

    artifact: Artifact
    outputs: NDArray[np.float32]
    loss: str | None


@dataclass(frozen=True)
class ArtifactWriter:
    """Writes the files of one export. `golden` are indices of test images."""

    inputs: ExportInputs
    io: IOOptions
    tuned: Tuned
    golden: NDArray[np.int64]

    def write(self, format_name: str, precision: Precision, path: Path) -> Written:
        """Convert one file to `path`, with what belongs to it beside it; nothing is left there where that fails.

        Raises:
            ConversionError, UnsupportedPrecision, MissingRuntime: as the format's `export` does.
            ArtifactError: the format's runtime does not run what the converter wrote.
        """
        file_format, quantized_as = FORMATS[format_name], counterpart_format(format_name)
        if precision is Precision.INT8 and quantized_as in self.tuned.failed:
            raise ConversionError(self.tuned.failed[quantized_as])
        tuning = self.tuned.results.get(quantized_as, TuningResult(self.inputs.quantization, ()))
        request = Request(
            precision=precision,
            calibration=self.inputs.calibration_images,
            metadata=self._metadata(precision, file_format.packages),
            io=self.io,
            quantization=tuning.quantization,
            threshold=self._threshold,
        )
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            temporary = Path(folder) / path.name
            contract = file_format.export(self.inputs.model, temporary, request)
            compared = self._on_held_out(file_format, temporary) if precision is Precision.INT8 else None
            if compared is not None and len(compared.flips) > FLIPPED * compared.count and not self.io.full_integer:
                compared = self._correct_bias(file_format, temporary, request, compared)
            with file_format.open(temporary) as runner:
                outputs = runner.run(self.inputs.dataset.test.images[self.golden])
            loss = None if compared is None else self._loss(compared, file_format, temporary)
            artifact = Artifact(
                path=self.inputs.folder / path.name,
                format=format_name,
                precision=precision,
                contract=contract,
                bytes=temporary.stat().st_size,
                sha256=sha256(temporary),
                quantization=asdict(tuning) if precision is Precision.INT8 else None,
                companions={
                    item.name: FileEntry.of(item) for item in sorted(Path(folder).iterdir()) if item != temporary
                },
                versions=runtime_versions(),
                host=asdict(Host.read()),
            )
            for item in Path(folder).iterdir():
                shutil.move(item, path.parent / item.name)
        return Written(artifact, outputs, loss)

    @cached_property
    def _threshold(self) -> float | None:
        """Return the probability that UNSURE of the held-out digits stay under; None where no marks were learned."""
        recipe = self.inputs.record.get("recipe") or {}
        if not (recipe.get("augmented") or {}).get("drawn_marks"):
            return None
        return round(float(np.quantile(self._keras_on_held_out.max(axis=1), UNSURE)), 4)

    @cached_property
    def _keras_on_held_out(self) -> NDArray[np.float32]:
        return predict(self.inputs.model, self.inputs.dataset.train.images[self.inputs.held_out])

    def _on_held_out(self, file_format: Format, path: Path) -> Comparison:
        train = self.inputs.dataset.train
        with file_format.open(path) as runner:
            outputs = runner.run(train.images[self.inputs.held_out])
        return compare(self._keras_on_held_out, outputs, train.labels[self.inputs.held_out])

    def _correct_bias(self, file_format: Format, path: Path, request: Request, compared: Comparison) -> Comparison:
        """Write a file again without the mean shift of its logits, keep what changes fewer classes, and return that.

        Args:
            file_format: of the file.
            path: the file.
            request: what it was made from.
            compared: with Keras, on held-out training images.
        """
        with file_format.open(path) as runner:
            shift = mean_shift(predict(self.inputs.model, request.calibration), runner.run(request.calibration))
        model = with_shifted_logits(self.inputs.model, -shift)
        if model is None:
            return compared
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            corrected = Path(folder) / path.name
            file_format.export(model, corrected, request)
            after = self._on_held_out(file_format, corrected)
            if len(after.flips) >= len(compared.flips):
                return compared
            shutil.move(corrected, path)
        return after

    def _loss(self, compared: Comparison, file_format: Format, path: Path) -> str | None:
        """Return what a file loses against Keras, and in which layer that begins; None where it is but noise."""
        interval = mcnemar_interval(compared)
        if compared.drop <= LOSS or interval is None or interval.within_noise:
            return None
        images = self.inputs.calibration_images[:FEW]
        keras = LayerTracer(self.inputs.model).trace(scaled(images))
        try:
            begins = first_far_off(keras, layer_errors(keras, file_format.trace(path, images), quantized=True))
        except (ArtifactError, MissingRuntime):
            begins = None
        where = f"; the first layer that is far off is {begins}" if begins else ""
        return (
            f"loses {compared.drop:.2f} points of accuracy against Keras on {compared.count} held-out training "
            f"images{where}. --max-drop 0.1 leaves the layers in float that cost most"
        )

    def _metadata(self, precision: Precision, packages: tuple[str, ...]) -> dict[str, str]:
        """Return what a file says of itself; it is the same at every export of a model."""
        record = self.inputs.record
        return {
            "model": self.inputs.name,
            "precision": precision,
            "labels": " ".join(LABELS),
            "dataset": record["dataset"]["name"],
            "weights_sha256": record["weights_sha256"],
            "mnist_edge": __version__,
            "versions": ", ".join(f"{name} {version}" for name, version in versions(packages).items()),
        }
