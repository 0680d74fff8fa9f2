"""Small parts that several pipelines put before and behind their transformers."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from losh.layers.dropout import Dropout
from losh.layers.linear import linear

TEXT_NORM_EPS = 1e-12  # released behaviour of every pipeline here; other LayerNorms have 1e-5


class TextProjection(nn.Module):
    """Features of the text encoder -> width of the transformer: Linear, LayerNorm, Dropout."""

    def __init__(self, text_width: int, width: int, dropout: float) -> None:
        super().__init__()
        self.fc = nn.Linear(text_width, width)
        self.norm = nn.LayerNorm(width, eps=TEXT_NORM_EPS)
        self.dropout = Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        """[..., text_width] -> [..., width]."""
        return self.dropout(self.norm(self.fc(features)))


class MLP(nn.Module):
    """Linear layers of one hidden width with ReLU between them."""

    def __init__(self, width: int, out: int, layers: int) -> None:
        super().__init__()
        outs = [width] * (layers - 1) + [out]
        self.layers = nn.ModuleList(nn.Linear(width, to) for to in outs)

    def linears(self) -> list[nn.Linear]:
        """Return the layers, first to last."""
        return [cast(nn.Linear, layer) for layer in self.layers]

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., out]."""
        *hidden, last = self.linears()
        for layer in hidden:
            x = linear(x, layer.weight, layer.bias, "relu")
        return last(x)


class _AnySizeGroupNorm(nn.GroupNorm):
    """PyTorch's refuses one frame whose level is one cell of one channel a group; here it is 0."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def group_norm(groups: int, channels: int) -> nn.GroupNorm:
    """Make a group norm of at most `groups` groups: as many as divide a narrow model's channels."""
    fitting = next(g for g in range(groups, 0, -1) if channels % g == 0)
    return _AnySizeGroupNorm(fitting, channels)
