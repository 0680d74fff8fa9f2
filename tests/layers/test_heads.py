"""Start values of the heads."""

from __future__ import annotations

import pytest
import torch

from losh.layers.heads import box_heads, class_heads, controller


def test_untrained_class_heads_say_one_percent() -> None:
    heads = class_heads(8, 3)
    assert all(torch.equal(head.weight, heads[0].weight) for head in heads)
    probability = heads[1](torch.zeros(8)).sigmoid()
    assert float(probability.detach()) == pytest.approx(0.01)


def test_untrained_box_heads_change_the_size_in_the_first_layer_alone() -> None:
    first, second = box_heads(8, 2)
    x = torch.randn(5, 8)
    assert first(x).tolist() == [[0, 0, -2, -2]] * 5
    assert second(x).tolist() == [[0, 0, 0, 0]] * 5
    assert first.layers[0].weight is not second.layers[0].weight
    assert torch.equal(first.layers[0].weight, second.layers[0].weight)


def test_controller_has_three_layers() -> None:
    assert controller(8, 11)(torch.randn(2, 3, 8)).shape == (2, 3, 11)
