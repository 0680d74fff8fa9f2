"""Long-short cross-attention: the short stream's tokens inform the long stream's (LoSh's figure).

Never the other way.

The figure's odd blocks are the base pipeline's own encoder layers, shared by both streams. Its even
blocks are here: the long stream attends to the short one, while the short stream runs a
self-attention layer of its own. Heads, scaling, the missing feed-forward after the cross-attention,
and the start values are our choices: nothing published says.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from losh.errors import UserError
from losh.layers.transformer import Attention, xavier_matrices
from losh.model.pipeline import RVOSPipeline
from losh.model.structures import Tokens


class LongShortAttention(nn.Module):
    """F^l <- F^l + LN(softmax(Q K^T) V), Q from the long stream, K and V from the short one.

    The attention is fused: no matrix of scores is kept, which for two streams of 4,820 tokens
    (ReferFormer at 360x640) would be 0.7 GB per frame. Training with dropout on a CPU keeps one.

    Args:
        levels: the encoder's levels whose tokens meet, 0 = finest, with the words where they are
            tokens too; None: all.
    """

    def __init__(
        self, width: int, heads: int, dropout: float, levels: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.levels = levels
        self.attention = Attention(width, heads, dropout)
        self.norm = nn.LayerNorm(width)
        # A gain of zero makes the block an identity at first: a baseline's checkpoint is fine-tuned
        # from its own numbers.
        nn.init.zeros_(self.norm.weight)

    def forward(self, long: Tensor, short: Tensor, for_long: Tokens, for_short: Tokens) -> Tensor:
        """Let the long stream [M, S, C] read the short one [M, S, C] -> the long stream [M, S, C].

        Their positions and padding are in `for_long` and `for_short`.
        """
        keep = kept_tokens(for_long, self.levels)
        query, values, places = long[:, keep], short[:, keep], for_short.pos[:, keep]
        read = self.norm(
            self.attention(
                query + for_long.pos[:, keep], values + places, values, for_short.pad[:, keep]
            )
        )
        if isinstance(keep, slice):
            return long + read
        return long.index_add(1, keep, read.to(long.dtype))


def kept_tokens(tokens: Tokens, levels: Sequence[int] | None) -> slice | Tensor:
    """Which tokens are of these levels, or words.

    Raises:
        UserError: a level that the encoder lacks.
    """
    if levels is None:
        return slice(None)
    missing = [level for level in levels if level >= len(tokens.shapes)]
    if missing:
        raise UserError(
            f"model.cross_attention_levels: {missing[0]} is no level of the encoder, which has "
            f"{len(tokens.shapes)}",
            f"Take 0 to {len(tokens.shapes) - 1}",
        )
    device = tokens.x.device
    places = torch.arange(tokens.x.shape[1], device=device)
    parts = list(places[: tokens.n_visual].split([h * w for h, w in tokens.shapes]))
    return torch.cat([*(parts[level] for level in sorted(set(levels))), places[tokens.n_visual :]])


class CrossBlock(nn.Module):
    """An even block of the figure: long stream: cross-attention; short stream: self-attention.

    The latter is a layer of the base pipeline's own kind.
    """

    def __init__(self, base: RVOSPipeline, levels: Sequence[int] | None = None) -> None:
        super().__init__()
        self.cross = LongShortAttention(base.d_model, base.num_heads, base.dropout, levels)
        xavier_matrices(self.cross)
        self.short_layer = base.new_encoder_layer()

    def forward(self, x: Tensor, tokens: Tokens, base: RVOSPipeline) -> tuple[Tensor, Tensor]:
        """Run the block on x [2M, S, C], long rows first -> (long, short), each [M, S, C].

        Both read the short stream as it was before the block. `base` runs its own kind of layer.
        """
        long, short = x.chunk(2)
        for_long, for_short = tokens.halves()
        crossed = self.cross(long, short, for_long, for_short)
        return crossed, base.run_encoder_layer(self.short_layer, short, for_short)
