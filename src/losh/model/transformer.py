"""Post-norm transformer layers of DETR (arXiv 2005.12872), as MTTR uses them: positions are added to queries and keys."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from losh.model.attention import Attention


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward block, each followed by its LayerNorm."""

    def __init__(self, width: int, heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads, dropout)
        self.linear1 = nn.Linear(width, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, pos: Tensor, pad: Tensor) -> Tensor:
        """x, pos [M, S, C] and pad [M, S] (True = padding) -> [M, S, C]."""
        place = x + pos
        x = self.norm1(x + self.dropout(self.self_attn(place, place, x, pad)))
        return self.norm2(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x))))))


class DecoderLayer(nn.Module):
    """Self-attention of the queries, attention to the memory, feed-forward; each followed by its LayerNorm."""

    def __init__(self, width: int, heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads, dropout)
        self.cross_attn = Attention(width, heads, dropout)
        self.linear1 = nn.Linear(width, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, query_pos: Tensor, memory: Tensor, memory_pos: Tensor, pad: Tensor) -> Tensor:
        """Queries x, query_pos [M, N, C]; memory, memory_pos [M, S, C]; pad [M, S] (True = padding) -> [M, N, C]."""
        place = x + query_pos
        x = self.norm1(x + self.dropout(self.self_attn(place, place, x)))
        x = self.norm2(x + self.dropout(self.cross_attn(x + query_pos, memory + memory_pos, memory, pad)))
        return self.norm3(x + self.dropout(self.linear2(self.dropout(F.relu(self.linear1(x))))))


def xavier_matrices(module: nn.Module) -> None:
    """Draw every matrix of a transformer from Xavier's uniform distribution, as DETR does."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
