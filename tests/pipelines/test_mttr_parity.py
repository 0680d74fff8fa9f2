"""Parity with the released code: every array of the fixture's cases A, B and Cfix, in float32."""

from __future__ import annotations

import numpy as np
import pytest

from losh.testing.parity_arrays import (
    GROUPS,
    NO_GRADIENT,
    compared,
    gradient_norms,
    largest_difference,
)
from losh.testing.parity_fixture import arrays, needs_fixture, parity_model

pytestmark = needs_fixture
CASES = ["A", "B", "Cfix"]
# The first is read; gradients have a test of their own.
NO_ARRAY = ("loss_names", "grad_names", "grad_l2", "grad_total_l2")


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("case", CASES)
def test_parity_arrays(case: str, group: str) -> None:
    faults = []
    for name, expected, ours, atol in compared(case, group):
        difference = largest_difference(expected, ours)
        if not difference <= atol:
            faults.append(f"{name}: {difference:.2g} > {atol:g}")
    assert not faults, "; ".join(faults)


@pytest.mark.parametrize("case", CASES)
def test_parity_leaves_no_array_out(case: str) -> None:
    checked = {f"{case}.{name}" for group in GROUPS for name, *_ in compared(case, group)}
    stored = {
        name for name in arrays() if name.startswith(f"{case}.") and not name.endswith(NO_ARRAY)
    }
    if case == "A":
        stored = {name for name in stored if ".match_" not in name}
    assert stored <= checked


@pytest.mark.parametrize("case", ["A", "B"])
def test_parity_gradient_norms(case: str) -> None:
    data, ours = arrays(), gradient_norms(case)
    expected = dict(zip(data[f"{case}.grad_names"], data[f"{case}.grad_l2"], strict=True))
    assert set(ours) == set(expected)
    # Under recipe A many gradients are noise around zero: only B's are all compared.
    names = [n for n in expected if n != NO_GRADIENT and expected[n] > 1e-3]
    worst = max(names, key=lambda n: abs(ours[n] / expected[n] - 1))
    assert ours[worst] == pytest.approx(expected[worst], rel=2e-3), worst
    assert np.linalg.norm(list(ours.values())) == pytest.approx(
        float(data[f"{case}.grad_total_l2"]), rel=2e-3
    )


def test_parity_norm_epsilons() -> None:
    """No output shows these two constants within the tolerances, so they are read."""
    base = parity_model("B").base
    assert base.text_projection.norm.eps == 1e-12
    assert base.text_encoder.model.config.layer_norm_eps == 1e-5
    assert base.text_encoder.model.embeddings.LayerNorm.eps == 1e-5
