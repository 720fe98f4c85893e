"""Keras model → export folder. The command `mnist-edge export` does what `export` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_edge.core.contract import DEFAULT_IO, IOOptions, Precision

if TYPE_CHECKING:
    from mnist_edge.data.dataset import Dataset
    from mnist_edge.export.exporter import Exported
    from mnist_edge.export.inputs import ExportInputs
    from mnist_edge.export.plan import ExportPlan
    from mnist_edge.export.tuning import Budget
    from mnist_edge.training.store import Trained


@dataclass(frozen=True)
class ExportOptions:
    """What `export` takes besides precisions.

    `formats` are names, all where it is empty; `io` is the batch, head and dtype of input and output; `max_drop` are
    the accuracy points that int8 may lose on held-out training images, None for no search. `pixel_range` and `output`
    say of a model of your own what is found out where they are None. `qat` fine-tunes the model for int8 first; the
    folder then holds the fine-tuned model.
    """

    formats: tuple[str, ...] = ()
    io: IOOptions = DEFAULT_IO
    max_drop: float | None = None
    pixel_range: str | None = None
    output: str | None = None
    qat: bool = False


def export(
    model: Trained | str | Path | Any,
    folder: str | Path,
    precisions: Iterable[str] = ("float32", "int8"),
    dataset: Dataset | None = None,
    options: ExportOptions = ExportOptions(),
) -> Path:
    """Export a Keras model to a folder, and return the folder.

    Args:
        model: what `train` returned, a Keras model, or the path of a `.keras` file; float32 `[N, 28, 28, 1]` in [0, 1]
        →
            ten probabilities or logits.
        folder: the export folder, `exports/cnn`; its name is the model's.
        precisions: of float32, float16, dynamic, int8 and int16x8.
        dataset: for calibration and test; that of `train`, or what `load_mnist` returns, where it is None.
        options: formats, input and output, a budget for int8.

    Raises:
        ModelError, ArtifactError: the model cannot be used.
        UnsupportedPrecision, MissingRuntime: no file can be written.
        ConversionError: a file cannot be written; those that can are.
        DataError: there is no dataset, or it is not the one that the model was trained on.
        LockError: another process changes the folder, and does not end.
    """
    from mnist_edge.core.errors import ConversionError, UnsupportedPrecision
    from mnist_edge.core.publish import changing
    from mnist_edge.data.dataset import load_mnist
    from mnist_edge.export.fine_tuning import fine_tuned, fine_tuned_before
    from mnist_edge.export.inputs import load_inputs
    from mnist_edge.export.plan import plan_export
    from mnist_edge.export.tuning import Budget
    from mnist_edge.training import store
    from mnist_edge.training.own_model import OwnModelOptions, adopt

    folder = Path(folder)
    names = list(precisions)
    if unknown := [name for name in names if name not in tuple(Precision)]:
        raise UnsupportedPrecision(f"there is no precision {unknown[0]!r}. Say one of {', '.join(Precision)}.")
    plan = plan_export(map(Precision, names), options.formats, options.io)
    trained = model if isinstance(model, store.Trained) else None
    dataset = dataset or (trained and trained.dataset) or load_mnist()
    if trained is None:
        own = OwnModelOptions(options.pixel_range, options.output)
        trained = adopt(Path(model) if isinstance(model, str) else model, dataset, own)
    with changing(folder):
        inputs = load_inputs(folder, dataset, fine_tuned_before(folder, trained) if options.qat else trained)
        if options.qat:
            inputs = fine_tuned(inputs)
        exported = export_folder(inputs, plan, None if options.max_drop is None else Budget(options.max_drop))
    if exported.failed:
        raise ConversionError(exported.failure_text)
    return folder


def export_folder(
    inputs: ExportInputs,
    plan: ExportPlan,
    budget: Budget | None = None,
    on_progress: Callable[[str], None] = lambda line: None,
) -> Exported:
    """Choose the quantization within a budget, where there is one, and export, as `tune` and `export_files` say."""
    from mnist_edge.export.exporter import export_files
    from mnist_edge.export.tuning import Tuned, tune

    tuned = Tuned()
    if budget is not None:
        on_progress(f"Looking for int8 within {budget.max_drop} points of Keras on held-out training images …")
        tuned = tune(inputs, plan, budget, on_progress)
    return export_files(inputs, plan, tuned, lambda name: on_progress(f"Converting {name} …"))
