"""`mnist-edge export --qat`."""

from typing import TYPE_CHECKING

from mnist_edge.cli.console import InterruptFlag, info
from mnist_edge.cli.train import epochs_shown

if TYPE_CHECKING:
    from mnist_edge.export.inputs import ExportInputs


def fine_tuned_with_progress(inputs: "ExportInputs") -> "ExportInputs":
    """Return the inputs of an export with their model fine-tuned for int8, and say what that gave."""
    from mnist_edge.export.fine_tuning import fine_tuned
    from mnist_edge.training.qat import QatOptions

    if inputs.record.get("quantization"):
        info(f"The model in {inputs.folder} is fine-tuned for int8 already.")
        return inputs
    options = QatOptions(seed=inputs.record.get("seed") or 0)
    info(f"Fine-tuning for int8, {options.epochs} epochs …")
    with epochs_shown(options.epochs) as show:
        tuned = fine_tuned(inputs, options, show)
    InterruptFlag.check()
    record = tuned.record["qat"]
    rounded, trained = record["rounded"]["right"], record["fine-tuned"]["right"]
    count, better = record["held_out"], record["kept"] == "fine-tuned"
    info(
        f"Right of {count} held-out training images: {record['float_right']} in float, {rounded} in int8, {trained} in "
        f"int8 after fine-tuning{'' if better else ', which is not kept: it does not help'}."
    )
    return tuned
