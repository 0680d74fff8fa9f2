"""The linear layers that oneDNN computes where nothing is learned."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losh.layers import linear as module
from losh.layers.linear import After, Linear, feed_forward, linear, with_fast_linears

AFTER: dict[After, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "gelu": F.gelu,
    "relu": F.relu,
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes that PyTorch's own form was given."""
    made: list[tuple[int, ...]] = []
    whole = F.linear
    monkeypatch.setattr(
        module.F, "linear", lambda x, *rest: made.append(tuple(x.shape)) or whole(x, *rest)
    )
    return made


def arguments(*shape: int) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(*shape, 24), torch.randn(40, 24), torch.randn(40)


@pytest.mark.parametrize("shape", [(7,), (2, 5), (2, 3, 4, 5), (1, 1)])
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("biased", [False, True])
def test_it_is_the_plain_form_to_rounding(
    shape: tuple[int, ...], after: After, biased: bool, calls: list
) -> None:
    x, weight, bias = arguments(*shape)
    for given in (x, x.transpose(0, -2), torch.cat([x, x], -1)[..., :24]):
        plain = given.double() @ weight.double().T + (bias.double() if biased else 0)
        plain = AFTER[after](plain)
        with torch.no_grad():
            ours = linear(given, weight, bias if biased else None, after)
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), plain, rtol=1e-5, atol=2e-5)
    assert not calls or not module.ONEDNN


def test_gradients_and_other_types_take_the_plain_form(calls: list) -> None:
    x, weight, bias = arguments(6)
    linear(x, weight.requires_grad_(), bias).sum().backward()
    assert weight.grad is not None and len(calls) == 1
    with torch.no_grad():
        assert linear(x.double(), weight.double(), bias.double()).dtype == torch.float64
        with torch.autocast("cpu", torch.bfloat16):
            assert linear(x, weight, bias).dtype == torch.bfloat16
        assert linear(x[:0], weight, bias).shape == (0, 40)
    assert len(calls) == 4


@pytest.mark.parametrize("after", AFTER)
def test_what_comes_after_is_the_same_with_gradients(after: After) -> None:
    x, weight, bias = arguments(6)
    x.requires_grad_()
    ours, plain = linear(x, weight, bias, after), AFTER[after](F.linear(x, weight, bias))
    assert torch.equal(ours, plain)
    factors = torch.randn_like(ours)
    each = [torch.autograd.grad((out * factors).sum(), x)[0] for out in (ours, plain)]
    assert torch.equal(*each)


@pytest.mark.parametrize("grad", [False, True])
def test_a_feed_forward_block_drops_after_each_of_its_two_layers(grad: bool) -> None:
    first, second, x = nn.Linear(4, 6), nn.Linear(6, 3), torch.randn(5, 4)
    seen: list[Tensor] = []

    def halved(y: Tensor) -> Tensor:
        seen.append(y)
        return y / 2

    with torch.set_grad_enabled(grad):
        out = feed_forward(x, first, second, halved)
        hidden = F.relu(first(x))
        expected = second(hidden / 2) / 2
    torch.testing.assert_close(seen[0], hidden)
    torch.testing.assert_close(out, expected)
    assert len(seen) == 2 and (hidden == 0).any()


def test_a_model_keeps_its_parameters_and_becomes_faster() -> None:
    class Other(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Linear(3, 2, bias=False)), Other(2, 1))
    before, x = copy.deepcopy(model), torch.randn(5, 4)
    with_fast_linears(model)
    assert [type(m) for m in (model[0], model[1][0], model[2])] == [Linear, Linear, Other]
    assert list(model.state_dict()) == list(before.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model(x), before(x))
    model(x).sum().backward()
    before(x).sum().backward()
    for ours, theirs in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
