"""Nine kinds of faults, planted into ten networks of tests/support/networks.py: does `verify` fail each, and why?

    python benchmarks/planted_faults.py     (writes results/planted_faults.json and .md)

The real converters convert the faulty network, and the file is entered as if the exporter had written it. Formats take
turns.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from figures import write
from support import faults
from support.networks import NETWORKS

from mnist_edge.core.contract import Precision
from mnist_edge.core.optional import require_keras
from mnist_edge.data.dataset import Dataset, load_mnist
from mnist_edge.export import export_folder
from mnist_edge.export.inputs import load_inputs
from mnist_edge.export.plan import plan_export
from mnist_edge.training import store
from mnist_edge.training.own_model import take_over
from mnist_edge.training.trainer import dataset_record, evaluate, origin, split_record
from mnist_edge.verify.verify import verify

CHOSEN = (
    "conv-batchnorm-relu",
    "depthwise-separable",
    "separable-conv",
    "grouped-conv",
    "residual-swish",
    "branches",
    "nested-backbone",
    "squeeze-and-excite",
    "gelu",
    "quickstart-28x28",
)
Fault = Callable[[Any], Any]


def kernels(change: Callable[[Any], Any], index: int) -> Fault:
    """Return a fault that changes the kernel of a layer, counted among those that have one."""

    def fault(model: Any) -> Any:
        layer = [layer for layer in model.layers if hasattr(layer, "kernel")][index]
        kernel, *rest = layer.get_weights()
        layer.set_weights([change(kernel.copy()), *rest])
        return model

    return fault


def swapped(kernel: Any) -> Any:
    """Exchange two output channels."""
    kernel[..., [1, 3]] = kernel[..., [3, 1]]
    return kernel


def four_bits(kernel: Any) -> Any:
    """Round to 15 levels."""
    step = np.abs(kernel).max() / 7
    return np.round(kernel / step) * step


def off(kernel: Any) -> Any:
    """Move every weight by a tenth of the largest, as a wrong zero point does."""
    return kernel + 0.1 * np.abs(kernel).max()


def misread(kernel: Any) -> Any:
    """Multiply each channel by a factor of its own, as scales of other channels do."""
    return kernel * np.linspace(0.5, 2, kernel.shape[-1]).astype(np.float32)


def before(change: Callable[[Any], Any]) -> Fault:
    """Return a fault that changes the image before the network."""

    def fault(model: Any) -> Any:
        keras = require_keras("a benchmark")
        image = keras.Input((28, 28, 1), name="image")
        return keras.Model(image, model(change(keras.layers)(image)))

    return fault


def softmax_twice(model: Any) -> Any:
    """Apply Softmax to probabilities."""
    keras = require_keras("a benchmark")
    return keras.Model(model.inputs[0], keras.layers.Softmax(name="twice")(model.outputs[0]))


FAULTS: Mapping[str, Fault] = {
    "swapped channels": kernels(swapped, -1),
    "labels shifted": kernels(lambda kernel: np.roll(kernel, 1, axis=-1), -1),
    "weights rounded to 4 bits": kernels(four_bits, -1),
    "wrong zero point": kernels(off, 0),
    "per-channel scales misread": kernels(misread, -1),
    "normalization applied twice": before(lambda layers: layers.Rescaling(1 / 255)),
    "image inverted": before(lambda layers: layers.Rescaling(-1.0, offset=1.0)),
    "image transposed": before(lambda layers: layers.Permute((2, 1, 3))),
    "Softmax applied twice": softmax_twice,
}


def export(name: str, dataset: Dataset, folder: Path) -> Path:
    """Return the folder of a network, exported in float32."""
    own = take_over(NETWORKS[name].trained(dataset.train, 20_000), name, dataset.train)
    record = {
        "schema": 1,
        "recipe": None,
        "taken_from": None,
        "split": split_record(len(dataset.train), 0, None, None),
        "dataset": dataset_record(dataset),
        "test": evaluate(own.model, dataset.test),
        "floor": None,
        **origin(own.model),
    }
    target = folder / name
    trained = store.Trained(own.model, record, dataset)
    store.save(trained, target)
    export_folder(load_inputs(target, dataset, trained), plan_export([Precision.FLOAT32]))
    return target


def main() -> None:
    """Plant each fault into each network."""
    dataset = load_mnist()
    rows = []
    for place, name in enumerate(CHOSEN):
        with tempfile.TemporaryDirectory() as temporary:
            whole = export(name, dataset, Path(temporary))
            for turn, (kind, fault) in enumerate(FAULTS.items()):
                file = f"{name}-float32{('.onnx', '.tflite')[(place + turn) % 2]}"
                folder = faults.only(whole, Path(temporary) / f"{turn}" / name, file)
                faults.export_faulty(folder, file, dataset, fault)
                (result,) = verify(folder, images=1000).results
                causes = [cause.name for cause in result.diagnosis.causes] if result.diagnosis else []
                rows.append(
                    {"network": name, "file": file, "fault": kind, "status": str(result.status), "causes": causes}
                )
                print(rows[-1], flush=True)
    write("planted_faults", {"rows": rows}, table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    caught = sum(row["status"] == "FAIL" for row in rows)
    named = sum(row["fault"] in " ".join(row["causes"][:1]) for row in rows)
    lines = [
        f"{len(rows)} faults planted, {caught} failed by `verify`, {named} named as what they are.",
        "",
        "| fault | failed | named so | otherwise |",
        "|---|---|---|---|",
    ]
    for kind in FAULTS:
        of_kind = [row for row in rows if row["fault"] == kind]
        first = [(row["causes"] or ["cause unknown"])[0] for row in of_kind]
        others = sorted({cause for cause in first if kind not in cause})
        failed = sum(row["status"] == "FAIL" for row in of_kind)
        same = sum(kind in cause for cause in first)
        lines.append(f"| {kind} | {failed} of {len(of_kind)} | {same} | {', '.join(others) or '–'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
