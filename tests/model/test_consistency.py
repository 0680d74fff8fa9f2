"""Forward-backward visual consistency on features that move by a known flow."""

from __future__ import annotations

import math

import pytest
import torch

from losh.errors import UserError
from losh.model.consistency import consistency_loss, to_stride, visible, warp
from losh.model.structures import ClipFlow, VideoFeats
from losh.testing.small_models import consistency_params

SIZE = (16, 24)  # cells of the stride-4 level, which are the flow's pixels
STEP = (3, -2)  # what moves (right, down) from the annotated frame to the next, in those


def input_pad() -> torch.Tensor:
    """No padding, at the size of the network's input."""
    return torch.zeros(1, 2, SIZE[0] * 4, SIZE[1] * 4, dtype=torch.bool)


def moving_video(factors: tuple[int, ...] = (1,)) -> VideoFeats:
    """Two frames of smooth features; the second is the first moved by STEP (levels of coarser
    strides by pooling).
    """
    row, column = torch.meshgrid(
        torch.arange(SIZE[0]).float(), torch.arange(SIZE[1]).float(), indexing="ij"
    )

    def frame(right: float, down: float) -> torch.Tensor:
        x, y = column - right, row - down
        return torch.stack(
            [
                torch.sin(x / 3),
                torch.cos(y / 3),
                torch.sin((x + y) / 4),
                torch.cos(x / 5),
                torch.ones_like(x),
            ]
        )

    finest = torch.stack([frame(0, 0), frame(*STEP)])[None]  # [1, 2, C, h, w]
    levels = [
        torch.nn.functional.avg_pool2d(finest[0], f)[None] if f > 1 else finest for f in factors
    ]
    pads = [torch.zeros(1, 2, *x.shape[-2:], dtype=torch.bool) for x in levels]
    return VideoFeats(levels, pads, [4 * f for f in factors], input_pad())


def moving_flow(right: float = STEP[0], down: float = STEP[1]) -> ClipFlow:
    """The annotated frame 0 has a next neighbour, frame 1, and no previous one (whose fields are
    NaN).
    """
    forward = torch.full((1, 1, 2, 2, *SIZE), math.nan)
    forward[0, 0, 1] = torch.tensor([right, down]).float()[:, None, None]
    return ClipFlow(forward, -forward, torch.tensor([[[-1, 1]]]), torch.tensor([[[False, True]]]))


def loss(video: VideoFeats, flow: ClipFlow, **changes: object) -> torch.Tensor:
    return consistency_loss(
        video,
        torch.tensor([[0]]),
        flow,
        consistency_params(**{"levels": [0], "occlusion": True, **changes}),
    )


@pytest.mark.parametrize("distance", ["cosine", "l1"])
def test_right_flow_costs_nothing_and_a_wrong_one_does(distance: str) -> None:
    video = moving_video()
    right = loss(video, moving_flow(), distance=distance)
    wrong = [
        loss(video, moving_flow(*step), distance=distance)
        for step in ((-STEP[0], -STEP[1]), (STEP[1], STEP[0]), (0, 0))
    ]
    assert right < 1e-5
    assert min(wrong) > 0.05


def test_flow_is_scaled_to_coarser_levels() -> None:
    """Steps that are no whole number of coarse cells blur a little, but far less than an unscaled
    flow would miss.
    """
    video = moving_video((1, 2, 4))
    for i in (1, 2):
        assert loss(video, moving_flow(), levels=[i]) < 0.02
        assert loss(video, moving_flow(STEP[0] * 2, STEP[1] * 2), levels=[i]) > 0.04


def test_levels_are_averaged() -> None:
    video, flow = moving_video((1, 2)), moving_flow(0, 0)
    single = [loss(video, flow, levels=[i]) for i in (0, 1)]
    assert loss(video, flow, levels=[0, 1]).item() == pytest.approx(sum(single).item() / 2)


def test_pairs_are_summed() -> None:
    """The criterion divides by the number of pairs, which may be that of several devices."""
    video, flow = moving_video(), moving_flow(0, 0)
    twice = ClipFlow(
        *(
            torch.nan_to_num(f[:, :, 1:].expand(-1, -1, 2, -1, -1, -1))
            for f in (flow.forward, flow.backward)
        ),
        torch.tensor([[[1, 1]]]),
        torch.tensor([[[True, True]]]),
    )
    assert loss(video, twice).item() == pytest.approx(2 * loss(video, flow).item(), rel=1e-5)


