"""The plan of an export: which files follow from what was asked for."""

import pytest

from mnist_edge.core.contract import IOOptions, Precision
from mnist_edge.core.errors import UnsupportedPrecision
from mnist_edge.export.plan import counterpart_format, plan_export, plan_platform


def test_the_default_is_float32_and_int8_of_every_format_for_this_machine() -> None:
    plan = plan_export()
    both = (Precision.FLOAT32, Precision.INT8)
    assert set(plan.pairs) == {(name, precision) for name in ("onnx", "tflite") for precision in both}
    assert plan.refused == ()
    assert plan.int8_formats == ("onnx", "tflite")
    assert plan.other_machines == ()


def test_what_a_format_cannot_hold_is_refused_with_its_reason() -> None:
    plan = plan_export(Precision)
    assert ("tflite", Precision.INT16X8) in plan.pairs
    assert ("onnx", Precision.INT16X8) not in plan.pairs
    assert any("int16" in reason for reason in plan.refused)
    with pytest.raises(UnsupportedPrecision, match="int16"):
        plan_export([Precision.INT16X8], ["onnx"])


def test_int8_input_and_output_mean_int8_alone() -> None:
    assert plan_export(io=IOOptions(full_integer=True)).pairs == (("tflite", Precision.INT8),)


def test_a_platform_brings_its_counterpart() -> None:
    pytest.importorskip("tflite_micro")
    plan = plan_platform("mcu", "logits")
    assert set(plan.pairs) == {("tflite", Precision.INT8), ("c", Precision.INT8)}
    assert plan.io == IOOptions(head="logits", full_integer=True)
    assert plan.int8_formats == ("tflite",)
    assert plan.other_machines == ("c",)
    assert counterpart_format("c") == "tflite"
