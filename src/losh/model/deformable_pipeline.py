"""What ReferFormer and SgMg have in common.

Levels of half to an eighth of the resolution, a deformable encoder and decoder, queries made of the
sentence, dynamic convolutions for masks.

Shape letters as in losh.model.structures; S the cells of all levels.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losh.backbones.attention_windows import Frames
from losh.backbones.backbone import Backbone
from losh.layers.deformable import (
    Decoded,
    DeformableDecoder,
    DeformableEncoder,
    DeformableEncoderLayer,
    LayerSizes,
    Pyramid,
)
from losh.layers.dynamic_convolution import cell_offsets, dynamic_masks, parameter_count
from losh.layers.fusion import InputProjections, TextFusion, Words, shrunk
from losh.layers.heads import box_heads, class_heads, controller
from losh.layers.transformer import sine_position, text_position
from losh.model.pipeline import Hook, RVOSPipeline
from losh.model.structures import LayerPred, TextFeats, Tokens, VideoFeats
from losh.model.text_encoder import TextEncoder
from losh.params import DeformableParams

CENTRE = -0.5  # of a cell, counted from its far edge: what positions code


class DeformablePipeline(RVOSPipeline):
    """The base of ReferFormer and SgMg; a subclass says what differs.

    It says how the words come into the maps (`fused`), what the masks' convolutions read
    (`mask_features`), and how raw text features are projected (`encode_text`).

    Args:
        params: sizes, with `feature_levels` maps in the encoder and `points` places that an
            attention head reads per map.
        backbone: frames [B, T, 3, H, W] -> levels [B, T, Ci, Hi, Wi], the finest of stride 4, with
            attributes `channels` and `strides`.
        text_encoder: (ids [B, S], mask [B, S]) -> TextFeats with sentence vectors. None:
            `encode_text` takes features alone.
        mask_layers: output channels of each of a query's convolutions; the last hold a square of
            mask logits per cell.
    """

    params: DeformableParams
    uses_sentence = True
    mask_stride: ClassVar[int]
    """Pixels that a cell of `mask_features` spans."""

    def __init__(
        self,
        params: DeformableParams,
        backbone: Backbone,
        text_encoder: TextEncoder | None,
        mask_layers: tuple[int, ...],
    ) -> None:
        super().__init__(params)
        width, levels, layers = params.d_model, params.feature_levels, params.decoder_layers
        self.input_projections = InputProjections(backbone.channels, levels, width)
        self.fusion = TextFusion(width, params.num_heads)
        self.level_embed = nn.Parameter(torch.randn(levels, width))
        self.encoder = DeformableEncoder(params.encoder_layers, **self._sizes())
        self.decoder = DeformableDecoder(layers, **self._sizes())
        self.queries = nn.Embedding(params.num_queries, width)
        self.reference_points = nn.Linear(width, 2)
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)
        self.class_heads = class_heads(width, layers)
        self.box_heads = box_heads(width, layers)
        self.mask_layers = mask_layers
        self.controller = controller(width, parameter_count(width, mask_layers))
        self.backbone = backbone
        self.text_encoder = text_encoder

    @staticmethod
    def folds_text(protocol: str, training: bool) -> bool:
        """See RVOSPipeline: released inference gives sentences as they are, but for A2D's.

        Those of RefCOCO are in lower case already.
        """
        return training or protocol == "a2d"

    @abstractmethod
    def fused(self, maps: list[Tensor], words: Words) -> list[Tensor]:
        """Bring the words into the maps, [M, C, h, w] each, finest first."""

    @abstractmethod
    def mask_features(self, memory: list[Tensor], video: VideoFeats, words: Words) -> Tensor:
        """Make what the masks' convolutions read, [M, C, h, w].

        It is made of those of the encoder's maps [M, C, h, w] that the backbone has, too, finest
        first.
        """

    def encode_video(self, frames: Tensor, pad: Tensor, read: Frames | None = None) -> VideoFeats:
        """See RVOSPipeline. The backbone itself knows no padding (released behaviour)."""
        # In one memory format, or else a repeated batch would be summed in another order than one
        # stream alone, and the two would differ in their last digits.
        levels = [x.contiguous() for x in self.backbone(frames, read)]
        pads = [shrunk(pad, x.shape[-2:]) for x in levels]
        return VideoFeats(levels, pads, list(self.backbone.strides), pad)

    def select_frames(
        self, video: VideoFeats, annotated: Tensor, rows: Tensor | None = None
    ) -> VideoFeats:
        """See RVOSPipeline: with the maps that the encoder reads, still without words.

        They are made once per frame and not once per expression and stream.
        """
        chosen = super().select_frames(video, annotated)
        maps = self.input_projections([x.flatten(0, 1) for x in chosen.levels])
        clips = chosen.pad.shape[:2]
        # In one memory format, see `encode_video`.
        chosen = replace(chosen, maps=[x.unflatten(0, clips).contiguous() for x in maps])
        return chosen if rows is None else chosen.pick(rows)

    def fuse(self, video: VideoFeats, text: TextFeats) -> Tokens:
        """See RVOSPipeline: the cells of all maps, finest first.

        M = B * K rows of S = sum of h * w tokens.
        """
        maps = self.fused([x.flatten(0, 1) for x in video.maps], self._words(text))
        pads = [shrunk(video.pad, x.shape[-2:]).flatten(0, 1) for x in maps]
        positions = [
            sine_position(pad, self.d_model, CENTRE) + level[:, None, None]
            for pad, level in zip(pads, self.level_embed, strict=True)
        ]
        x, pos = (
            torch.cat([one.flatten(2).transpose(1, 2) for one in several], 1)  # [M, S, D]
            for several in (maps, positions)
        )
        pad = torch.cat([one.flatten(1) for one in pads], 1)
        shapes = [(one.shape[-2], one.shape[-1]) for one in maps]
        return Tokens(x, pos, pad, shapes, n_visual=x.shape[1])

    def encode(self, tokens: Tokens, hook: Hook | None = None) -> Tensor:
        """See RVOSPipeline: each frame by itself."""
        inner = None if hook is None else lambda i, x: hook(i, x, tokens)
        return self.encoder(tokens.x, tokens.pos, _pyramid(tokens), inner)

    def new_encoder_layer(self) -> DeformableEncoderLayer:
        """See RVOSPipeline."""
        return DeformableEncoderLayer(**self._sizes())

    def run_encoder_layer(self, layer: nn.Module, x: Tensor, tokens: Tokens) -> Tensor:
        """See RVOSPipeline."""
        return layer(x, tokens.pos, _pyramid(tokens))

    def decode(
        self,
        memory: Tensor,
        tokens: Tokens,
        video: VideoFeats,
        text: TextFeats,
        last_only: bool = False,
    ) -> list[LayerPred]:
        """See RVOSPipeline. The content of every query is the sentence, its place is learned."""
        clips, frames = video.pad.shape[:2]
        pyramid = _pyramid(tokens)
        place = self.queries.weight.expand(clips * frames, -1, -1)
        if text.sentence is None:
            raise ValueError("queries are made of the sentence: give features with its vector")
        content = text.sentence.repeat_interleave(frames, 0)[:, None].expand_as(place)
        start = self.reference_points(place).float().sigmoid()
        layers = self.decoder(content, place, start, memory, pyramid, self.box_heads)
        given = pyramid.split(memory)[: self.input_projections.given]
        features = self.mask_features(given, video, self._words(text))
        sizes = video.clip_sizes.repeat_interleave(frames, 0)  # [M, 2]
        preds = []
        read = slice(-1 if last_only else 0, None)
        for layer, class_head in zip(layers[read], self.class_heads[read], strict=True):
            with torch.autocast(memory.device.type, enabled=False):
                found = class_head(layer.states.float()), self._masks(layer, features, sizes)
            scores, masks, boxes = (x.unflatten(0, (clips, frames)) for x in (*found, layer.boxes))
            preds.append(LayerPred(scores, masks, boxes))
        return preds

    def _masks(self, layer: Decoded, features: Tensor, sizes: Tensor) -> Tensor:
        """Make the masks, [M, N, h, w], by each query's convolutions.

        Boxes are parts of the clip without its padding.
        """
        shape = (features.shape[-2], features.shape[-1])
        places = layer.boxes.detach()[..., :2]
        offsets = cell_offsets(places, sizes, shape, self.mask_stride)
        parameters = self.controller(layer.states.float())
        cells = dynamic_masks(features, parameters, self.mask_layers, offsets)
        return F.pixel_shuffle(cells, round(self.mask_layers[-1] ** 0.5)).squeeze(2)

    def encoder_outputs(self, memory: Tensor, tokens: Tokens, clips: int) -> tuple[Tensor, ...]:
        """Let the last layer's class head, which judges object queries, judge the cells too (ours).

        Returns:
            Logits [B, K, h, w] of each level that the backbone has, finest first; none where no
            loss reads them.
        """
        if not self.params.losses.encoder_reference:
            return ()
        scores = self.class_heads[-1](memory).float()  # [M, S, 1]
        given = _pyramid(tokens).split(scores)[: self.input_projections.given]
        return tuple(x[:, 0].unflatten(0, (clips, -1)) for x in given)

    def referred_prob(self, pred: LayerPred) -> Tensor:
        """See RVOSPipeline."""
        return pred.scores[..., 0].sigmoid()

    def _sizes(self) -> LayerSizes:
        """Of a deformable layer."""
        params = self.params
        return {
            "width": params.d_model,
            "heads": params.num_heads,
            "ffn_dim": params.ffn_dim,
            "dropout": params.dropout,
            "levels": params.feature_levels,
            "points": params.points,
        }

    def _words(self, text: TextFeats) -> Words:
        return Words(text.words, text_position(text.pad, self.d_model), text.pad)


def _pyramid(tokens: Tokens) -> Pyramid:
    return Pyramid.of(tokens.pad, tokens.shapes)
