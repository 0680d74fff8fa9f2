"""LoSh: a base pipeline run on the long and the short expression at once (arXiv 2306.08736)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from losh.errors import UserError
from losh.layers.transformer import xavier_matrices
from losh.model.cross_attention import CrossBlock, LongShortAttention
from losh.model.pipeline import RVOSPipeline
from losh.model.structures import (
    Clips,
    LayerPred,
    LoShOutput,
    TextFeats,
    TextIds,
    Tokens,
    VideoFeats,
)
from losh.model.text_encoder import TextEncoder
from losh.params import ModelParams

Text = TextIds | TextFeats


class LoSh(nn.Module):
    """Two streams through one base pipeline.

    Visual encoder, text encoder, encoder layers, queries and heads are shared.

    Args:
        base: the pipeline; LoSh uses only what RVOSPipeline declares.
        params: `short_stream` and `cross_attention*` of params.yaml's `model`.

    Attributes:
        one_batch: whether both streams run as one doubled batch; they must where they meet.
    """

    def __init__(self, base: RVOSPipeline, params: ModelParams) -> None:
        super().__init__()
        self.base = base
        self.short_stream = params.short_stream
        crossing = params.short_stream and params.cross_attention
        self.one_batch = crossing
        inside = crossing and params.cross_attention_place == "inside"
        levels = params.cross_attention_levels
        sizes = (base.d_model, base.num_heads, base.dropout, levels)
        blocks = params.cross_attention_blocks if inside else 0
        self.cross_blocks = nn.ModuleList(CrossBlock(base, levels) for _ in range(blocks))
        self.cross_after = LongShortAttention(*sizes) if crossing and not inside else None
        if self.cross_after is not None:
            xavier_matrices(self.cross_after)

    @property
    def text_encoder(self) -> TextEncoder:
        """The base pipeline's; ValueError where it was built without one."""
        if self.base.text_encoder is None:
            raise ValueError("this model was built without a text encoder")
        return self.base.text_encoder

    def forward(
        self,
        clips: Clips,
        long: Text,
        short: Text | None = None,
        video: VideoFeats | None = None,
        *,
        joint: bool = True,
        last_only: bool = False,
    ) -> LoShOutput:
        """Segment what the expressions refer to.

        Args:
            clips: B windows.
            long: B long expressions (E of them with `clips.rows`), as tokens or as the text
                encoder's features.
            short: as many short ones; None only where the short stream is switched off (else
                ValueError). Ignored where it is.
            video: `base.encode_video` of these clips, where it was already computed (several
                expressions on one video).
            joint: False: the short stream's predictions are not read. It is then run only as far as
                the long stream reads it.
            last_only: only the last decoder layer's predictions are read.

        Returns:
            Predictions of both streams in the K annotated frames, and the visual encoder's features
            of all T frames, or of those that `clips.read` names.
        """
        smallest = min(clips.frames.shape[-2:])
        if smallest < self.base.min_side:
            raise UserError(
                f"the network's input has a side of {smallest} px, and this base pipeline takes at "
                f"least {self.base.min_side}",
                "Raise train.short_side",
            )
        everything = video
        if everything is None:
            everything = self.base.encode_video(clips.frames, clips.pad, clips.read)
        selected = self.base.select_frames(everything, clips.annotated, clips.rows)
        texts = [self.base.encode_text(long)]
        if self.short_stream and short is None:
            raise ValueError("the short stream is on: LoSh needs short expressions")
        if short is not None and self.short_stream and (joint or self.one_batch):
            texts.append(self.base.encode_text(short))
        common = (everything, clips.annotated, selected)
        if not self.one_batch:
            # Each by itself: long's numbers are then to the bit those of the pipeline alone, which
            # a doubled batch would round in another way.
            streams = [self._stream(selected, text, last_only) for text in texts]
            layers, kept = zip(*streams, strict=True)
            return LoShOutput(layers[0], layers[1] if len(layers) > 1 else None, *common, [*kept])
        doubled, text = selected.repeat_batch(2), TextFeats.join(*texts)  # long rows first
        memory, tokens = self._encode(doubled, text)
        if not joint:
            memory, tokens = memory.chunk(2)[0], tokens.halves()[0]
            alone, kept = self._decode(memory, tokens, selected, texts[0], last_only)
            return LoShOutput(alone, None, *common, [kept])
        both, kept = self._decode(memory, tokens, doubled, text, last_only)
        longs, shorts = zip(*(layer.halves() for layer in both), strict=True)
        by_stream = list(zip(*(x.chunk(2) for x in kept), strict=True)) or [(), ()]
        return LoShOutput(list(longs), list(shorts), *common, by_stream)

    def _stream(
        self, video: VideoFeats, text: TextFeats, last_only: bool
    ) -> tuple[list[LayerPred], tuple[Tensor, ...]]:
        """One stream by itself, see `_decode`."""
        return self._decode(*self._encode(video, text), video, text, last_only)

    def _encode(self, video: VideoFeats, text: TextFeats) -> tuple[Tensor, Tokens]:
        """Encode one stream, or both as a doubled batch; return its memory and what went in."""
        tokens = self.base.fuse(video, text)
        memory = self.base.encode(tokens, self._cross if len(self.cross_blocks) else None)
        return memory if self.cross_after is None else self._after(memory, tokens), tokens

    def _decode(
        self, memory: Tensor, tokens: Tokens, video: VideoFeats, text: TextFeats, last_only: bool
    ) -> tuple[list[LayerPred], tuple[Tensor, ...]]:
        """Return what each decoder layer predicts (or the last alone), and the encoder's outputs.

        The latter are what the pipeline keeps of its encoder; none with `last_only`, since losses
        alone read them, and they read all layers.
        """
        layers = self.base.decode(memory, tokens, video, text, last_only)
        if last_only:  # as no loss does
            return layers, ()
        return layers, self.base.encoder_outputs(memory, tokens, video.pad.shape[0])

    def _cross(self, i: int, x: Tensor, tokens: Tokens) -> Tensor:
        """After shared layer i: its cross-attention block, if it has one."""
        return (
            torch.cat(self.cross_blocks[i](x, tokens, self.base))
            if i < len(self.cross_blocks)
            else x
        )

    def _after(self, memory: Tensor, tokens: Tokens) -> Tensor:
        """Cross-attention on the encoder's output alone (our cheaper variant)."""
        assert self.cross_after is not None
        long, short = memory.chunk(2)
        return torch.cat([self.cross_after(long, short, *tokens.halves()), short])
