"""From the backbone's levels and the words to one width, and the words into the picture, as
ReferFormer and SgMg do it.

B clips, K frames, M = B * K rows, S words, C channels, h w cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from losh.layers.transformer import Attention

GROUPS = 32
TEXT_NORM_EPS = 1e-12  # released behaviour; every other LayerNorm has 1e-5


class TextProjection(nn.Module):
    """Features of the text encoder -> width of the transformer: Linear, LayerNorm, Dropout."""

    def __init__(self, text_width: int, width: int, dropout: float) -> None:
        super().__init__()
        self.fc = nn.Linear(text_width, width)
        self.norm = nn.LayerNorm(width, eps=TEXT_NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """[..., text_width] -> [..., width]."""
        return self.dropout(self.norm(self.fc(features)))


class LevelProjections(nn.ModuleList):
    """Backbone levels -> maps of one width, and one more map of half the coarsest level's size.

    Args:
        channels: of the levels, finest first.
        width: of the maps, a multiple of 32 (or less than that).
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        convolutions = [nn.Conv2d(c, width, 1) for c in channels]
        convolutions.append(nn.Conv2d(channels[-1], width, 3, stride=2, padding=1))
        for convolution in convolutions:
            nn.init.xavier_uniform_(convolution.weight)
            nn.init.zeros_(convolution.bias)
        super().__init__(
            nn.Sequential(convolution, nn.GroupNorm(min(GROUPS, width), width))
            for convolution in convolutions
        )

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Levels [M, Ci, hi, wi] -> one map more, each [M, C, h, w]; the last is made of the
        coarsest LEVEL, not of its map.
        """
        return [project(x) for project, x in zip(self, [*levels, levels[-1]], strict=True)]


class WordFusion(nn.Module):
    """Each cell of a clip attends to its sentence and is MULTIPLIED with what it finds: no norm, no
    residual. One module serves all levels.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)

    def forward(self, x: Tensor, words: Tensor, place: Tensor, pad: Tensor) -> Tensor:
        """x [M, C, h, w]; words and their position code `place` [B, S, C], pad [B, S] (True =
        padding) -> [M, C, h, w].
        """
        rows, width, height, columns = x.shape
        cells = x.unflatten(0, (len(words), -1)).transpose(2, 1).flatten(2).transpose(1, 2)
        found = cells * self.attention(cells, words + place, words, pad)  # [B, K * h * w, C]
        found = found.transpose(1, 2).unflatten(2, (-1, height, columns)).transpose(1, 2)
        return found.reshape(rows, width, height, columns)


def resized_pad(pad: Tensor, size: tuple[int, int]) -> Tensor:
    """A padding mask at a level's size, nearest (released behaviour): [M, H, W] bool -> [M, h, w]
    bool.
    """
    return torch.nn.functional.interpolate(pad[:, None].float(), size=size)[:, 0] > 0.5
