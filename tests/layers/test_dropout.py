"""Dropout of our own draws, and attention with it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from losh.layers import transformer
from losh.layers.dropout import FEW, Dropout, dropout
from losh.layers.transformer import Attention


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_as_many_zeros_as_asked_for_and_the_mean_stays(p: float) -> None:
    torch.manual_seed(0)
    count = 10**6
    x = dropout(torch.ones(1000, 1000), p)
    spread = (p * (1 - p) / count) ** 0.5
    assert abs(float((x == 0).double().mean()) - p) < 5 * spread
    assert x.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=1e-3)
    assert abs(float(x.double().mean()) - 1) < 5 * spread / (1 - p)


def test_neighbours_are_drawn_one_without_the_other() -> None:
    """Four numbers come from one word of 64 bits: none may tell of another."""
    torch.manual_seed(0)
    kept = (dropout(torch.ones(4, 10**6), 0.5) > 0).double() - 0.5
    for shift in range(1, 9):
        alike = (kept[:, shift:] * kept[:, :-shift]).mean() * 4
        assert abs(float(alike)) < 5 / (4 * 10**6) ** 0.5


def test_the_draw_is_the_one_of_the_generators_state() -> None:
    """So a training that goes on drops what an undisturbed one drops."""
    x, draws = torch.ones(FEW), []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append([dropout(x, 0.1) for _ in range(2)])
    assert torch.equal(draws[0][0], draws[1][0]) and torch.equal(draws[0][1], draws[1][1])
    assert not torch.equal(draws[0][0], draws[0][1])


@pytest.mark.parametrize(("size", "p"), [(FEW - 1, 0.1), (FEW, 0.0), (FEW, 1.0), (FEW, 1e-6)])
def test_what_is_small_or_extreme_is_pytorchs_own(size: int, p: float) -> None:
    x = torch.randn(size)
    torch.manual_seed(0)
    ours = dropout(x, p)
    torch.manual_seed(0)
    assert torch.equal(ours, F.dropout(x, p))


def test_gradients_are_dropped_with_their_numbers() -> None:
    layer, x = Dropout(0.25), torch.randn(FEW, requires_grad=True)
    y = layer(x)
    y.sum().backward()
    assert torch.equal(x.grad == 0, y == 0)
    assert torch.allclose(y, x * x.grad)
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("padded", [False, True])
def test_attention_with_dropout_differs_from_fused_attention_by_it_alone(
    padded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    layer, dropped = Attention(16, 2, dropout=0.3), []
    query, key = torch.randn(3, 5, 16), torch.randn(3, 7, 16)
    pad = torch.zeros(3, 7, dtype=torch.bool)
    pad[1, 4:], pad[2] = True, True
    given = (query, key, key, pad if padded else None)
    monkeypatch.setattr(transformer, "dropout", lambda x, p: dropped.append((x, p)) or x)
    fused = layer.eval()(*given)
    assert not dropped
    assert torch.allclose(layer.train()(*given), fused, atol=1e-6)
    ((weights, p),) = dropped
    assert p == 0.3
    assert torch.allclose(weights.sum(-1), torch.ones(3, 2, 5))
    assert not padded or not weights[1, ..., 4:].any()
