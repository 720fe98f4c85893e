"""The floors of the house, and that a new format is one new file."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

PACKAGE = Path(__file__).parent.parent / "mnist_edge"

FLOORS = (
    ("__init__", "errors", "files", "quiet", "formats.target"),
    (
        "artifact",
        "imports",
        "idx",
        "grid",
        "host",
        "compare",
        "timing",
        "onnx_graph",
        "tflite_graph",
        "debian",
        "wheel",
        "web_runtime",
        "web_server",
    ),
    (
        "serving",
        "digit",
        "c_source",
        "onnx_int8",
        "download",
        "reference",
        "models",
        "formats.base",
        "formats.ends",
        "significance",
        "boards",
    ),
    ("onnx_describe", "tflite_describe", "onnx_trace", "tflite_trace", "layers", "tolerance", "paths", "pip", "ink"),
    ("preprocess", "data", "formats.keras", "formats.tflite", "formats.onnx", "causes", "bundle"),
    ("formats.c",),
    ("formats", "spread", "diagnosis"),
    ("training", "verdict", "isolate", "snippet"),
    ("suite", "twins"),
    ("export", "parity", "bench", "predict", "demo"),
    ("tune", "testing", "emulate", "ssh", "devices"),
    ("report", "as_json", "junit"),
    ("report_verify", "plots"),
    ("page",),
    ("cli.common",),
    (
        "cli.models",
        "cli.formats",
        "cli.inspect",
        "cli.train",
        "cli.export",
        "cli.verify",
        "cli.bench",
        "cli.demo",
        "cli.predict",
        "cli.report",
        "cli.snippet",
        "cli.bundle",
        "cli.device",
    ),
    ("cli",),
    ("__main__",),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
LIGHT = {"numpy", "PIL", "click", "rich", "platformdirs"} | sys.stdlib_module_names


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
def test_a_module_imports_only_from_lower_floors(name: str) -> None:
    assert name in FLOOR, f"{name} has no floor: give it one in FLOORS"
    for target in imported(modules()[name]):
        if target.startswith("mnist_edge."):
            below = target.removeprefix("mnist_edge.") or "__init__"
            assert FLOOR[below] < FLOOR[name], f"{name} imports {below}"


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
    assert {name for name in modules if name.startswith("mnist_edge.cli.")} == {
        "mnist_edge.cli.options",
        "mnist_edge.cli.predict",
    }


def loaded(*arguments: object) -> set[str]:
    """The modules that a command has loaded when it ends."""
    code = "import atexit, sys; atexit.register(lambda: print(*sys.modules)); from mnist_edge.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1].split())


THROW_AWAY = '''
"""A throw-away format: float32 weights as .npz, for networks of Dense layers."""
from pathlib import Path
import numpy as np
from mnist_edge.core.manifest import Contract, Precision
from mnist_edge.core.errors import ArtifactError, UnsupportedPrecision

class Runner:
    def __init__(self, path):
        self.weights = [*np.load(path).values()]
    batch, io_specs = 1, None
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

class Npz:
    name, suffix, packages, methods, variants = "npz", ".npz", ("numpy",), (), ()
    precisions, platform, folder = (Precision.FLOAT32,), None, Path(__file__).parent
    unsupported = dict.fromkeys(list(Precision)[1:], "it is thrown away")
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
        raise NotImplementedError
    def trace(self, path, images):
        raise ArtifactError("it is thrown away")
    def open(self, path, *, threads=1, batch=1, variant=None):
        return Runner(path)

FORMAT = Npz()
'''


def test_a_new_format_is_one_new_file(exports: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(PACKAGE, tmp_path / "mnist_edge")
    shutil.copytree(exports / "mlp", tmp_path / "exports" / "mlp")
    (tmp_path / "mnist_edge" / "formats" / "npz.py").write_text(THROW_AWAY)

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "mnist_edge", *arguments]  # -m puts the working directory first
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "mlp-float32.npz" in run("export", "--model", "mlp", "--float32", "--format", "npz")
    row = next(line for line in run("verify", "exports/mlp").splitlines() if line.startswith("mlp-float32.npz"))
    assert "PASS" in row
    assert "mlp-float32.npz" in run("bench", "exports/mlp", "--runs", "25")
