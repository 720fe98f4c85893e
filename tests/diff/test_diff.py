"""`diff` says whether two files differ, and where: planted faults are found by layer, in one format and across two."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import faults
from support.commands import Run
from support.planted_weights import doubled, kernel, one_weight, planted, scale, swapped

from mnist_edge.core.errors import ArtifactError
from mnist_edge.diff.diff import diff
from mnist_edge.diff.result import DiffReport, Verdict

NAMES = {"tflite": ("conv_2d_0", "fully_connected_0", "fully_connected_1"), "onnx": ("Conv_0", "Gemm_0", "Gemm_1")}
FLOATS = ("cnn-float32.tflite", "cnn-float32.onnx")
INT8 = ("cnn-int8.tflite", "cnn-int8.onnx")
BOTH = [(a, b) for a in range(2) for b in range(2)]


def changed(report: DiffReport) -> list[tuple[str, str, str]]:
    """The layer in A, the part and what is said of each that differs beyond rounding."""
    return [
        (layer.a.name, item.role, item.detail)
        for layer in report.layers
        for item in layer.weights
        if item.verdict is Verdict.DIFFERS
    ]


def name_in(path: Path | str, layer: int) -> str:
    return NAMES[Path(path).suffix[1:]][layer]


@pytest.mark.parametrize("names", [FLOATS, FLOATS[::-1], ("cnn-int8.onnx",) * 2, ("cnn-float16.tflite",) * 2])
def test_files_that_do_not_differ(exports: Path, names: tuple[str, str]) -> None:
    report = diff(*(exports / "cnn" / name for name in names))
    assert report.same
    assert report.headline == "They are the same network; nothing differs."
    assert [name_in(names[0], layer) for layer in range(3)] == [item.a.name for item in report.layers]
    assert {item.verdict for item in report.tensors} == {Verdict.SAME}
    assert len(report.tensors) >= 4


@pytest.mark.parametrize("model", ["cnn", "mlp"])
@pytest.mark.parametrize(
    "pair",
    [
        ("float32.tflite", "int8.tflite"),
        ("float32.tflite", "int8.onnx"),
        ("float32.onnx", "int8.onnx"),
        ("int8.tflite", "int8.onnx"),
        ("float32.onnx", "float16.tflite"),
        ("dynamic.tflite", "dynamic.onnx"),
        ("int16x8.tflite", "float32.onnx"),
    ],
)
def test_precisions_differ_by_rounding_alone(exports: Path, model: str, pair: tuple[str, str]) -> None:
    report = diff(*(exports / model / f"{model}-{name}" for name in pair))
    assert report.verdict is Verdict.ROUNDING
    assert not report.same
    assert report.parts_at is None
    assert not report.alone_a
    assert not report.alone_b


@pytest.mark.parametrize(("a", "b"), BOTH)
@pytest.mark.parametrize("names", [FLOATS, INT8])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_changed_weight_is_located(
    exports: Path, tmp_path: Path, names: tuple[str, str], layer: int, a: int, b: int
) -> None:
    path = planted(exports, tmp_path, names[a], kernel(layer, one_weight if layer else doubled_place))
    report = diff(path, exports / "cnn" / names[b])
    ((name, role, detail),) = changed(report)
    assert (name, role) == (name_in(path, layer), "weight")
    assert detail.startswith("1 of ")
    assert "channel 7:" in detail
    assert report.headline.startswith(f"They differ, first in the weight of {name}: 1 of ")


def doubled_place(values: Any) -> None:
    """Change one weight of a convolution."""
    place = (7, 1, 1, 0) if values.shape[-1] == 1 else (7, 0, 1, 1)
    values[place] -= values.dtype.type(40 if values.dtype.kind in "iu" else 0.3)


@pytest.mark.parametrize(("a", "b"), BOTH)
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_swapped_channels_are_located(exports: Path, tmp_path: Path, layer: int, a: int, b: int) -> None:
    path = planted(exports, tmp_path, FLOATS[a], kernel(layer, swapped))
    report = diff(path, exports / "cnn" / FLOATS[b])
    name = name_in(path, layer)
    assert changed(report) == [(name, "weight", "channels 3 and 8 are swapped")]
    assert report.parts_at is not None
    assert report.parts_at.behind == name


@pytest.mark.parametrize(("a", "b"), BOTH)
def test_a_swap_in_int8_against_float32_is_located(exports: Path, tmp_path: Path, a: int, b: int) -> None:
    path = planted(exports, tmp_path, INT8[a], kernel(1, swapped))
    report = diff(exports / "cnn" / FLOATS[b], path)
    ((name, role, detail),) = changed(report)
    assert (name, role) == (name_in(FLOATS[b], 1), "weight")
    assert "3" in detail
    assert "8" in detail
    assert "are swapped" in detail or a == 1  # per-channel scales of ONNX stay where they are


@pytest.mark.parametrize(("a", "b"), BOTH)
@pytest.mark.parametrize("names", [FLOATS, INT8])
def test_another_scale_is_located(exports: Path, tmp_path: Path, names: tuple[str, str], a: int, b: int) -> None:
    path = planted(exports, tmp_path, INT8[a], scale(2, 1.25))
    report = diff(exports / "cnn" / names[b], path)
    ((name, role, detail),) = changed(report)
    assert (name, role) == (name_in(names[b], 2), "weight")
    assert "B has 1.25 × the numbers of A" in detail.replace("1.249", "1.25").replace("1.251", "1.25")


@pytest.mark.parametrize("layer", [0, 1])
def test_a_kernel_of_another_factor_is_told_so(exports: Path, tmp_path: Path, layer: int) -> None:
    path = planted(exports, tmp_path, FLOATS[0], kernel(layer, doubled))
    report = diff(exports / "cnn" / FLOATS[1], path)
    assert changed(report) == [(NAMES["onnx"][layer], "weight", "all channels: B has 2 × the numbers of A")]


def test_weights_agree_and_activations_part(exports: Path, tmp_path: Path) -> None:
    """A zero point that dequantizes wrongly is in no weight: the numbers part behind the layer before."""
    change = faults.onnx_zero_point_of_activations
    path = planted(exports, tmp_path, INT8[1], lambda found: faults.edit_onnx(found, change))
    report = diff(exports / "cnn" / INT8[1], path)
    assert changed(report) == []
    assert report.parts_at is not None
    assert report.parts_at.behind == "Gemm_0"
    assert "behind Gemm_0" in report.headline
    across = diff(exports / "cnn" / FLOATS[0], path)
    assert across.parts_at is not None
    assert across.parts_at.a == "fully_connected_1"  # the first that both files have behind it


def test_rows_in_another_order_part_at_their_layer(exports: Path, tmp_path: Path) -> None:
    def as_nchw(graph: Any, arrays: dict[str, Any]) -> None:
        rows = arrays["Gemm_0_weight"].reshape(13, 13, 32, 64)
        arrays["Gemm_0_weight"] = np.ascontiguousarray(rows.transpose(2, 0, 1, 3)).reshape(5408, 64)

    path = planted(exports, tmp_path, FLOATS[1], lambda found: faults.edit_onnx(found, as_nchw))
    report = diff(exports / "cnn" / FLOATS[0], path)
    assert [name for name, _, _ in changed(report)] == ["fully_connected_0"]
    assert report.parts_at is not None
    assert report.parts_at.a == "fully_connected_0"


def test_layers_of_another_shape_are_told(exports: Path) -> None:
    report = diff(exports / "cnn" / FLOATS[0], exports / "mlp" / "mlp-float32.onnx")
    assert [item.name for item in report.alone_a] == ["conv_2d_0", "fully_connected_0", "fully_connected_1"]
    assert [item.name for item in report.alone_b] == ["Gemm_0", "Gemm_1"]
    assert report.headline.startswith("They differ: conv_2d_0 of A has no counterpart in B.")


def test_a_factor_folded_into_a_layer_is_told(exports: Path, tmp_path: Path) -> None:
    def unfolded(graph: Any, arrays: dict[str, Any]) -> None:
        arrays["Conv_0_weight"] = arrays["Conv_0_weight"] / np.float32(4)
        arrays["four"] = np.full((1,), 4, np.float32)
        graph.node[0].input[0] = "image_times_4"
        graph.node.insert(0, helper.make_node("Mul", ["image", "four"], ["image_times_4"]))

    path = planted(exports, tmp_path, FLOATS[1], lambda found: faults.edit_onnx(found, unfolded))
    report = diff(exports / "cnn" / FLOATS[0], path)
    assert changed(report) == [("conv_2d_0", "weight", "all channels: B has 0.25 × the numbers of A")]
    assert report.rewritten(report.layers[0])
    assert [item.kind for item in report.not_compared_b] == ["Mul"]
    assert report.parts_at is None


def test_without_golden_images_it_is_said(run: Run, exports: Path, tmp_path: Path) -> None:
    for name in FLOATS:
        shutil.copy(exports / "cnn" / name, tmp_path)
    paths = [tmp_path / name for name in FLOATS]
    alone = " ".join(run("diff", *paths, check=1).stdout.split())
    assert "there is no reference.npz beside A or B" in alone
    assert "whether they are the same network is not known" in alone
    assert "They are the same network; nothing differs." in run("diff", paths[0], paths[0]).stdout
    named = run("diff", *paths, "--reference", exports / "mlp" / "reference.npz").stdout
    assert "Outputs on 20 golden images" in " ".join(named.split())


def test_exit_codes_and_json(run: Run, exports: Path) -> None:
    folder = exports / "cnn"
    same = json.loads(run("diff", folder / FLOATS[0], folder / FLOATS[1], "--json").stdout)
    assert (same["schema"], same["same"], same["verdict"]) == (1, True, "same")
    other = json.loads(run("diff", folder / FLOATS[0], folder / INT8[1], "--json", check=1).stdout)
    assert (other["same"], other["verdict"], other["parts_at"]) == (False, "rounding", None)
    assert other["layers"][0]["weights"][0]["dtype"] == ["float32", "int8"]
    assert other["images"] == 20


def test_it_reads_well_in_80_columns(run: Run, exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = run("diff", exports / "cnn" / FLOATS[0], exports / "cnn" / INT8[1], check=1).stdout.splitlines()
    assert shown[0].startswith("They differ as rounding explains; inputs or outputs differ too.")
    assert max(map(len, shown)) <= 80
    assert any(line.split()[:4] == ["conv_2d_0", "/", "Conv_0", "rounding"] for line in shown)
    assert not any("Left out" in line for line in shown)


def test_no_verdict_is_cut_in_40_columns(run: Run, exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    files = (exports / "mlp" / name for name in ("mlp-float32.onnx", "mlp-int8.tflite"))
    shown = run("diff", *files, check=1).stdout
    assert shown.count("roundin") == shown.count("rounding")
    assert max(map(len, shown.splitlines()[4:])) <= 40  # after the paths


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.onnx", "whole.onnx"), "there is no file nowhere.onnx"),
        (("whole.onnx", "foreign.tflite"), "not a whole TFLite file"),
        (("cut.onnx", "whole.onnx"), "cut.onnx"),
        (("whole.onnx", "."), "is a folder"),
        (("whole.onnx", "foreign.txt"), "none of the endings"),
        (("whole.onnx", "model.keras"), "cannot be compared"),
        (("whole.onnx", "whole.onnx", "--reference", "nowhere.npz"), "there is no file nowhere.npz"),
        (("whole.onnx", "whole.onnx", "--reference", "foreign.txt"), "cannot be read"),
    ],
)
def test_bad_input_is_one_line(
    run: Run, exports: Path, tmp_path: Path, arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(exports / "mlp" / "mlp-float32.onnx", tmp_path / "whole.onnx")
    shutil.copy(exports / "mlp" / "model.keras", tmp_path)
    (tmp_path / "cut.onnx").write_bytes((tmp_path / "whole.onnx").read_bytes()[:5000])
    for name in ("foreign.tflite", "foreign.txt"):
        (tmp_path / name).write_text("no model at all")
    monkeypatch.chdir(tmp_path)
    done = run("diff", *arguments, check=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_file_with_too_many_layers_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", [f"y{place}", "w"], [f"y{place + 1}"]) for place in range(1001)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in ("y0", "y1001")]
    constants = [numpy_helper.from_array(np.eye(2, dtype=np.float32), "w")]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)), tmp_path / "x.onnx")
    with pytest.raises(ArtifactError, match="1,001 layers with weights"):
        diff(tmp_path / "x.onnx", tmp_path / "x.onnx")
