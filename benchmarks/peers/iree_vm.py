"""IREE: our ONNX files, compiled for this machine's CPU."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peers.network import Call, Files, Network, unit

RUNTIME = "IREE"
PACKAGES = ("iree-base-compiler[onnx]", "iree-base-runtime")
FOR_THIS_CPU = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
)


def _compile(source: Path, folder: Path) -> Files:
    binaries, middle, target = Path(sys.executable).parent, folder / "network.mlir", folder / "network.vmfb"
    for command in (
        [f"{binaries}/iree-import-onnx", str(source), "--opset-version", "17", "-o", str(middle)],
        [f"{binaries}/iree-compile", str(middle), *FOR_THIS_CPU, "-o", str(target)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error:" in line] or done.stderr.splitlines()[-1:]
            raise RuntimeError(f"{Path(command[0]).name}: {' '.join(errors[:1])}")
    return (target,)


def _float32(network: Network, folder: Path) -> Files:
    return _compile(network.float_onnx, folder)


def _ours(network: Network, folder: Path) -> Files:
    return _compile(network.int8_onnx, folder)


ROUTES = {"float32": _float32, "int8, our .onnx": _ours}


def open_call(path: Path) -> Call:
    """Return the call of a compiled module on the device that uses no thread of its own."""
    import iree.runtime

    context = iree.runtime.SystemContext(config=iree.runtime.Config("local-sync"))
    module = iree.runtime.VmModule.mmap(context.instance, str(path))
    context.add_vm_module(module)
    name = next(name for name in module.function_names if "$" not in name and name != "__init")
    function, shape, raw = context.modules[module.name][name], (1, 1, 28, 28), _takes_bytes(path)

    def call(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        output = function((image if raw else unit(image)).reshape(shape)).to_host()
        return np.asarray(output[0], np.float32)

    return call


def _takes_bytes(path: Path) -> bool:
    """Return whether the network takes uint8, as its text beside it says."""
    text = path.with_suffix(".mlir").read_text(encoding="utf-8")
    return "[1,1,28,28],ui8" in text.partition("->")[0]
