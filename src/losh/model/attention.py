"""Multi-head attention through PyTorch's fused kernel, with the parameters in nn.MultiheadAttention's layout."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Scaled dot-product attention in `heads` heads (batch-major).

    nn.MultiheadAttention is not used: it leaves the fused kernel as soon as queries, keys and values differ, which the
    position code makes them do.
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

    def forward(self, query: Tensor, key: Tensor, value: Tensor, pad: Tensor | None = None) -> Tensor:
        """Attend from query [M, N, C] to key and value [M, S, C] -> [M, N, C].

        `pad` [M, S] bool marks keys to ignore. Where all keys of a row are padding, it is ignored for that row: the result
        is then meaningless but finite, and such a row (a frame that is all padding) reaches no output.
        """
        weights = self.in_proj_weight.chunk(3)
        biases = self.in_proj_bias.chunk(3)
        q, k, v = (self._heads(F.linear(x, w, b)) for x, w, b in zip((query, key, value), weights, biases, strict=True))
        mask = None
        if pad is not None:
            usable = ~pad | pad.all(1, keepdim=True)
            mask = usable[:, None, None, :]  # [M, S] -> [M, 1, 1, S]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=self.dropout if self.training else 0.0)
        return self.out_proj(out.transpose(1, 2).flatten(2))  # [M, heads, N, C / heads] -> [M, N, C]

    def _heads(self, x: Tensor) -> Tensor:
        """[M, S, C] -> [M, heads, S, C / heads]."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)
