"""The MTTR base pipeline (arXiv 2111.14821): one encoder for video and words, object queries.

Each query's kernel makes its mask.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losh.backbones.attention_windows import Frames
from losh.backbones.backbone import Backbone
from losh.layers.projection import TextProjection
from losh.layers.transformer import DecoderLayer, EncoderLayer, sine_position, xavier_matrices
from losh.model.pipeline import Hook, RVOSPipeline
from losh.model.structures import LayerPred, TextFeats, TextIds, Tokens, VideoFeats
from losh.model.text_encoder import TextEncoder
from losh.pipelines.mttr.losses import MTTRObjective
from losh.pipelines.mttr.masks import MTTRMaskRule, SpatialDecoder
from losh.pipelines.mttr.parameters import Parameters


class MTTR(RVOSPipeline):
    """MTTR with the sizes of `params`.

    Args:
        text_encoder: None: `encode_text` takes features alone.
        text_width: width of the text encoder's features.
    """

    params: Parameters

    def __init__(
        self,
        params: Parameters,
        backbone: Backbone,
        text_encoder: TextEncoder | None,
        text_width: int,
    ) -> None:
        super().__init__(params)
        width = params.d_model
        sizes = (width, params.num_heads, params.ffn_dim, params.dropout)
        self.encoder = nn.ModuleList(self.new_encoder_layer() for _ in range(params.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(*sizes) for _ in range(params.decoder_layers))
        xavier_matrices(self.decoder)
        self.decoder_norm = nn.LayerNorm(width)
        self.queries = nn.Embedding(params.num_queries, width)
        self.text_projection = TextProjection(text_width, width, params.dropout)
        self.video_projection = nn.Conv2d(backbone.channels[-1], width, 1)
        self.spatial_decoder = SpatialDecoder(width, backbone.channels[-2::-1], params.kernel_dim)
        self.reference_head = nn.Linear(width, 2)
        self.kernel_head = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, params.kernel_dim)
        )
        self.backbone = backbone
        self.text_encoder = text_encoder

    def encode_video(self, frames: Tensor, pad: Tensor, read: Frames | None = None) -> VideoFeats:
        """See RVOSPipeline. The backbone itself knows no padding (released behaviour)."""
        levels = self.backbone(frames, read)
        pads = [F.interpolate(pad.float(), size=x.shape[-2:], mode="nearest") > 0.5 for x in levels]
        return VideoFeats(levels, pads, list(self.backbone.strides), pad)

    def select_frames(
        self, video: VideoFeats, annotated: Tensor, rows: Tensor | None = None
    ) -> VideoFeats:
        """See RVOSPipeline: the levels as the transformer and the spatial decoder read them.

        The transformer reads the coarsest, the spatial decoder the others. They are projected once
        per frame and not once per expression and stream.
        """
        chosen = super().select_frames(video, annotated)
        *fine, coarsest = chosen.levels
        layers = [*reversed(self.spatial_decoder.adapters), self.video_projection]
        levels = [
            layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            for layer, x in zip(layers, [*fine, coarsest], strict=True)
        ]
        chosen = replace(chosen, levels=levels)
        return chosen if rows is None else chosen.pick(rows)

    def encode_text(self, text: TextIds | TextFeats) -> TextFeats:
        """See RVOSPipeline; given features are the text encoder's own, not yet projected."""
        if isinstance(text, TextIds):
            text = self.tokens_to_features(text)
        return TextFeats(self.text_projection(text.words), text.pad)

    def fuse(self, video: VideoFeats, text: TextFeats) -> Tokens:
        """Put the coarsest level and the words in one sequence.

        [B, K, D, h, w] and [B, S, D] -> M = B * K rows of h * w + S tokens.
        """
        # [B, K, ...] -> [M, ...]
        level, pad = video.levels[-1].flatten(0, 1), video.pads[-1].flatten(0, 1)
        frames = video.levels[-1].shape[1]
        visual = level.flatten(2).transpose(1, 2)  # [M, D, h, w] -> [M, hw, D]
        words = text.words.repeat_interleave(frames, 0)  # [B, S, D] -> [M, S, D]
        position = sine_position(pad, self.d_model).flatten(2).transpose(1, 2)  # -> [M, hw, D]
        return Tokens(
            x=torch.cat([visual, words.to(visual.dtype)], 1),
            pos=F.pad(position, (0, 0, 0, words.shape[1])),
            pad=torch.cat([pad.flatten(1), text.pad.repeat_interleave(frames, 0)], 1),
            shapes=[(level.shape[-2], level.shape[-1])],
            n_visual=visual.shape[1],
        )

    def encode(self, tokens: Tokens, hook: Hook | None = None) -> Tensor:
        """See RVOSPipeline."""
        x = tokens.x
        for i, layer in enumerate(self.encoder):
            x = self.run_encoder_layer(layer, x, tokens)
            if hook is not None:
                x = hook(i, x, tokens)
        return x

    def new_encoder_layer(self) -> EncoderLayer:
        """See RVOSPipeline."""
        sizes = self.params
        layer = EncoderLayer(sizes.d_model, sizes.num_heads, sizes.ffn_dim, sizes.dropout)
        xavier_matrices(layer)
        return layer

    def run_encoder_layer(self, layer: nn.Module, x: Tensor, tokens: Tokens) -> Tensor:
        """See RVOSPipeline."""
        return layer(x, tokens.pos, tokens.pad)

    def encoder_outputs(self, memory: Tensor, tokens: Tokens, clips: int) -> tuple[Tensor, ...]:
        """Let the reference head, which judges object queries, judge the visual cells too (ours).

        Returns:
            Logits [B, K, h, w, 2], as the queries' scores are.
        """
        scores = self.reference_head(memory[:, : tokens.n_visual]).float()  # [M, hw, 2]
        return (scores.unflatten(1, tokens.shapes[0]).unflatten(0, (clips, -1)),)

    def decode(
        self,
        memory: Tensor,
        tokens: Tokens,
        video: VideoFeats,
        text: TextFeats,
        last_only: bool = False,
    ) -> list[LayerPred]:
        """See RVOSPipeline.

        Mask = the query's kernel (a dynamic 1x1 convolution) on the spatial decoder's features.
        """
        clips = video.levels[0].shape[0]
        states = self._query_states(memory, tokens)  # [L, M, N, D]
        states = states[-1:] if last_only else states
        pixels = self._pixel_features(memory, tokens, video)  # [M, kernel, h, w]
        kernels = self.kernel_head(states)  # [L, M, N, kernel]
        # Clip by clip and frame by frame, memory and pyramid keep one order. The released code
        # repeats the pyramid's inputs in another order than the memory, which mixes frames up where
        # a clip has several annotated ones; ours does not.
        masks = torch.einsum("lmnc,mchw->lmnhw", kernels, pixels)
        masks = masks.unflatten(1, (clips, -1))  # -> [L, B, K, N, h, w]
        scores = self.reference_head(states).unflatten(1, (clips, -1))  # -> [L, B, K, N, 2]
        return [LayerPred(s, m) for s, m in zip(scores.float(), masks.float(), strict=True)]

    def _query_states(self, memory: Tensor, tokens: Tokens) -> Tensor:
        """Return the decoder outputs of every layer, normed for the heads -> [L, M, N, D].

        The content of a query starts at zero.
        """
        query_pos = self.queries.weight.expand(memory.shape[0], -1, -1)
        x, states = torch.zeros_like(query_pos), []
        for layer in self.decoder:
            x = layer(x, query_pos, memory, tokens.pos, tokens.pad)
            states.append(self.decoder_norm(x))
        return torch.stack(states)

    def _pixel_features(self, memory: Tensor, tokens: Tokens, video: VideoFeats) -> Tensor:
        """Visual memory and the finer levels through the spatial decoder -> [M, kernel, h, w]."""
        # [M, hw, D] -> [M, D, h, w]
        visual = memory[:, : tokens.n_visual].transpose(1, 2).unflatten(2, tokens.shapes[0])
        return self.spatial_decoder(visual, [x.flatten(0, 1) for x in video.levels[-2::-1]])

    def referred_prob(self, pred: LayerPred) -> Tensor:
        """See RVOSPipeline: softmax over (referred, no object)."""
        return pred.scores.softmax(-1)[..., 0]

    def objective(self) -> MTTRObjective:
        """See RVOSPipeline."""
        return MTTRObjective(self.params.losses)

    def mask_rule(self, protocol: str) -> MTTRMaskRule:
        """See RVOSPipeline; one rule for all protocols."""
        return MTTRMaskRule()


Pipeline = MTTR
