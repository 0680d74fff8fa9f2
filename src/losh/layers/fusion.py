"""Backbone levels at one width, and the words brought into them, as ReferFormer and SgMg do it.

B clips, K frames, M = B * K rows, S words, C channels, h w cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from losh.layers.projection import group_norm
from losh.layers.transformer import Attention

GROUPS = 32


class InputProjections(nn.Module):
    """The backbone's levels from stride 8 on, and coarser ones made of its last, at one width.

    Args:
        channels: of the backbone's levels, finest first.
        levels: how many come out; those that the backbone lacks are halved by a 3x3 convolution:
            the first of them from the backbone's last level, further ones from the one before.
    """

    def __init__(self, channels: Sequence[int], levels: int, width: int) -> None:
        super().__init__()
        self.given = min(levels, len(channels) - 1)
        inputs = channels[1 : 1 + self.given]
        extra = [channels[-1]] + [width] * (levels - self.given - 1)
        convs = [nn.Conv2d(c, width, 1) for c in inputs]
        convs += [nn.Conv2d(c, width, 3, stride=2, padding=1) for c in extra[: levels - self.given]]
        self.levels = nn.ModuleList(
            nn.Sequential(conv, group_norm(GROUPS, width)) for conv in convs
        )
        for conv in convs:
            nn.init.xavier_uniform_(conv.weight)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Backbone levels [M, Ci, Hi, Wi], finest first -> [M, C, hi, wi]."""
        found: list[Tensor] = []
        for i, project in enumerate(self.levels):
            if i < self.given:
                source = levels[1 + i]
            else:
                source = levels[-1] if i == self.given else found[-1]
            found.append(project(source))
        return found


@dataclass(frozen=True)
class Words:
    """Words of B clips with their places in the sentence."""

    values: Tensor
    """[B, S, C]."""
    pos: Tensor
    """[B, S, C]."""
    pad: Tensor
    """[B, S] bool."""


class TextFusion(nn.Module):
    """Each cell is multiplied by what it reads from the words; one module for all levels.

    No norm, no residual, no position on the visual side.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)

    def forward(self, x: Tensor, words: Words) -> Tensor:
        """x [M, C, h, w], the K frames of a clip one after the other -> [M, C, h, w]."""
        clips, size = len(words.pad), x.shape[-2:]
        cells = x.unflatten(0, (clips, -1)).permute(0, 1, 3, 4, 2)  # [B, K, h, w, C]
        frames = cells.shape[1]
        cells = cells.flatten(1, 3)
        found = cells * self.attention(cells, words.values + words.pos, words.values, words.pad)
        return found.unflatten(1, (frames, *size)).flatten(0, 1).permute(0, 3, 1, 2)


def shrunk(pad: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a padding mask [B, K, H, W] to a level's size, nearest (released behaviour)."""
    return F.interpolate(pad.float(), size=tuple(size), mode="nearest") > 0.5
