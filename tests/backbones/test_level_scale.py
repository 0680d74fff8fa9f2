"""Levels are scaled exactly, with the motion branch and without."""

from __future__ import annotations

import pytest
import torch

from losh.backbones.level_scale import scale_levels, spread_of_levels
from losh.backbones.video_swin import VideoSwin


@pytest.mark.parametrize("motion_channels", [0, 4])
def test_each_level_is_multiplied_by_its_factor(motion_channels: int) -> None:
    torch.manual_seed(0)
    model = VideoSwin(16, (1, 1, 2), (2, 2, 2), (2, 3, 4), motion_channels=motion_channels).eval()
    for parameter in model.parameters():  # no zeros: every term that is added must count
        torch.nn.init.normal_(parameter, std=0.5)
    frames = torch.randn(2, 3, 3, 32, 40)
    with torch.no_grad():
        before = model(frames)
        scale_levels(model, (0.5, 3.0, 0.25))
        after = model(frames)
    for old, new, factor in zip(before, after, (0.5, 3.0, 0.25), strict=True):
        torch.testing.assert_close(new, factor * old, rtol=1e-3, atol=1e-3 * float(new.std()))


def test_levels_can_be_brought_to_one_spread() -> None:
    torch.manual_seed(0)
    model = VideoSwin(16, (1, 1), (2, 2), (2, 3, 4)).eval()
    frames = torch.randn(2, 3, 3, 32, 40)
    scale_levels(model, [1 / spread for spread in spread_of_levels(model, frames)])
    assert spread_of_levels(model, frames) == pytest.approx([1.0, 1.0], rel=1e-2)
