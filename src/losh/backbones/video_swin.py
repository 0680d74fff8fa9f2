"""Video-Swin as the base pipelines use it: its first stages, a feature map for every frame.

MTTR uses three stages, ReferFormer and SgMg use all four.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from losh.backbones.attention_windows import Asked, Frames, frames_to_answer
from losh.backbones.backbone import Backbone, everything, spread, taken
from losh.backbones.motion_branch import MotionBranch
from losh.backbones.video_swin_blocks import (
    PATCH,
    PatchEmbed,
    PatchMerging,
    SwinBlock,
    SwinStage,
    size3,
)


@dataclass(frozen=True)
class SwinSizes:
    """Sizes of a Video-Swin: what the constructor takes."""

    embed_dim: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: tuple[int, int, int] = (8, 7, 7)
    dropped_blocks: int = 0
    """Blocks of published stages that are left out: they still count where stochastic depth is
    spread over the blocks.
    """

    def cut(self, stages: int) -> SwinSizes:
        """Keep the first `stages` of the published stages."""
        return replace(
            self,
            depths=self.depths[:stages],
            num_heads=self.num_heads[:stages],
            dropped_blocks=self.dropped_blocks + sum(self.depths[stages:]),
        )


PRESETS = {
    "video_swin_t": SwinSizes(96, (2, 2, 6, 2), (3, 6, 12, 24)),
    "video_swin_s": SwinSizes(96, (2, 2, 18, 2), (3, 6, 12, 24)),
    "video_swin_b": SwinSizes(128, (2, 2, 18, 2), (4, 8, 16, 32)),
}
"""The published sizes, all four stages (arXiv 2106.13230)."""


class VideoSwin(Backbone):
    """The video backbone.

    Parameters have the names of the released checkpoints, without their prefix `backbone.`.

    Attributes:
        channels: channels of each level.
        strides: pixels a cell of each level covers: 4, 8, 16, ...
        checkpoint_blocks: recompute each block in the backward pass instead of keeping what is
            inside it: less memory, about a third more time.
    """

    def __init__(
        self,
        embed_dim: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        window_size: Sequence[int] = (8, 7, 7),
        drop_path: float = 0.0,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        dropped_blocks: int = 0,
        motion_channels: int = 0,
    ) -> None:
        """Random weights: truncated normal of 0.02 in linear layers and bias tables, as published.

        Args:
            embed_dim: channels of the first stage; each next one has twice as many.
            depths: blocks of each stage.
            num_heads: heads of each stage.
            window_size: frames, rows, columns of an attention window.
            drop_path: stochastic depth of the network's last block; earlier ones have less,
                linearly, and the first none.
            dropped_blocks: blocks that the published network has after these; only the spread of
                `drop_path` counts them.
            motion_channels: channels of our motion branch; 0: none, as published.
        """
        super().__init__()
        window = size3(window_size)
        half = size3(length // 2 for length in window)
        last = max(1, sum(depths) + dropped_blocks - 1)
        self.channels = [embed_dim * 2**stage for stage in range(len(depths))]
        self.strides = [PATCH * 2**stage for stage in range(len(depths))]
        self.checkpoint_blocks = False
        self.patch_embed = PatchEmbed(embed_dim)
        self.layers = nn.ModuleList()
        for stage, (channels, depth, heads) in enumerate(
            zip(self.channels, depths, num_heads, strict=True)
        ):
            first = sum(depths[:stage])
            self.layers.append(
                SwinStage(
                    [
                        SwinBlock(
                            channels,
                            heads,
                            window,
                            half if i % 2 else (0, 0, 0),
                            drop_path * (first + i) / last,
                            mlp_ratio,
                            qkv_bias,
                        )
                        for i in range(depth)
                    ]
                )
            )
        self.downsamples = nn.ModuleList(PatchMerging(channels) for channels in self.channels[:-1])
        self.apply(_initialise)
        self.motion = MotionBranch(embed_dim, motion_channels) if motion_channels else None

    def forward(self, frames: Tensor, read: Frames | None = None) -> list[Tensor]:
        """Features of the frames that are read.

        A frame that is not read is computed as far as others look at it: the last block owes only
        the frames that are read, the one before it those that share a window with them, and so on.

        Args:
            frames: float [B, T, 3, H, W], normalised; any size.
            read: see Backbone. (A compiled network computes all: it would be compiled anew for
                each place that annotated frames have in their windows.)

        Returns:
            One level per stage: [B, T, C_i, ceil(H / s_i), ceil(W / s_i)], un-normed, taken before
            the patch merging. They are views of channels-last memory, so they are not contiguous.
            NaN where a frame is not computed.
        """
        x = self.patch_embed(frames)  # [B, T, H / 4, W / 4, C]
        if self.motion is not None:
            x = self.motion(x)
        if read is None or torch.compiler.is_compiling():
            asked: list[list[Asked | None]] = [[None] * len(stage) for stage in self._blocks()]
        else:
            asked = self.asked(everything(frames), read)
        levels, there = [], everything(frames)
        for stage, blocks in enumerate(self._blocks()):
            for i, (block, one) in enumerate(zip(blocks, asked[stage], strict=True)):
                if one is not None:
                    x, there = taken(x, there, one.there), one.there
                if stage and i == 0:
                    x = self.downsamples[stage - 1](x)
                x = (
                    checkpoint(block, x, one, use_reentrant=False)
                    if self.checkpoint_blocks and self.training
                    else block(x, one)
                )
                there = there if one is None else one.asked
            level = spread(x, there, frames)
            levels.append(level.permute(0, 1, 4, 2, 3))  # [B, T, h, w, C] -> [B, T, C, h, w]
        return levels

    def asked(self, whole: Frames, read: Frames) -> list[list[Asked | None]]:
        """Say which frames each block of each stage owes; None: all.

        Args:
            whole: all frames of each clip.
            read: those that are read of every level.
        """
        length, owed = len(whole[0]), read
        found: list[list[Asked | None]] = []
        for blocks in reversed(self._blocks()):
            stage: list[Asked | None] = []
            for block in reversed(blocks):
                reach, shift = block.attn.window[0], block.attn.shift[0]
                there = frames_to_answer(length, reach, shift, owed)
                stage.append(None if owed == whole else Asked(length, there, owed))
                owed = there
            found.append(stage[::-1])
        return found[::-1]

    def _blocks(self) -> list[list[SwinBlock]]:
        return [
            [cast(SwinBlock, block) for block in cast(SwinStage, layer).blocks]
            for layer in self.layers
        ]

    def stage_modules(self) -> list[list[nn.Module]]:
        """See Backbone: the embedding and the motion branch belong to the first stage."""
        first = [self.patch_embed, *([self.motion] if self.motion is not None else [])]
        entrances = [first, *([merging] for merging in self.downsamples)]
        return [[*entrance, layer] for entrance, layer in zip(entrances, self.layers, strict=True)]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
