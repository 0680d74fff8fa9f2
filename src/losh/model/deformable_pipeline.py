"""What ReferFormer and SgMg have in common: levels of half to an eighth of the resolution, a
deformable encoder and decoder, five queries made of the sentence, dynamic convolutions for masks.

Shape letters as in losh.model.structures; L decoder layers, S the cells of all levels.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losh.layers.deformable import (
    Decoded,
    DeformableDecoder,
    DeformableEncoderLayer,
    Pyramid,
)
from losh.layers.dynamic_convolution import cell_offsets, dynamic_masks, parameter_count
from losh.layers.fusion import LevelProjections, WordFusion, resized_pad
from losh.layers.heads import box_heads, class_heads, controller
from losh.layers.transformer import sine_position, text_position
from losh.model.pipeline import Hook, RVOSPipeline
from losh.model.structures import LayerPred, TextFeats, Tokens, VideoFeats
from losh.params import PipelineParams

CENTRE = -0.5  # of a cell, counted from its far edge: what positions code


class DeformablePipeline(RVOSPipeline):
    """A network with one map for each backbone level but the finest, and one map more.

    A subclass says how the words come into the maps (`fused`), what the masks' convolutions read
    (`mask_features`), and how raw text features are projected (`encode_text`).

    Args:
        params: sizes, with `points` places that an attention head reads per level.
        backbone: see RVOSPipeline; its finest level has stride 4.
        mask_channels: of `mask_features`.
    """

    backbone_stages = 4
    uses_sentence = True
    mask_stride: ClassVar[int]
    """Pixels that a cell of `mask_features` spans."""
    mask_layers: ClassVar[tuple[int, ...]]
    """Output channels of a query's convolutions; the last hold a square of mask logits per cell."""

    def __init__(
        self,
        params: PipelineParams,
        backbone: nn.Module,
        text_encoder: nn.Module | None,
        mask_channels: int,
    ) -> None:
        super().__init__(params)
        width, layers = params.d_model, params.decoder_layers
        self.num_levels = len(backbone.channels)
        self.level_projections = LevelProjections(backbone.channels[1:], width)
        self.word_fusion = WordFusion(width, params.num_heads)
        self.level_embed = nn.Parameter(torch.randn(self.num_levels, width))
        self.encoder = nn.ModuleList(self.new_encoder_layer() for _ in range(params.encoder_layers))
        self.decoder = DeformableDecoder(layers, **self._layer_sizes())
        self.queries = nn.Embedding(params.num_queries, width)
        self.reference_points = nn.Linear(width, 2)
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)
        self.class_heads = class_heads(width, layers)
        self.box_heads = box_heads(width, layers)
        self.controller = controller(width, parameter_count(mask_channels, self.mask_layers))
        self.backbone = backbone
        self.text_encoder = text_encoder

    @staticmethod
    def folds_text(protocol: str, training: bool) -> bool:
        """See RVOSPipeline: not where whole videos are predicted (released behaviour)."""
        return training or protocol == "a2d"

    @abstractmethod
    def fused(self, maps: list[Tensor], text: TextFeats) -> list[Tensor]:
        """Bring the words into the maps, [M, C, h, w] each, finest first."""

    @abstractmethod
    def mask_features(self, memory: list[Tensor], video: VideoFeats, text: TextFeats) -> Tensor:
        """Make what the masks' convolutions read, [M, mask_channels, h, w], of the encoder's maps
        [M, C, h, w], finest first.
        """

    def encode_video(self, frames: Tensor, pad: Tensor) -> VideoFeats:
        """See RVOSPipeline. The backbone itself knows no padding (released behaviour)."""
        levels = self.backbone(frames)
        clips = pad.flatten(0, 1)
        pads = [resized_pad(clips, x.shape[-2:]).unflatten(0, pad.shape[:2]) for x in levels]
        return VideoFeats(levels, pads, list(self.backbone.strides), pad)

    def fuse(self, video: VideoFeats, text: TextFeats) -> Tokens:
        """See RVOSPipeline: the cells of all maps, finest first. `extra` has the part of each map
        that is no padding, and where each cell's centre lies on every map.
        """
        levels, pads = (
            [x.flatten(0, 1) for x in several[1:]] for several in (video.levels, video.pads)
        )
        maps = self.fused(self.level_projections(levels), text)
        pads.append(resized_pad(video.pad.flatten(0, 1), maps[-1].shape[-2:]))
        positions = [
            sine_position(pad, self.d_model, CENTRE) + level[:, None, None]
            for pad, level in zip(pads, self.level_embed, strict=True)
        ]
        x, pos = (
            torch.cat([one.flatten(2).transpose(1, 2) for one in several], 1)  # [M, S, D]
            for several in (maps, positions)
        )
        pyramid = Pyramid.of(
            torch.cat([pad.flatten(1) for pad in pads], 1), [tuple(m.shape[-2:]) for m in maps]
        )
        extra = (pyramid.valid, pyramid.centres())
        return Tokens(x, pos, pyramid.pad, pyramid.shapes, x.shape[1], extra)

    def with_words(self, x: Tensor, text: TextFeats) -> Tensor:
        """One map [M, C, h, w] multiplied with what its cells find in their sentence."""
        place = text_position(text.pad, self.d_model)
        return self.word_fusion(x, text.words, place, text.pad)

    def encode(self, tokens: Tokens, hook: Hook | None = None) -> Tensor:
        """See RVOSPipeline."""
        x = tokens.x
        for i, layer in enumerate(self.encoder):
            x = self.run_encoder_layer(layer, x, tokens)
            if hook is not None:
                x = hook(i, x, tokens)
        return x

    def new_encoder_layer(self) -> DeformableEncoderLayer:
        """See RVOSPipeline."""
        return DeformableEncoderLayer(**self._layer_sizes())

    def run_encoder_layer(self, layer: nn.Module, x: Tensor, tokens: Tokens) -> Tensor:
        """See RVOSPipeline."""
        return layer(x, tokens.pos, _pyramid(tokens), tokens.extra[1])

    def _layer_sizes(self) -> dict[str, int | float]:
        sizes = self.params
        return {
            "width": sizes.d_model,
            "heads": sizes.num_heads,
            "ffn_dim": sizes.ffn_dim,
            "dropout": sizes.dropout,
            "levels": self.num_levels,
            "points": sizes.points,
        }

    def decode(
        self, memory: Tensor, tokens: Tokens, video: VideoFeats, text: TextFeats
    ) -> list[LayerPred]:
        """See RVOSPipeline. Masks are at `mask_stride`, or finer where a cell holds several
        logits.
        """
        clips, frames = video.pad.shape[:2]
        pyramid = _pyramid(tokens)
        features = self.mask_features(pyramid.split(memory), video, text)
        sizes = video.clip_sizes.repeat_interleave(frames, 0)  # [M, 2]
        return [
            LayerPred(
                *(
                    x.float().unflatten(0, (clips, frames))
                    for x in (head(one.states), self._masks(one, features, sizes), one.boxes)
                )
            )
            for head, one in zip(
                self.class_heads, self._queries(memory, pyramid, text, frames), strict=True
            )
        ]

    def _queries(
        self, memory: Tensor, pyramid: Pyramid, text: TextFeats, frames: int
    ) -> list[Decoded]:
        """The decoder's layers. All queries of a sentence start with its vector as content."""
        content = text.sentence.repeat_interleave(frames, 0)[:, None]  # [M, 1, D]
        places = self.queries.weight.expand(len(memory), -1, -1)
        reference = self.reference_points(places).sigmoid()
        content = content.expand_as(places)
        return self.decoder(content, places, reference, memory, pyramid, self.box_heads)

    def _masks(self, one: Decoded, features: Tensor, sizes: Tensor) -> Tensor:
        """[M, N, h, w] by each query's convolutions."""
        shape = (features.shape[-2], features.shape[-1])
        offsets = cell_offsets(one.boxes.detach()[..., :2], sizes, shape, self.mask_stride)
        cells = dynamic_masks(features, self.controller(one.states), self.mask_layers, offsets)
        return F.pixel_shuffle(cells, round(self.mask_layers[-1] ** 0.5)).squeeze(2)

    def referred_prob(self, pred: LayerPred) -> Tensor:
        """See RVOSPipeline."""
        return pred.scores[..., 0].sigmoid()


def _pyramid(tokens: Tokens) -> Pyramid:
    return Pyramid(tokens.shapes, tokens.pad, tokens.extra[0])
