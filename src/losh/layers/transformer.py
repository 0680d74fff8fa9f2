"""Post-norm transformer layers of DETR (arXiv 2005.12872), as MTTR uses them.

Positions are added to queries and keys.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losh.layers.dropout import Dropout, dropout
from losh.layers.linear import feed_forward, linear


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward block, each followed by its LayerNorm."""

    def __init__(self, width: int, heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads, dropout)
        self.linear1 = nn.Linear(width, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, pos: Tensor, pad: Tensor) -> Tensor:
        """x, pos [M, S, C] and pad [M, S] (True = padding) -> [M, S, C]."""
        place = x + pos
        x = self.norm1(x + self.dropout(self.self_attn(place, place, x, pad)))
        return self.norm2(x + feed_forward(x, self.linear1, self.linear2, self.dropout))


class DecoderLayer(nn.Module):
    """Self-attention of the queries, attention to the memory, feed-forward, each with LayerNorm."""

    def __init__(self, width: int, heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads, dropout)
        self.cross_attn = Attention(width, heads, dropout)
        self.linear1 = nn.Linear(width, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, query_pos: Tensor, memory: Tensor, memory_pos: Tensor, pad: Tensor
    ) -> Tensor:
        """Update the queries x [M, N, C] -> [M, N, C].

        query_pos [M, N, C]; memory, memory_pos [M, S, C]; pad [M, S] (True = padding).
        """
        place = x + query_pos
        x = self.norm1(x + self.dropout(self.self_attn(place, place, x)))
        x = self.norm2(
            x + self.dropout(self.cross_attn(x + query_pos, memory + memory_pos, memory, pad))
        )
        return self.norm3(x + feed_forward(x, self.linear1, self.linear2, self.dropout))


def xavier_matrices(module: nn.Module) -> None:
    """Draw every matrix of a transformer from Xavier's uniform distribution, as DETR does."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)


class Attention(nn.Module):
    """Scaled dot-product attention in `heads` heads (batch-major).

    nn.MultiheadAttention is not used: it leaves the fused kernel as soon as queries, keys and
    values differ, which the position code makes them do.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, pad: Tensor | None = None
    ) -> Tensor:
        """Attend from query [M, N, C] to key and value [M, S, C] -> [M, N, C].

        `pad` [M, S] bool marks keys to ignore. Where all keys of a row are padding, it is ignored
        for that row: the result is then meaningless but finite, and such a row (a frame that is all
        padding) reaches no output.
        """
        weights = self.in_proj_weight.chunk(3)
        biases = self.in_proj_bias.chunk(3)
        q, k, v = (
            self._heads(linear(x, w, b))
            for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
        mask = None
        if pad is not None:
            usable = ~pad | pad.all(1, keepdim=True)
            mask = usable[:, None, None, :]  # [M, S] -> [M, 1, 1, S]
        if self.training and self.dropout and q.device.type == "cpu":
            out = _plainly(q, k, v, mask, self.dropout)
        else:
            p = self.dropout if self.training else 0.0
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)
        # [M, heads, N, C / heads] -> [M, N, C]
        return self.out_proj(out.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """[M, S, C] -> [M, heads, S, C / heads]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def _plainly(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float) -> Tensor:
    """Attention with dropout on a CPU, where PyTorch has no fused kernel for it either.

    q [M, heads, N, d], k and v [M, heads, S, d]; mask [M, 1, 1, S], True = read, of which each row
    has one at least -> [M, heads, N, d].
    """
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf)
    return dropout(logits.softmax(-1), p) @ v


EPSILON = 1e-6  # keeps a frame that is all padding from dividing by zero (released behaviour)


TEMPERATURE = 10000.0


def sine_position(pad: Tensor, channels: int, offset: float = 0.0) -> Tensor:
    """Compute the 2-D sine code over the unpadded extent (DETR; released behaviour).

    So a clip is coded alike alone and padded in a batch.

    Args:
        pad: [M, h, w] bool, True = padding.
        channels: of the code, a multiple of 4; the first half codes rows, the second columns.
        offset: added to the cells' numbers, which count from 1: -0.5 codes their centres
            (Deformable DETR), 0 their far edges (MTTR).

    Returns:
        [M, channels, h, w] float32; channel 2k of a half is a sine, 2k + 1 the cosine of the same
        wavelength.
    """
    inside = (~pad).float()
    rows, columns = inside.cumsum(1), inside.cumsum(2)
    rows = (rows + offset) / (rows[:, -1:, :] + EPSILON) * (2 * math.pi)
    columns = (columns + offset) / (columns[:, :, -1:] + EPSILON) * (2 * math.pi)
    wavelength = _wavelengths(channels // 2, pad.device)
    return torch.cat([_waves(rows, wavelength), _waves(columns, wavelength)], dim=1)


def text_position(pad: Tensor, channels: int) -> Tensor:
    """Compute the 1-D sine code over a sentence's own words (ReferFormer).

    pad [B, S] bool, True = padding -> float32 [B, S, channels].
    """
    words = (~pad).float().cumsum(1)
    words = words / (words[:, -1:] + EPSILON) * (2 * math.pi)
    waves = _waves(words[:, None], _wavelengths(channels, pad.device))  # [B, channels, 1, S]
    return waves[:, :, 0].transpose(1, 2)


def _wavelengths(channels: int, device: torch.device) -> Tensor:
    """Of each channel of a code; a sine and the cosine after it share theirs."""
    step = torch.arange(channels, dtype=torch.float32, device=device)
    return TEMPERATURE ** (2 * (step // 2) / channels)


def _waves(place: Tensor, wavelength: Tensor) -> Tensor:
    """[M, h, w] -> [M, half, h, w], sines and cosines in turn."""
    angle = place[:, None] / wavelength[:, None, None]  # [M, h, w] -> [M, half, h, w]
    return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1, 2)