def test_odd_sizes_keep_places_exact() -> None:
    flow = torch.arange(5.0).expand(1, 2, 3, 5)
    pooled, seen = to_stride(flow, torch.ones(1, 3, 5, dtype=torch.bool), 8)
    assert pooled.shape == (1, 2, 2, 3)
    # Mean of each pair of columns, in cells twice as wide; the last column is alone.
    assert pooled[0, 0, 0].tolist() == [0.25, 1.25, 2.0]
    assert seen.all()


def test_warp_reads_what_lies_ahead_of_the_flow() -> None:
    source = torch.arange(4.0).view(1, 1, 1, 4)
    flow = torch.zeros(1, 2, 1, 4)
    flow[:, 0] = 1.0
    fetched, inside = warp(source, torch.zeros(1, 1, 4, dtype=torch.bool), flow)
    assert fetched[0, 0, 0, :3].tolist() == [1, 2, 3]
    assert inside[0, 0].tolist() == [True, True, True, False]


def test_forward_backward_check() -> None:
    """A flow there and back is visible; a disagreement of more than the slack is not, nor what
    leaves the frame.
    """
    forward = torch.zeros(1, 2, 1, 6)
    forward[0, 0, 0] = torch.tensor([1.0, 1, 1, 1, 1, 1])
    backward = torch.zeros(1, 2, 1, 6)
    backward[0, 0, 0] = torch.tensor([-1, -1, -1.6, -2.0, -1, -1])
    # gap^2: 0, 0.36, 1, 0 and outside; slack: 0.5 + 0.01 * (1 + |wb|^2)
    assert visible(forward, backward)[0, 0].tolist() == [True, True, False, True, True, False]
    # A small step out of the frame agrees well enough with what is fetched there; it is still
    # outside.
    forward[0, 0, 0], backward[0, 0, 0] = 0.4, -0.4
    assert visible(forward, backward)[0, 0].tolist() == [True] * 5 + [False]


def test_occluded_pixels_count_only_where_asked() -> None:
    video, flow = moving_video(), moving_flow()
    flow.backward[..., :8] = 40.0
    video.levels[0][0, 1, :, :, :8] = -video.levels[0][0, 1, :, :, :8]
    assert loss(video, flow, occlusion=True) < 1e-5
    assert loss(video, flow, occlusion=False) > 0.1


@pytest.mark.parametrize("frame", [0, 1])
def test_padding_is_left_out_in_either_frame(frame: int) -> None:
    video = moving_video()
    video.levels[0][0, frame, :, 12:] = math.nan
    video.pads[0][0, frame, 12:] = True
    value = loss(video, moving_flow())
    assert value < 1e-5


def test_gradient_is_finite_beside_nan() -> None:
    video = moving_video()
    features = video.levels[0].clone()
    features[0, :, :, 12:] = 0.0  # a zero vector has no direction
    features.requires_grad_()
    video = VideoFeats([features], video.pads, video.strides, video.pad)
    flow = moving_flow(1, 0)
    flow.forward[0, 0, 1, :, 3:6, 3:6] = math.nan
    loss(video, flow).backward()
    assert torch.isfinite(features.grad).all() and features.grad.any()


@pytest.mark.parametrize("flow", [moving_flow(100, 0), moving_flow(math.nan, 0)])
def test_nothing_visible_costs_nothing(flow: ClipFlow) -> None:
    assert loss(moving_video(), flow) == 0


def test_no_pair_at_all() -> None:
    flow = moving_flow()
    flow.valid[:] = False
    assert loss(moving_video((1, 2)), flow, levels=[0, 1]) == 0


@pytest.mark.parametrize(
    ("side", "expected"),
    [("none", [True, True]), ("target", [False, True]), ("neighbour", [True, False])],
)
def test_stop_gradient(side: str, expected: list[bool]) -> None:
    video = moving_video()
    features = video.levels[0].clone().requires_grad_()
    loss(
        VideoFeats([features], video.pads, video.strides, video.pad),
        moving_flow(1, 0),
        stop_gradient=side,
    ).backward()
    assert [bool(features.grad[0, t].any()) for t in range(2)] == expected


def test_a_level_that_is_not_there() -> None:
    with pytest.raises(UserError, match="no level 2"):
        loss(moving_video(), moving_flow(), levels=[2])
