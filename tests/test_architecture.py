"""What import-linter cannot say: heavy imports, format names outside formats, and that a new format is one folder."""

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

PACKAGE = Path(__file__).parent.parent / "mnist_edge"

LIGHT = {"numpy", "PIL", "click", "rich", "platformdirs"} | sys.stdlib_module_names


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name, parsed."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        dotted = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[dotted.removesuffix(".__init__")] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imported(tree: ast.AST) -> set[str]:
    """The dotted names that a tree imports; `from mnist_edge import x` counts as mnist_edge.x."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "mnist_edge":
            names |= {f"mnist_edge.{'' if alias.name == '__version__' else alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("name", modules())
def test_heavy_packages_are_imported_inside_functions(name: str) -> None:
    outside: list[ast.stmt] = [node for node in modules()[name].body if isinstance(node, ast.Import | ast.ImportFrom)]
    for target in imported(ast.Module(outside, [])):
        top = target.partition(".")[0]
        assert top == "mnist_edge" or top in LIGHT


def test_no_code_outside_formats_compares_a_format_name() -> None:
    names = {"tflite", "onnx", "keras", "c", ".tflite", ".onnx", ".keras", ".c"}
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Compare) and not name.startswith("formats."):
                constants = {item.value for item in ast.walk(node) if isinstance(item, ast.Constant)}
                assert not constants & names, f"{name}:{node.lineno}"


def test_help_and_import_load_nothing_heavy() -> None:
    assert not {"numpy", "tensorflow", "keras", "onnx", "onnxruntime", "rich", "PIL"} & loaded("--help")


@pytest.mark.parametrize(("suffix", "other"), [("tflite", "onnxruntime"), ("onnx", "ai_edge_litert")])
def test_predict_loads_one_runtime_and_little_else(exports: Path, tmp_path: Path, suffix: str, other: str) -> None:
    picture = Image.new("L", (60, 60), 255)
    picture.paste(0, (28, 10, 33, 50))
    picture.save(tmp_path / "one.png")
    modules = loaded("predict", tmp_path / "one.png", "--artifact", exports / "mlp" / f"mlp-int8.{suffix}")
    assert not {other, "tensorflow", "keras", "onnx", "rich", "matplotlib", "scipy", "jinja2"} & modules
    assert not {"tempfile", "zipfile", "random", "shutil", "numpy.ma"} & modules
    assert not {"cattrs", "attr", "subprocess"} & modules
    assert not {"mnist_edge.core.manifest", "mnist_edge.formats.inspection", "mnist_edge.formats.keras"} & modules
    formats = {name.split(".")[2] for name in modules if name.startswith("mnist_edge.formats.")}
    assert formats == {"base", "first_look", "runner", suffix}
    assert {name for name in modules if name.startswith("mnist_edge.cli.")} == {
        "mnist_edge.cli.console",
        "mnist_edge.cli.options",
        "mnist_edge.cli.predict",
        "mnist_edge.cli.streams",
    }


def loaded(*arguments: object) -> set[str]:
    """The modules that a command has loaded when it ends."""
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from mnist_edge.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1].split())


THROW_AWAY = '''
"""A throw-away format: float32 weights as .npz, for networks of Dense layers."""
import numpy as np
from mnist_edge.core.contract import Contract, Precision, TensorSpec
from mnist_edge.core.errors import UnsupportedPrecision
from mnist_edge.core.system import RuntimePackages
from mnist_edge.formats.base import Format
from mnist_edge.formats.inspection import Description, tensor_text

IMAGE = TensorSpec("image", "float32", (1, 28, 28, 1), "pixels / 255, 0 black to 1 white")
PROBABILITIES = TensorSpec("probabilities", "float32", (1, 10), "one probability a digit")

class Runner:
    batch, io_specs = 1, (IMAGE, PROBABILITIES)
    def __init__(self, path):
        self.weights = [*np.load(path).values()]
    def run(self, images):
        x = images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
        x = np.maximum(x @ self.weights[0] + self.weights[1], 0) @ self.weights[2] + self.weights[3]
        e = np.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
    def invoke(self):
        self.run(np.zeros((1, 28, 28), np.uint8))
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass

class Npz(Format):
    name, suffix, packages = "npz", ".npz", ("numpy",)
    precisions = (Precision.FLOAT32,)
    unsupported = dict.fromkeys(list(Precision)[1:], "it is thrown away")
    runtime = RuntimePackages("npz", "numpy")
    def missing(self):
        return None
    def contract(self, precision, io):
        if precision in self.unsupported:
            raise UnsupportedPrecision(self.unsupported[precision])
        return Contract.of(precision, "NHWC", io)
    def export(self, model, path, request):
        np.savez(path, *model.get_weights())
        return self.contract(request.precision, request.io)
    def describe(self, path):
        weights = np.load(path).values()
        count = sum(array.size for array in weights)
        ends = (tensor_text(IMAGE),), (tensor_text(PROBABILITIES),)
        return Description(*ends, (), {"npz": "1"}, count, count, {"weights": 4 * count}, "NumPy", {})
    def open(self, path, *, threads=1, batch=1, variant=None):
        return Runner(path)

FORMAT = Npz()
'''

SNIPPET = """# $given
# $gives
@float32|import numpy as np
w = [*np.load($file).values()]
"""


def test_a_new_format_is_one_new_folder(exports: Path, tmp_path: Path) -> None:
    import shutil
    import tarfile

    shutil.copytree(PACKAGE, tmp_path / "mnist_edge")
    shutil.copytree(exports / "mlp", tmp_path / "exports" / "mlp")
    folder = tmp_path / "mnist_edge" / "formats" / "npz"
    (folder / "snippets").mkdir(parents=True)
    (folder / "__init__.py").write_text(THROW_AWAY)
    (folder / "snippets" / "python.txt").write_text(SNIPPET)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "mnist_edge", *arguments]  # -m puts the working directory first
        env = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    name = "mlp-float32.npz"
    assert name in run("export", "--model", "mlp", "--float32", "--format", "npz")
    row = next(line for line in run("verify", "exports/mlp").splitlines() if line.startswith(name))
    assert "PASS" in row
    assert name in run("bench", "exports/mlp", "--runs", "25")
    assert "101,770 parameters" in run("inspect", f"exports/mlp/{name}")
    assert f'np.load("{name}")' in run("snippet", f"exports/mlp/{name}")
    run("bundle", "exports/mlp", "--out", "mlp.tar.gz")
    with tarfile.open(tmp_path / "mlp.tar.gz") as archive:
        assert f"mlp/{name}" in archive.getnames()
