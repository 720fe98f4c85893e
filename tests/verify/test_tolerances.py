"""Limits: where they come from, what the user may set, and the arithmetic that leads from logits to probabilities."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.commands import Run

from mnist_edge.core.contract import Precision
from mnist_edge.core.errors import ToleranceError
from mnist_edge.core.metrics import Interval, all_pairs, compare, logit_margins, mcnemar_interval
from mnist_edge.core.reference import KerasVariation, Reference
from mnist_edge.formats.runner import softmax
from mnist_edge.verify.tolerances import (
    accuracy_budget,
    figure,
    from_flags,
    from_project,
    judge,
    overridden,
    parse,
    tolerances_of,
    variant_margin,
)

MEASURED = KerasVariation(run_to_run=1e-6, float16_rounding=1e-3, logit_step=0.2, images=500, runs=("a", "b"))
GAPS = np.array([0.01, 0.1, 0.5, 3.0, 20.0] * 400)


def outputs(seed: int, count: int = 300) -> np.ndarray:
    """Probabilities of a made-up network: some images sure, some close."""
    rng = np.random.default_rng(seed)
    return softmax((rng.normal(size=(count, 10)) * rng.uniform(0.5, 8, (count, 1))).astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), error=st.floats(0.001, 2))
def test_logits_that_are_off_by_so_much_need_no_more_than_that(seed: int, error: float) -> None:
    """The bounds behind `logit_error`: its value is never above the true error of the logits."""
    before = outputs(seed)
    rng = np.random.default_rng(seed)
    logits = np.log(before.astype(np.float64)) + error * rng.choice([-1.0, 1.0], before.shape)
    after = softmax(logits.astype(np.float32))
    found = compare(before, after, before.argmax(axis=1).astype(np.uint8))
    assert found.logit_error <= error * 1.001 + 1e-4
    assert found.largest_margin <= np.tanh(error) + 1e-4


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_accuracies_and_flips_are_those_of_a_recount(seed: int) -> None:
    before, after = outputs(seed), outputs(seed + 1)
    labels = np.random.default_rng(seed).integers(0, 10, len(before)).astype(np.uint8)
    found = compare(before, after, labels)
    assert found.accuracy == pytest.approx((after.argmax(1) == labels).mean())
    assert found.reference_accuracy == pytest.approx((before.argmax(1) == labels).mean())
    assert found.drop == pytest.approx(100 * (found.reference_accuracy - found.accuracy))
    assert list(found.flips) == np.flatnonzero(before.argmax(1) != after.argmax(1)).tolist()
    (pair,) = all_pairs({"one": before, "two": after}, before)
    assert pair.flips == found.flips
    assert pair.margins == found.margins


def test_each_precision_has_limits_with_an_origin() -> None:
    names = {
        precision: {limit.name: limit for limit in tolerances_of(precision, MEASURED, GAPS)} for precision in Precision
    }
    assert set(names[Precision.FLOAT32]) == {"difference", "host"}
    assert names[Precision.FLOAT32]["difference"].allowed == pytest.approx(4e-6)
    assert "spread of Keras itself" in names[Precision.FLOAT32]["difference"].origin
    calm = tolerances_of(Precision.FLOAT32, replace(MEASURED, run_to_run=1e-9), GAPS)
    assert calm[0].allowed == pytest.approx(64 * 2**-24)
    assert names[Precision.FLOAT16]["difference"].allowed == pytest.approx(2e-3 + 4e-6)
    assert set(names[Precision.INT8]) == {"steps", "noise", "flips", "host"}
    assert all(limit.origin for limits_ in names.values() for limit in limits_.values())


def test_the_budget_of_flips_grows_with_the_images_that_are_close() -> None:
    few, many = (
        next(limit for limit in tolerances_of(Precision.INT8, MEASURED, gaps_) if limit.name == "flips").allowed
        for gaps_ in (np.full(1000, 5.0), np.concatenate([np.full(900, 5.0), np.full(100, 0.05)]))
    )
    assert few == 0
    assert 60 <= many <= 80  # half of a hundred coin tosses nearly, and four deviations


def test_every_finding_says_the_smallest_limit_that_passes() -> None:
    before = outputs(3)
    after = softmax(np.log(before) + np.float32(0.1) * np.eye(10, dtype=np.float32)[before.argmax(1)])
    found = compare(before, after, before.argmax(axis=1).astype(np.uint8))
    allowed = tolerances_of(Precision.INT8, MEASURED, logit_margins(before))
    for finding in judge(allowed, found, None, MEASURED.logit_step):
        tight = {f"int8.{finding.tolerance.name}": max(finding.measured, 0)}
        again = judge(
            overridden(tolerances_of(Precision.INT8, MEASURED, logit_margins(before)), Precision.INT8, tight),
            found,
            None,
            MEASURED.logit_step,
        )
        assert next(item for item in again if item.tolerance.name == finding.tolerance.name).passed
        if finding.measured > 0:
            tight = {f"int8.{finding.tolerance.name}": finding.measured * 0.99}
            again = judge(
                overridden(tolerances_of(Precision.INT8, MEASURED, logit_margins(before)), Precision.INT8, tight),
                found,
                None,
                MEASURED.logit_step,
            )
            assert not next(item for item in again if item.tolerance.name == finding.tolerance.name).passed


def test_a_drop_within_noise_is_told_from_one_that_is_not() -> None:
    labels = np.zeros(10_000, np.uint8)
    right = np.tile(np.eye(10, dtype=np.float32)[0], (10_000, 1))

    def worse(lost: int, gained: int) -> Interval:
        before, after = right.copy(), right.copy()
        after[:lost] = np.eye(10)[1]
        before[lost : lost + gained] = np.eye(10)[1]
        found = mcnemar_interval(compare(before, after, labels))
        assert found is not None
        return found

    assert worse(6, 4).within_noise
    noise = worse(40, 4)
    assert not noise.within_noise
    assert noise.low < 0.36 < noise.high
    assert noise.p < 1e-6
    assert worse(0, 0) == Interval(0.0, 0.0, 1.0)


def test_a_budget_is_exceeded_where_the_whole_interval_is_over_it() -> None:
    sure, unsure = Interval(0.2, 0.6, 1e-4), Interval(-0.1, 0.9, 0.2)
    over = accuracy_budget(Precision.INT8, 0.4, sure, {})
    assert over is not None
    assert not over.within
    assert str(over).startswith("OVER BUDGET: +0.40 points of accuracy lost, 95 % interval +0.20 to +0.60, 0.1 allowed")
    assert accuracy_budget(Precision.INT8, 0.4, unsure, {}).within  # type: ignore[union-attr]
    assert accuracy_budget(Precision.INT8, 0.4, sure, {"int8.drop": 0.5}).within  # type: ignore[union-attr]
    assert accuracy_budget(Precision.FLOAT32, 0.0, sure, {}) is None
    assert accuracy_budget(Precision.FLOAT32, 0.0, sure, {"drop": 1.0}) is not None


def test_a_network_that_int8_costs_more_is_allowed_more() -> None:
    costly = replace(MEASURED, int8_noise=0.5, int8_error=2.0)
    usual, wide = (
        {limit.name: limit for limit in tolerances_of(Precision.INT8, variation, GAPS)}
        for variation in (MEASURED, costly)
    )
    assert "simulated in Keras" in wide["noise"].origin
    assert "simulated in Keras" not in usual["noise"].origin
    assert wide["noise"].allowed == pytest.approx(2 * 0.5 / 0.2 * usual["noise"].allowed)
    assert wide["steps"].allowed == pytest.approx(3 * 2.0 / 0.2)
    assert wide["flips"].allowed > usual["flips"].allowed
    assert variant_margin(Precision.INT8, costly) > variant_margin(Precision.INT8, MEASURED)


@pytest.mark.parametrize("flag", ["int8.steps", "int8.steps=", "int8.steps=much", "step=1", "int9.steps=1", "drop=-1"])
def test_a_limit_that_cannot_be_is_refused(flag: str) -> None:
    with pytest.raises(ToleranceError, match=r"int8\.steps|drop"):
        from_flags([flag])


def test_a_project_sets_limits_and_flags_go_over_them(tmp_path: Path) -> None:
    table = "[tool.mnist-edge.parity]\ndrop = 0.05\nint8 = {steps = 1}\nfloat32.difference = 1e-5\n"
    (tmp_path / "pyproject.toml").write_text(table)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    given = {**from_project(inner), **from_flags(["int8.steps=0.5"])}
    assert given == {"drop": 0.05, "int8.steps": 0.5, "float32.difference": 1e-5}
    found = {
        limit.name: limit for limit in overridden(tolerances_of(Precision.INT8, MEASURED, GAPS), Precision.INT8, given)
    }
    budget = accuracy_budget(Precision.INT8, 0.04, None, given)
    assert budget is not None
    assert (budget.allowed, budget.chosen, found["steps"].allowed) == (0.05, True, 0.5)
    assert found["steps"].origin == "set by you"
    (tmp_path / "pyproject.toml").write_text("[tool.mnist-edge.parity]\nint8 = {step = 1}\n")
    with pytest.raises(ToleranceError, match="there is no limit"):
        from_project(inner)
    with pytest.raises(ToleranceError, match="is not a number"):
        parse({"drop": True}, "here")


@pytest.mark.extra("a quarter of a minute or more")
def test_flags_and_the_table_reach_the_verdict(run: Run, exports: Path, tmp_path: Path) -> None:
    folder = (exports / "mlp").resolve()
    done = run("verify", folder, "--tolerance", "int8.steps=0.01", check=1, cwd=tmp_path)
    assert "mlp-int8.onnx: largest error of a logit" in done.stdout
    assert "set by you" in done.stdout
    (tmp_path / "pyproject.toml").write_text("[tool.mnist-edge.parity]\nfloat16.difference = 1e-9\n")
    assert "FAIL  mlp-float16.onnx" in run("verify", folder, check=1, cwd=tmp_path).stdout
    done = run("verify", folder, "--tolerance", "float16.difference=0.1", "--json", cwd=tmp_path)
    given = [item for row in json.loads(done.stdout)["results"] for item in row["tolerances"]]
    assert {item["allowed"] for item in given if item["origin"] == "set by you"} == {0.1}
    (tmp_path / "pyproject.toml").write_text("[tool.mnist-edge.parity]\nfloat16.differenz = 1e-9\n")
    assert "there is no limit" in run("verify", folder, check=2, cwd=tmp_path).stderr


@pytest.mark.parametrize("model", ["cnn", "mlp-wide"])
def test_the_export_measures_what_limits_are_made_of(exports: Path, model: str) -> None:
    measured = Reference.read(exports / model / "reference.npz").keras_variation
    assert 1e-8 < measured.run_to_run < 1e-5
    assert 1e-5 < measured.float16_rounding < 1e-2
    assert 0.05 < measured.logit_step < 0.5
    assert measured.images == 500
    assert any("one thread" in name for name in measured.runs)
    assert any("batch 1" in name for name in measured.runs)
    assert any("XLA" in name for name in measured.runs)


def test_figures_are_short() -> None:
    assert [figure(value) for value in (0, 12, 0.374, 2.06e-6, float("inf"))] == ["0", "12", "0.37", "2.1e-06", "inf"]
