"""Low-frequency modulation on maps whose spectrum is known by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from losh.pipelines.sgmg.spectrum import LowFrequencyModulation, gaussian


def plain(channels: int = 4) -> LowFrequencyModulation:
    """A modulation that changes nothing of a spectrum but for the Gaussian, at a strength of a
    half.
    """
    module = LowFrequencyModulation(channels)
    module.mix = nn.Identity()
    nn.init.zeros_(module.strength[2].weight)
    return module.eval()


def checkers(h: int, w: int) -> Tensor:
    return (1.0 - 2.0 * ((torch.arange(h)[:, None] + torch.arange(w)) % 2)).expand(1, 4, h, w)


def test_the_gaussian_is_one_at_the_highest_frequency() -> None:
    one = gaussian((10, 13), torch.device("cpu"))
    assert one.shape == (1, 1, 10, 13)
    assert float(one[0, 0, 5, 6]) == 1
    assert float(one[0, 0, 5, 7]) == float(one[0, 0, 4, 6]) == pytest.approx(math.exp(-1 / 98))
    assert float(one[0, 0, 0, 0]) == pytest.approx(math.exp(-(25 + 36) / 98))


def test_high_frequencies_are_damped_and_low_ones_kept() -> None:
    flat, fine = torch.ones(1, 4, 64, 64), checkers(64, 64)
    with torch.no_grad():
        torch.testing.assert_close(plain()(flat)[0], 2 * flat)
        # The map itself, and a half of it: 1 - 0.5 * 1 of its only frequency.
        torch.testing.assert_close(plain()(fine)[0], 1.5 * fine)


def test_the_gaussian_is_handed_on_and_resized() -> None:
    module = plain()
    _, first = module(torch.randn(1, 4, 20, 24))
    _, second = module(torch.randn(1, 4, 10, 12), first)
    assert second.shape == (1, 1, 10, 12)
    torch.testing.assert_close(second, torch.nn.functional.avg_pool2d(first, 2))
    _, third = module(torch.randn(1, 4, 10, 12), second)
    assert third is second


def test_strength_is_one_number_a_frame() -> None:
    torch.manual_seed(0)
    module, x = LowFrequencyModulation(4).eval(), torch.randn(2, 4, 6, 7)
    alone = [module(frame[None])[0] for frame in x]
    torch.testing.assert_close(module(x)[0], torch.cat(alone))


def test_a_map_of_three_cells_is_the_smallest() -> None:
    module = LowFrequencyModulation(4)
    assert module(torch.randn(1, 4, 3, 3))[0].shape == (1, 4, 3, 3)
    with pytest.raises(RuntimeError):
        module(torch.randn(1, 4, 2, 3))


def test_autocast_changes_nothing_and_gradients_flow() -> None:
    torch.manual_seed(0)
    module, x = LowFrequencyModulation(4), torch.randn(2, 4, 6, 7)
    expected, _ = module(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, _ = module(x)
    assert torch.equal(ours, expected) and ours.dtype == torch.float32
    ours.square().sum().backward()
    assert all(bool((p.grad != 0).any()) for p in module.parameters())
