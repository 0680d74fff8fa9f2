"""Losses and costs of one object a clip, against numbers done by hand."""

from __future__ import annotations

import math

import pytest
import torch

from losh.layers.query_losses import box_costs, box_losses, class_cost, class_loss, mask_costs


def test_class_loss_is_a_sum_of_focal_losses() -> None:
    scores = torch.tensor([[[0.0], [1.0]]])
    positive = torch.tensor([[True, False]])
    p = 1 / (1 + math.exp(-1))
    by_hand = 0.25 * 0.25 * math.log(2) + 0.75 * p**2 * -math.log(1 - p)
    assert float(class_loss(scores, positive)) == pytest.approx(by_hand)


def test_class_cost_counts_visible_frames_alone() -> None:
    scores = torch.tensor([[[2.0], [-2.0]], [[-9.0], [9.0]]])
    cost = class_cost(scores, torch.tensor([True, False]))
    p = 1 / (1 + math.exp(-2))
    by_hand = 0.25 * (1 - p) ** 2 * -math.log(p) - 0.75 * p**2 * -math.log(1 - p)
    assert float(cost[0]) == pytest.approx(by_hand, rel=1e-5)
    assert float(cost[0]) < float(cost[1])
    assert class_cost(scores, torch.tensor([False, False])).tolist() == [0, 0]


def test_boxes_of_frames_without_the_object_count() -> None:
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2]])
    wanted = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.0, 0.0, 0.0, 0.0]])
    distance, giou = box_losses(boxes, wanted)
    assert float(distance) == pytest.approx(1.4)
    # The box round both is 0.6 wide and high, of which 0.04 is filled: GIoU = 0 - (1 - 1 / 9).
    assert float(giou) == pytest.approx(1 + 1 - 0.04 / 0.36, abs=1e-5)
    l1, minus_giou = box_costs(boxes[:, None], wanted)
    assert l1.tolist() == pytest.approx([0.7])
    assert minus_giou.tolist() == pytest.approx([(1 - 0.04 / 0.36 - 1) / 2], abs=1e-5)


def test_mask_costs_look_at_the_whole_clip() -> None:
    mask = torch.zeros(2, 3, 4)
    mask[0, 1, :2] = 1
    logits = torch.zeros(2, 2, 3, 4)
    logits[:, 1] = 30 * (2 * mask - 1)
    focal, dice = mask_costs(logits, mask)
    # A query that says a half everywhere: 24 cells, 2 of them filled.
    by_hand = 0.25 * math.log(2) * (0.25 * 2 + 0.75 * 22) / 24
    assert focal.tolist() == pytest.approx([by_hand, 0], abs=1e-6)
    assert dice.tolist() == pytest.approx([-(2 * 1 + 1) / (12 + 2 + 1), -1])
