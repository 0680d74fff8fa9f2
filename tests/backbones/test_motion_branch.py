"""The motion branch: off and at its start it changes nothing; trained, it sees what moves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from losh.backbones.motion_branch import MotionBranch
from losh.backbones.video_swin import VideoSwin
from losh.backbones.weights import load_video_swin
from losh.errors import UserError
from losh.params import BackboneParams


def small(motion_channels: int = 0) -> VideoSwin:
    torch.manual_seed(0)
    return VideoSwin(8, (1, 2), (1, 2), (2, 3, 3), motion_channels=motion_channels).eval()


def opened(model: nn.Module) -> nn.Module:
    """With a last layer that is not zero, as training would make it."""
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "out." in name:
            nn.init.normal_(parameter, std=0.5)
    return model


def squares(step: int) -> Tensor:
    """[1, 6, 3, 48, 64]: a bright square that moves by `step` px a frame; in frame 3 all agree."""
    frames = torch.zeros(1, 6, 3, 48, 64)
    for t in range(6):
        left = 24 + step * (t - 3)
        frames[:, t, :, 16:32, left : left + 16] = 1
    return frames


def test_off_it_adds_no_weights() -> None:
    off, on = small().state_dict(), small(4).state_dict()
    assert not any("motion" in name for name in off)
    assert {name.split(".")[0] for name in on.keys() - off.keys()} == {"motion"}
    assert BackboneParams(name="video_swin_t", checkpoint=None).motion_channels == 0


@torch.no_grad()
def test_at_its_start_it_changes_not_a_bit() -> None:
    on, off = small(4), small()
    load_video_swin(on, off.state_dict())  # weights without a motion branch leave it as it is
    frames = torch.randn(2, 5, 3, 21, 34)
    for a, b in zip(on(frames), off(frames), strict=True):
        assert torch.equal(a, b)


def test_its_own_weights_are_loaded() -> None:
    trained, fresh = opened(small(4)), small(4)
    load_video_swin(fresh, trained.state_dict())
    for name, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value)
    with pytest.raises(UserError, match=r"surplus: motion\.convs\.0\.bias"):
        load_video_swin(small(), trained.state_dict())
    part = {name: x for name, x in trained.state_dict().items() if name != "motion.out.bias"}
    with pytest.raises(UserError, match=r"1 missing: motion\.out\.bias"):
        load_video_swin(fresh, part)


@torch.no_grad()
def test_it_tells_a_moving_square_from_a_still_one() -> None:
    """At the one frame that looks the same in all clips, and to the coarsest level."""
    clips = [squares(step) for step in (0, 2, -2)]
    assert all(torch.equal(clip[:, 3], clips[0][:, 3]) for clip in clips)
    still, right, left = (opened(small(8))(clip)[-1][:, 3] for clip in clips)
    assert (still - right).abs().max() > 0.01 and (right - left).abs().max() > 0.01


@torch.no_grad()
def test_every_frame_of_a_window_of_six_knows_the_whole_window() -> None:
    branch, x = opened(MotionBranch(4, 6)), torch.randn(1, 8, 5, 7, 4)
    changed = x.clone()
    changed[:, 0] += 1
    difference = (branch(changed) - branch(x)).abs().amax((0, 2, 3, 4))
    assert (difference > 0).tolist() == [True] * 6 + [False] * 2


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 3, 5), (7, 4, 1)])
def test_it_takes_any_size_and_a_clip_is_the_same_in_a_batch(size: tuple[int, int, int]) -> None:
    branch, x = opened(MotionBranch(4, 6)), torch.randn(2, *size, 4)
    assert branch(x).shape == x.shape
    assert torch.allclose(branch(x)[1:], branch(x[1:]), atol=1e-6)


def test_training_reaches_every_weight() -> None:
    model = opened(small(4)).train()
    model(torch.randn(1, 4, 3, 24, 24))[-1].square().mean().backward()
    for name, parameter in model.motion.named_parameters():
        assert parameter.grad.any(), name


def test_from_the_zero_start_the_last_layer_learns_first() -> None:
    model = small(4).train()
    model(torch.randn(1, 4, 3, 24, 24))[-1].square().mean().backward()
    assert model.motion.out.weight.grad.any() and not model.motion.convs[0].weight.grad.any()
