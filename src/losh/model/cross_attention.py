"""Long-short cross-attention: the short stream's tokens inform the long stream's, never the other
way (LoSh, overview figure).

The figure's odd blocks are the base pipeline's own encoder layers, shared by both streams. Its even
blocks are here: the long stream attends to the short one, while the short stream runs a
self-attention layer of its own. Heads, scaling, the missing feed-forward after the cross-attention,
and the start values are our choices: nothing published says.
"""

from __future__ import annotations

from torch import Tensor, nn

from losh.layers.transformer import Attention, xavier_matrices
from losh.model.pipeline import RVOSPipeline
from losh.model.structures import Tokens


class LongShortAttention(nn.Module):
    """F^l <- F^l + LN(softmax(Q K^T) V), Q from the long stream, K and V from the short one."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.norm = nn.LayerNorm(width)
        # A gain of zero makes the block an identity at first: a baseline's checkpoint is fine-tuned
        # from its own numbers.
        nn.init.zeros_(self.norm.weight)

    def forward(
        self, long: Tensor, short: Tensor, long_pos: Tensor, short_pos: Tensor, short_pad: Tensor
    ) -> Tensor:
        """long, long_pos [M, S, C]; short, short_pos [M, S', C]; short_pad [M, S'] (True = padding)
        -> the long stream [M, S, C].
        """
        return long + self.norm(
            self.attention(long + long_pos, short + short_pos, short, short_pad)
        )


class CrossBlock(nn.Module):
    """An even block of the figure: cross-attention for the long stream, self-attention for the
    short one, which is a layer of the base pipeline's own kind.
    """

    def __init__(self, base: RVOSPipeline) -> None:
        super().__init__()
        self.cross = LongShortAttention(base.d_model, base.num_heads, base.dropout)
        xavier_matrices(self.cross)
        self.short_layer = base.new_encoder_layer()

    def forward(self, x: Tensor, tokens: Tokens, base: RVOSPipeline) -> tuple[Tensor, Tensor]:
        """x [2M, S, C], long rows first -> (long, short), each [M, S, C]; both read the short
        stream as it was before the block. `base` runs its own kind of layer.
        """
        long, short = x.chunk(2)
        for_long, for_short = tokens.halves()
        crossed = self.cross(long, short, for_long.pos, for_short.pos, for_short.pad)
        return crossed, base.run_encoder_layer(self.short_layer, short, for_short)
