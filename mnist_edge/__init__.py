"""Take a digit classifier from Keras to the edge, and prove that it got there whole.

>>> from mnist_edge import load_mnist, train, export, verify, bench, predict
>>> folder = export(train("cnn", load_mnist()), "exports/cnn", precisions=["int8"])
>>> assert verify(folder).passed
>>> probabilities = predict(load_mnist().test.images, folder / "cnn-int8.onnx")
"""

import sys

if getattr(sys, "argv", [""])[0].endswith(("-m", "mnist-edge")):  # only where this is the command line
    import _signal  # type: ignore[import-not-found]  # `signal` takes 5 ms to load

    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # a Ctrl-C while it loads ends it without a traceback

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_edge.bench.benchmark import bench
    from mnist_edge.data.dataset import load_mnist
    from mnist_edge.diff.diff import diff
    from mnist_edge.export import export
    from mnist_edge.predict import predict
    from mnist_edge.training.trainer import train
    from mnist_edge.verify.verify import verify

__version__ = "0.1.0"
__all__ = ["bench", "diff", "export", "load_mnist", "predict", "train", "verify"]

_MODULES = {
    "bench": "mnist_edge.bench.benchmark",
    "diff": "mnist_edge.diff.diff",
    "export": "mnist_edge.export",
    "load_mnist": "mnist_edge.data.dataset",
    "predict": "mnist_edge.predict",
    "train": "mnist_edge.training.trainer",
    "verify": "mnist_edge.verify.verify",
}


class _Package(ModuleType):
    """The package, whose functions are imported when they are first used.

    Five of them are called like sub-packages. Python sets a sub-package as an attribute here once it is imported; the
    setters below ignore that, so that `mnist_edge.verify` is the function at any time.
    """


def _function(name: str) -> property:
    def get(package: ModuleType) -> Any:
        return getattr(importlib.import_module(_MODULES[name]), name)

    return property(get, lambda package, value: None)


for _name in _MODULES:
    setattr(_Package, _name, _function(_name))
sys.modules[__name__].__class__ = _Package
