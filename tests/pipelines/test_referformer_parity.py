"""Parity with ReferFormer: every array and loss of the fixture's cases A, B, C and L (float32)."""

from __future__ import annotations

import pytest

from losh.testing.referformer_parity import (
    CASES,
    arrays,
    compared,
    excess,
    needs_fixture,
    parity_model,
)

pytestmark = needs_fixture
GROUPS = ("out", "post", "stat", "probe", "full", "shape", "loss", "in")
INPUTS = ("video", "text_ids", "size", "masks", "valid", "labels")


def group(name: str) -> str:
    return "loss" if name.startswith("loss/") else name.split("/")[1]


@pytest.mark.parametrize("of", GROUPS)
@pytest.mark.parametrize("case", CASES)
def test_parity_referformer_arrays(case: str, of: str) -> None:
    faults = []
    for name, expected, ours in compared(case):
        if group(name) == of and not excess(expected, ours) <= 1:
            faults.append(f"{name}: {excess(expected, ours):.3g} times the tolerance")
    assert not faults, "; ".join(faults)


def test_parity_referformer_leaves_no_array_out() -> None:
    """Inputs are read, not compared, but for the boxes, which we make of the masks."""
    checked = {name for case in CASES for name, *_ in compared(case)}
    stored = {
        name
        for name in arrays()
        if name != "meta/json"
        and not (group(name) == "in" and name.split("/")[2].startswith(INPUTS))
    }
    assert stored == checked


def test_parity_referformer_norm_epsilons() -> None:
    """No output shows these two constants within the tolerances, so they are read."""
    base = parity_model().base
    assert base.text_projection.norm.eps == 1e-12
    assert base.encoder.layers[0].norm1.eps == 1e-5
