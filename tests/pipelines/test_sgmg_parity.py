"""Parity with the released SgMg: every array of the fixture's cases A, B and C, and every loss of
case L, in float32.
"""

from __future__ import annotations

import pytest

from losh.layers.boxes import boxes_of_masks
from losh.testing.recipe_fixture import faults
from losh.testing.sgmg_parity import (
    FIXTURE,
    forward_arrays,
    loss_arrays,
    parity_model,
    training_targets,
)

pytestmark = FIXTURE.needed


@pytest.mark.parametrize("case", ["A", "B", "C"])
def test_parity_sgmg_forward(case: str) -> None:
    compared = forward_arrays(case)
    assert not (found := faults(compared)), "; ".join(found)
    assert FIXTURE.stored(case) == {name for name, *_ in compared}


def test_parity_sgmg_losses() -> None:
    compared = loss_arrays()
    assert not (found := faults(compared)), "; ".join(found)
    assert FIXTURE.stored("L") | FIXTURE.stored("loss") == {name for name, *_ in compared}


def test_parity_sgmg_boxes_of_the_targets() -> None:
    masks = training_targets()[0].masks[0]
    boxes = boxes_of_masks(masks).numpy()
    assert abs(boxes - FIXTURE.arrays["L/in/boxes"]).max() < 1e-6


def test_parity_sgmg_norm_epsilons() -> None:
    """No output shows these constants within the tolerances, so they are read."""
    base = parity_model().base
    assert base.word_projection.norm.eps == base.sentence_projection.norm.eps == 1e-12
    assert base.text_encoder.model.config.layer_norm_eps == 1e-5
