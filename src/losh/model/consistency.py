"""Forward-backward visual consistency: neighbours' features, moved along the flow, should agree.

Published (LoSh, abstract and figure): features straight from the visual encoder are warped from the
previous and next frame into the annotated one by optical flow and compared. Our choices, since
nothing says: levels, distance, occlusion test, stop-gradient, averages.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losh.errors import UserError
from losh.model.structures import ClipFlow, VideoFeats
from losh.params import ConsistencyParams

FLOW_STRIDE = 4
# Of the forward-backward check (the ratio and slack of Sundaram et al., ECCV 2010)
RELATIVE, ABSOLUTE = (0.01, 0.5)
WHOLLY = 0.999  # of a bilinear sample's weight: less means that it touches the outside or padding


def consistency_loss(
    video: VideoFeats, annotated: Tensor, flow: ClipFlow, params: ConsistencyParams
) -> Tensor:
    """Distance between annotated frames and their warped neighbours.

    Args:
        video: features of all T frames of B clips.
        annotated: [B, K] long, the frames that the flow starts in.
        flow: of the same clips.
        params: levels (counted from the finest), distance, occlusion, stop_gradient.

    Returns:
        Scalar: mean over a pair's valid cells, mean over levels, SUM over the pairs with a flow. A
            pair without a valid cell adds 0.

    Raises:
        UserError: a level that the backbone does not have.
    """
    if max(params.levels) >= len(video.levels):
        raise UserError(
            f"train.consistency.levels: the backbone has no level {max(params.levels)}",
            f"Use 0 to {len(video.levels) - 1}",
        )
    clip, frame, side = flow.valid.nonzero(as_tuple=True)
    # [P, 2, h, w]
    forward, backward = (
        flow.forward[clip, frame, side].float(),
        flow.backward[clip, frame, side].float(),
    )
    seen = torch.isfinite(forward).all(1) & torch.isfinite(backward).all(1)  # [P, h, w]
    forward, backward = torch.nan_to_num(forward, 0, 0, 0), torch.nan_to_num(backward, 0, 0, 0)
    if params.occlusion:
        seen &= visible(forward, backward)
    here, there = annotated[clip, frame], flow.neighbour[clip, frame, side]
    total = torch.zeros((), device=forward.device)
    for i in params.levels:
        level, pad = video.levels[i], video.pads[i]
        # [P, C, Hi, Wi]
        target, neighbour = (_unpadded(level, pad, clip, here), _unpadded(level, pad, clip, there))
        if params.stop_gradient != "none":
            target, neighbour = (
                (target.detach(), neighbour)
                if params.stop_gradient == "target"
                else (target, neighbour.detach())
            )
        shift, clear = to_stride(forward, seen, video.strides[i])
        warped, inside = warp(neighbour, pad[clip, there], shift)
        total = (
            total
            + _mean_distance(
                target, warped, clear & inside & ~pad[clip, here], params.distance
            ).sum()
        )
    return total / len(params.levels)


def _unpadded(level: Tensor, pad: Tensor, clip: Tensor, frame: Tensor) -> Tensor:
    """Take frames of some clips, [B, T, C, h, w] -> [P, C, h, w], zeroed where padded.

    A bilinear tap of weight 0 on a NaN would be a NaN.
    """
    return level[clip, frame].float().masked_fill(pad[clip, frame][:, None], 0)


def visible(forward: Tensor, backward: Tensor) -> Tensor:
    """Say where the forward-backward check holds, -> bool [P, h, w].

    |wf + wb(x + wf)|^2 < 0.01 (|wf|^2 + |wb|^2) + 0.5, with forward wf and backward wb [P, 2, h,
    w].

    In pixels of the flows' own grid. False too where x + wf leaves the frame.
    """
    back, inside = warp(backward, torch.zeros_like(backward[:, 0], dtype=torch.bool), forward)
    gap = (forward + back).square().sum(1)
    return inside & (gap < RELATIVE * (forward.square().sum(1) + back.square().sum(1)) + ABSOLUTE)


def to_stride(flow: Tensor, seen: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """Bring flow of stride 4 [P, 2, h, w] and where it holds [P, h, w] to a coarser level's cells.

    Vectors are in cells.

    A cell takes the mean of the stride-4 cells in it (at the lower and right edge there may be
    fewer), which keeps places exact for sizes that are no multiple of the stride. It counts where
    most of them do.
    """
    factor = stride // FLOW_STRIDE
    if factor == 1:
        return flow, seen
    pooled = F.avg_pool2d(torch.cat([flow, seen[:, None].float()], 1), factor, ceil_mode=True)
    return pooled[:, :2] / factor, pooled[:, 2] > 0.5


def warp(source: Tensor, pad: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Fetch source(x + flow(x)), bilinear.

    Args:
        source: [P, C, h, w].
        pad: [P, h, w] bool, cells of the source that are padding.
        flow: [P, 2, h, w], u then v, in cells.

    Returns:
        What was fetched [P, C, h, w], and bool [P, h, w]: whether all of it lay inside the frame
        and off the padding.
    """
    height, width = flow.shape[-2:]
    row = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None]
    column = torch.arange(width, device=flow.device, dtype=flow.dtype)
    # With align_corners=False the centre of cell i of n lies at (2 i + 1) / n - 1.
    grid = torch.stack(
        [(2 * (column + flow[:, 0]) + 1) / width - 1, (2 * (row + flow[:, 1]) + 1) / height - 1],
        dim=-1,
    )
    fetched = F.grid_sample(
        torch.cat([source, (~pad)[:, None].to(source.dtype)], 1),
        grid,
        padding_mode="zeros",
        align_corners=False,
    )
    return fetched[:, :-1], fetched[:, -1] > WHOLLY


def _mean_distance(target: Tensor, warped: Tensor, valid: Tensor, distance: str) -> Tensor:
    """Return the mean distance over the valid cells of each pair, [P]; 0 where none is valid.

    [P, C, h, w] twice and [P, h, w].
    """
    if distance == "cosine":
        apart = 1 - (
            F.normalize(target, dim=1, eps=1e-6) * F.normalize(warped, dim=1, eps=1e-6)
        ).sum(1)
    else:
        apart = (target - warped).abs().mean(1)
    return torch.where(valid, apart, 0).sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)
