"""What the tests of C arrays share: compilers, the header's numbers, and TensorFlow Lite Micro as it stands."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mnist_edge.formats.c_array import source as c_source

STEM = "cnn-int8-io8"
WORDS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
ALONE = ["-ffreestanding", "-nostdinc"]  # a microcontroller may have no C library, and the header wants none


def tool(name: str) -> str:
    """A compiler or a tool beside it, from Debian."""
    if shutil.which(name) is None:
        package = "gcc-arm-none-eabi" if name.startswith("arm-") else "g++" if name == "g++" else "gcc"
        pytest.skip(f"{name} is not here: apt-get install {package}")
    return name


def call(*command: object) -> str:
    """Run a tool that must succeed and say nothing on standard error."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def macros(header: Path) -> dict[str, str]:
    """The numbers that a header defines, without the names' common beginning."""
    prefix = c_source.identifier(header.stem).upper()
    return dict(re.findall(rf"#define {prefix}_(\w+) (\S+)", header.read_text()))


def outputs_of(content: bytes, arena: int, images: NDArray[np.uint8]) -> NDArray[np.int8]:
    """What TensorFlow Lite Micro computes, called as its documentation says and not through our code."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena)
    rows = []
    for image in images:
        interpreter.set_input((image.astype(np.int16) - 128).astype(np.int8).reshape(1, 28, 28, 1), 0)
        interpreter.invoke()
        rows.append(interpreter.get_output(0)[0].copy())
    return np.array(rows)
