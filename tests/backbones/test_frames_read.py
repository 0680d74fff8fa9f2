"""Frames that nothing reads are left out, and the others stay what they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from losh.backbones.attention_windows import Frames, frames_to_answer
from losh.backbones.resnet import ResNet
from losh.backbones.video_swin import PRESETS, VideoSwin

CASES = {  # window, T, frames read of each of two clips
    "one frame and its neighbours": ((2, 3, 3), 6, ((3,), (2, 3, 4))),
    "both ends": ((4, 3, 3), 7, ((0,), (6,))),
    "published": ((8, 7, 7), 10, ((5,), (4, 5, 6))),
    "one window holds all": ((8, 3, 3), 5, ((0, 4), (2,))),
}


def network(**changes: object) -> VideoSwin:
    """A network that attends in earnest."""
    torch.manual_seed(0)
    sizes = {"embed_dim": 8, "depths": (2, 2, 2), "num_heads": (1, 2, 4), "motion_channels": 4}
    model = VideoSwin(**{**sizes, **changes})
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 or name.endswith("table") or name.startswith("motion.out"):
            parameter.data.add_(0.3 * torch.randn_like(parameter))
        else:
            parameter.data.mul_(8)
    return model


def of_read(level: Tensor, read: Frames) -> Tensor:
    return torch.stack([level[clip, t] for clip, frames in enumerate(read) for t in frames])


def is_nan(level: Tensor) -> list[list[bool]]:
    """Whether a frame of a clip is NaN, all of it; some of it never is."""
    nan = level.isnan().flatten(2)
    assert torch.equal(nan.any(2), nan.all(2))
    return nan.all(2).tolist()


@pytest.mark.parametrize("again", [False, True], ids=["kept", "computed again"])
@pytest.mark.parametrize("case", CASES)
def test_features_and_gradients_are_those_of_all_frames(case: str, again: bool) -> None:
    """In training, where clips drop a block's branch at random."""
    window, length, read = CASES[case]
    model = network(window_size=window, drop_path=0.5).train()
    model.checkpoint_blocks = again
    frames, found = torch.randn(2, length, 3, 40, 44), []
    for of in (None, read):
        torch.manual_seed(1)
        levels = [of_read(level, read) for level in model(frames, of)]
        weights = [torch.randn(x.shape, generator=torch.Generator().manual_seed(2)) for x in levels]
        loss = sum((x * weight).sum() for x, weight in zip(levels, weights, strict=True))
        found.append((levels, torch.autograd.grad(loss, list(model.parameters()))))
    (levels, grads), (their_levels, their_grads) = found
    for ours, theirs in zip([*levels, *grads], [*their_levels, *their_grads], strict=True):
        apart = (ours - theirs).detach().abs().max()
        assert float(apart) < 1e-5 * max(1.0, float(ours.detach().abs().max()))


@pytest.mark.parametrize("case", CASES)
def test_fused_kernels_give_the_same_features(case: str) -> None:
    window, length, read = CASES[case]
    model, frames = network(window_size=window).eval(), torch.randn(2, length, 3, 40, 44)
    with torch.no_grad():
        for whole, some in zip(model(frames), model(frames, read), strict=True):
            assert torch.allclose(of_read(some, read), of_read(whole, read), atol=1e-4, rtol=1e-4)


def test_a_block_owes_the_frames_that_share_a_window_with_those_read() -> None:
    """Windows of 8 frames over 10: from frame 0 on, and shifted from frame 4 on."""
    assert frames_to_answer(10, 8, 4, ((5,), (3,))) == (tuple(range(4, 10)), tuple(range(4)))
    assert frames_to_answer(10, 8, 0, ((5,), (9,))) == (tuple(range(8)), (8, 9))
    assert frames_to_answer(10, 8, 4, ((3, 5),)) == (tuple(range(10)),)
    assert frames_to_answer(6, 8, 4, ((5,),)) == (tuple(range(6)),)  # one window, not shifted
    whole = (tuple(range(10)),)
    *_, last = VideoSwin(**vars(PRESETS["video_swin_t"].cut(3))).asked(whole, ((5,),))
    assert [one and (one.there, one.asked) for one in last] == [
        *[None] * 4,
        (whole, ((4, 5, 6, 7, 8, 9),)),
        (((4, 5, 6, 7, 8, 9),), ((5,),)),
    ]


def test_what_is_not_computed_is_nan() -> None:
    """The finer levels are there as far as the next stage looks at them."""
    model = network(window_size=(2, 3, 3)).eval()
    with torch.no_grad():
        fine, middle, coarse = model(torch.randn(1, 6, 3, 24, 24), ((3,),))
    yes, no = True, False
    assert is_nan(fine) == [[no] * 6]
    assert is_nan(middle) == [[yes, yes, no, no, no, no]]
    assert is_nan(coarse) == [[yes, yes, yes, no, yes, yes]]


def test_less_is_computed() -> None:
    """At the published sizes; counted, so the same on any machine."""
    model = VideoSwin(**vars(PRESETS["video_swin_t"].cut(3))).eval()

    def count(read: Frames | None) -> int:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(torch.randn(1, 10, 3, 96, 96), read)
        return counter.get_total_flops()

    whole = count(None)
    assert count((tuple(range(10)),)) == whole
    assert 0.88 < count(((5,),)) / whole < 0.93


def test_a_resnet_looks_at_the_frames_read_alone() -> None:
    torch.manual_seed(0)
    model, frames = ResNet("resnet50", stages=2).eval(), torch.randn(2, 3, 3, 32, 40)
    read = ((1,), (0, 2))
    with torch.no_grad():
        levels = model(frames)
        frames[0, 0] = frames[0, 2] = frames[1, 1] = float("nan")
        for whole, some in zip(levels, model(frames, read), strict=True):
            assert is_nan(some) == [[True, False, True], [False, True, False]]
            assert torch.allclose(of_read(some, read), of_read(whole, read), atol=1e-5)
