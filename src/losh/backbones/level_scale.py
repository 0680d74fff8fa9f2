"""Bring the levels of a Video-Swin to a chosen spread, without changing what it computes (ours).

All blocks are pre-norm: they read the features through a LayerNorm and add to them. So a level is
multiplied by a number exactly (but for the LayerNorm's epsilon) where everything that writes to its
stage is. Training needs it: MTTR joins the coarsest level, un-normed, with words of spread 1, and
with features of spread 9 the default learnt nothing of what a sentence means (docs/backbone).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from losh.backbones.video_swin import VideoSwin


@torch.no_grad()
def scale_levels(model: VideoSwin, factors: Sequence[float]) -> None:
    """Multiply each level that the network gives by its factor, in place.

    Args:
        factors: one per stage, above 0.
    """
    for number, (stage, factor) in enumerate(zip(model.layers, factors, strict=True)):
        written = [
            parameter
            for name, parameter in stage.named_parameters()
            if ".attn.proj." in name or ".mlp.fc2." in name
        ]
        source = model.downsamples[number - 1].reduction if number else model.patch_embed.norm
        written += cast(nn.Module, source).parameters()
        if number == 0 and model.motion is not None:
            written += model.motion.out.parameters()
            cast(nn.Conv3d, model.motion.convs[0]).weight.div_(factor)  # it reads what was scaled
        for parameter in written:
            parameter.mul_(factor)


@torch.no_grad()
def spread_of_levels(model: VideoSwin, frames: Tensor) -> list[float]:
    """Return the standard deviation of each level's features of `frames` [B, T, 3, H, W]."""
    return [float(level.std()) for level in model(frames)]
