"""From memory to masks: a feature pyramid that reads the words, and then the masks.

The masks come from a small convolutional network for each query.

M = B * K frames, L decoder layers, N queries, C channels, h w cells of stride 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from losh.layers.dropout import Dropout
from losh.layers.fusion import Words
from losh.layers.linear import feed_forward
from losh.layers.projection import group_norm
from losh.layers.transformer import Attention, xavier_matrices

GROUPS = 8
ATTENTION_STRIDE = 32
"""Pixels: the frames' self-attention sees finer levels thinned out to this stride."""
MASK_STRIDE = 4


@dataclass(frozen=True)
class FeatureMap:
    """One level of K frames of B clips."""

    x: Tensor
    """[B, K, C, h, w]."""
    pos: Tensor
    """[B, K, D, h, w], D the width of the transformer."""
    pad: Tensor
    """[B, K, h, w] bool."""


class VisionLanguageBlock(nn.Module):
    """Self-attention over all frames of a clip, attention to its words, feed-forward.

    Each is followed by its LayerNorm.

    Args:
        reduction: cells of a side that share one token of the self-attention.
    """

    def __init__(
        self, width: int, heads: int, ffn_dim: int, dropout: float, reduction: int
    ) -> None:
        super().__init__()
        self.reduction = reduction
        self.self_attn = Attention(width, heads, dropout)
        self.cross_attn = Attention(width, heads, dropout)
        self.linear1 = nn.Linear(width, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        xavier_matrices(self)

    def forward(self, level: FeatureMap, words: Words) -> Tensor:
        """[B, K, C, h, w] -> [B, K, C, h, w]."""
        frames, size = level.x.shape[1], level.x.shape[-2:]
        x, pos = tokens(level.x), tokens(level.pos)
        x = self.norm1(x + self.dropout(self._frames(level)))
        read = self.cross_attn(x + pos, words.values + words.pos, words.values, words.pad)
        x = self.norm2(x + self.dropout(read))
        x = self.norm3(x + feed_forward(x, self.linear1, self.linear2, self.dropout))
        return x.unflatten(1, (frames, *size)).permute(0, 1, 4, 2, 3)

    def _frames(self, level: FeatureMap) -> Tensor:
        """Compute what the self-attention adds: [B, K * h * w, C]."""
        frames, size = level.x.shape[1], level.x.shape[-2:]
        small = tuple(max(1, side // self.reduction) for side in size)
        x, pos = (tokens(resized(y, small, "nearest")) for y in (level.x, level.pos))
        pad = resized(level.pad[:, :, None].float(), small, "nearest").flatten(1) > 0.5
        read = self.self_attn(x + pos, x + pos, x, pad)
        if small == size:
            return read
        maps = read.unflatten(1, (frames, *small)).permute(0, 1, 4, 2, 3)
        return tokens(resized(maps, size, "bilinear"))


def tokens(x: Tensor) -> Tensor:
    """[B, K, C, h, w] -> [B, K * h * w, C]."""
    return x.permute(0, 1, 3, 4, 2).flatten(1, 3)


def resized(x: Tensor, size: tuple[int, ...], mode: str) -> Tensor:
    """[B, K, C, h, w] -> [B, K, C, *size]."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    flat = F.interpolate(x.flatten(0, 1), size=size, mode=mode)
    return flat.unflatten(0, x.shape[:2])


class PyramidLevel(nn.Module):
    """One step of the pyramid: lateral convolution, words, what comes from above, convolution."""

    def __init__(
        self, channels: int, width: int, heads: int, ffn_dim: int, dropout: float, reduction: int
    ) -> None:
        super().__init__()
        self.lateral = nn.Conv2d(channels, width, 1, bias=False)
        self.lateral_norm = group_norm(GROUPS, width)
        self.block = VisionLanguageBlock(width, heads, ffn_dim, dropout, reduction)
        self.merge = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.merge_norm = group_norm(GROUPS, width)
        for conv in (self.lateral, self.merge):
            nn.init.kaiming_uniform_(conv.weight, a=1)

    def forward(self, level: FeatureMap, words: Words, above: Tensor | None) -> Tensor:
        """level [B, K, Ci, h, w] and above [M, C, h', w'] (the coarser step's) -> [M, C, h, w]."""
        clips = level.x.shape[:2]
        lateral = self.lateral_norm(self.lateral(level.x.flatten(0, 1))).unflatten(0, clips)
        y = self.block(FeatureMap(lateral, level.pos, level.pad), words).flatten(0, 1)
        if above is not None:
            y = y + F.interpolate(above, size=y.shape[-2:], mode="nearest")
        return F.relu(self.merge_norm(self.merge(y)))


class PixelDecoder(nn.Module):
    """The feature pyramid with words, from the coarsest level to the finest.

    Args:
        channels: of each level, finest first.
        strides: pixels of a cell of each level.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        width: int,
        heads: int,
        ffn_dim: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            PyramidLevel(c, width, heads, ffn_dim, dropout, max(1, ATTENTION_STRIDE // stride))
            for c, stride in zip(channels, strides, strict=True)
        )
        self.out = nn.Conv2d(width, width, 3, padding=1)
        nn.init.kaiming_uniform_(self.out.weight, a=1)
        if self.out.bias is not None:
            nn.init.zeros_(self.out.bias)

    def forward(self, levels: Sequence[FeatureMap], words: Words) -> Tensor:
        """levels, finest first -> mask features [M, C, h, w] of the finest one's size."""
        x = None
        for step, level in zip(reversed(self.levels), reversed(levels), strict=True):
            x = step(level, words, x)
        return self.out(x)
