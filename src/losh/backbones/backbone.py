"""What every visual backbone has, whatever network it is."""

from __future__ import annotations

import math

from torch import Tensor, nn

from losh.backbones.attention_windows import Frames, rows_among
from losh.errors import UserError


class Backbone(nn.Module):
    """Frames [B, T, 3, H, W] -> levels [B, T, C_i, H_i, W_i], finest first.

    A second argument of its `forward`, `read`, says which frames of each clip are read; None: all.
    The others need not be computed: they are NaN then, so that a reader who has not said so is
    found out.
    """

    channels: list[int]
    """Of each level."""
    strides: list[int]
    """Pixels that a cell of each level covers: 4, 8, 16, ..."""
    checkpoint_blocks: bool
    """Recompute each block in the backward pass instead of keeping what is inside it."""

    def stage_modules(self) -> list[list[nn.Module]]:
        """Return the modules of each stage, what comes before the first with the first."""
        raise NotImplementedError

    def freeze_stages(self, count: int) -> None:
        """Train no weight of the first `count` stages, so that no gradient is computed in them.

        They still run as in training: batch norms are frozen anyway, and drop path, where it is on,
        stays on.

        Raises:
            UserError: there are not so many stages.
        """
        stages = self.stage_modules()
        if count > len(stages):
            raise UserError(
                f"train.backbone_frozen_stages is {count}, and this backbone has {len(stages)}",
                f"Take 0 to {len(stages)}",
            )
        for stage in stages[:count]:
            for module in stage:
                module.requires_grad_(False)


def everything(frames: Tensor) -> Frames:
    """Return all frames of clips [B, T, ...]."""
    return (tuple(range(frames.shape[1])),) * len(frames)


def taken(x: Tensor, there: Frames, wanted: Frames) -> Tensor:
    """Take some of the frames that are there: [., ., ...] -> [1, F, ...], clip by clip.

    The first two axes of `x` hold the frames of `there`, clip by clip.
    """
    x = x.flatten(0, 1)[None]
    return x if there == wanted else x.index_select(1, rows_among(there, wanted, x.device))


def spread(x: Tensor, there: Frames, frames: Tensor) -> Tensor:
    """Put the frames that are there, [., ., ...], into clips [B, T, ...]; NaN where none is.

    Args:
        x: its first two axes hold the frames of `there`, clip by clip.
        frames: the clips [B, T, 3, H, W].
    """
    B, T = frames.shape[:2]
    if there == everything(frames):
        return x.view(B, T, *x.shape[2:])
    rows = rows_among(everything(frames), there, x.device)
    out = x.new_full((B * T, *x.shape[2:]), math.nan).index_copy(0, rows, x.flatten(0, 1))
    return out.view(B, T, *x.shape[2:])
