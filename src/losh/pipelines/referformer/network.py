"""The ReferFormer base pipeline (arXiv 2201.00487): early text fusion, a deformable transformer,
queries made of the sentence, a mask network for each query.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from losh.layers.deformable import (
    DeformableDecoder,
    DeformableEncoder,
    DeformableEncoderLayer,
    Pyramid,
)
from losh.layers.projection import MLP, TextProjection, group_norm
from losh.layers.transformer import Attention, sine_position, text_position
from losh.model.pipeline import Hook, MaskRule, RVOSPipeline
from losh.model.structures import LayerPred, TextFeats, TextIds, Tokens, VideoFeats
from losh.pipelines.referformer.losses import ReferFormerObjective
from losh.pipelines.referformer.mask_rules import mask_rule
from losh.pipelines.referformer.masks import DynamicMasks, FeatureMap, PixelDecoder, Words
from losh.pipelines.referformer.parameters import Parameters

GROUPS = 32
PRIOR = 0.01  # the probability that a query is the referred object, at first


class InputProjections(nn.Module):
    """The backbone's levels from stride 8 on, and coarser ones made of its last, at one width.

    Args:
        channels: of the backbone's levels, finest first.
        levels: how many come out; those that the backbone lacks are halved by a 3x3 convolution:
            the first of them from the backbone's last level, further ones from the one before.
    """

    def __init__(self, channels: list[int], levels: int, width: int) -> None:
        super().__init__()
        self.given = min(levels, len(channels) - 1)
        inputs = channels[1 : 1 + self.given]
        extra = [channels[-1]] + [width] * (levels - self.given - 1)
        convs = [nn.Conv2d(c, width, 1) for c in inputs]
        convs += [
            nn.Conv2d(c, width, 3, stride=2, padding=1) for c in extra[: levels - self.given]
        ]
        self.levels = nn.ModuleList(
            nn.Sequential(conv, group_norm(GROUPS, width)) for conv in convs
        )
        for conv in convs:
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(conv.bias)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Backbone levels [M, Ci, Hi, Wi], finest first -> [M, C, hi, wi]."""
        found: list[Tensor] = []
        for i, project in enumerate(self.levels):
            if i < self.given:
                source = levels[1 + i]
            else:
                source = levels[-1] if i == self.given else found[-1]
            found.append(project(source))
        return found


class TextFusion(nn.Module):
    """Each visual token is multiplied by what it reads from the words; one module for all levels.

    No norm, no residual, no position on the visual side.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)

    def forward(self, x: Tensor, words: Words) -> Tensor:
        """x [B, n, C] -> [B, n, C]."""
        return x * self.attention(x, words.values + words.pos, words.values, words.pad)


class ReferFormer(RVOSPipeline):
    """ReferFormer with the sizes of `params`.

    Args:
        backbone: frames [B, T, 3, H, W] -> levels [B, T, Ci, Hi, Wi], the finest of stride 4, with
            attributes `channels` and `strides`.
        text_encoder: (ids [B, S], mask [B, S]) -> TextFeats with sentence vectors. None:
            `encode_text` takes features alone.
        text_width: width of the text encoder's features.
    """

    backbone_stages = 4
    uses_sentence = True
    min_side = 32  # below it a level would have no cell left for the frames' attention

    def __init__(
        self,
        params: Parameters,
        backbone: nn.Module,
        text_encoder: nn.Module | None,
        text_width: int,
    ) -> None:
        super().__init__(params)
        width, levels = params.d_model, params.feature_levels
        self.text_projection = TextProjection(text_width, width, params.dropout)
        self.input_projections = InputProjections(backbone.channels, levels, width)
        self.fusion = TextFusion(width, params.num_heads)
        self.level_embed = nn.Parameter(torch.randn(levels, width))
        self.encoder = DeformableEncoder(params.encoder_layers, **self._sizes())
        self.decoder = DeformableDecoder(params.decoder_layers, **self._sizes())
        self.queries = nn.Embedding(params.num_queries, width)
        self.reference_points = nn.Linear(width, 2)
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)
        self.class_heads = clones(class_head(width), params.decoder_layers)
        self.box_heads = clones(box_head(width), params.decoder_layers)
        # Small first boxes: the later heads only refine them.
        nn.init.constant_(self.box_heads[0].layers[-1].bias[2:], -2.0)
        given = self.input_projections.given
        self.pixel_decoder = PixelDecoder(
            [backbone.channels[0]] + [width] * given,
            backbone.strides[: 1 + given],
            width,
            params.num_heads,
            params.ffn_dim,
            params.dropout,
        )
        self.masks = DynamicMasks(width, params.mask_channels, params.mask_layers)
        self.controller = MLP(width, self.masks.num_parameters, 3)
        for layer in self.controller.layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.backbone = backbone
        self.text_encoder = text_encoder

    def encode_video(self, frames: Tensor, pad: Tensor) -> VideoFeats:
        """See RVOSPipeline. The backbone itself knows no padding (released behaviour)."""
        levels = self.backbone(frames)
        pads = [shrunk(pad, x.shape[-2:]) for x in levels]
        return VideoFeats(levels, pads, list(self.backbone.strides), pad)

    def encode_text(self, text: TextIds | TextFeats) -> TextFeats:
        """See RVOSPipeline: words and sentence go through one projection."""
        raw = self.text_encoder(text.ids, text.mask) if isinstance(text, TextIds) else text
        return TextFeats(
            self.text_projection(raw.words), raw.pad, self.text_projection(raw.sentence)
        )

    def fuse(self, video: VideoFeats, text: TextFeats) -> Tokens:
        """Every level's cells, multiplied by what they read from the words: M = B * K rows of
        S = sum of h * w tokens.
        """
        clips, frames = video.levels[0].shape[:2]
        words = self._words(text)
        xs: list[Tensor] = []
        positions: list[Tensor] = []
        pads: list[Tensor] = []
        shapes: list[tuple[int, int]] = []
        projected = self.input_projections([x.flatten(0, 1) for x in video.levels])
        for level, x in enumerate(projected):
            size = (x.shape[-2], x.shape[-1])
            flat = x.flatten(2).transpose(1, 2)  # [M, C, h, w] -> [M, hw, C]
            together = flat.unflatten(0, (clips, frames)).flatten(1, 2)  # [B, K * hw, C]
            fused = self.fusion(together, words).unflatten(1, (frames, -1)).flatten(0, 1)
            pad = shrunk(video.pad, size).flatten(0, 1)  # [M, h, w]
            position = sine_position(pad, self.d_model, offset=-0.5).flatten(2).transpose(1, 2)
            xs.append(fused)
            positions.append(position + self.level_embed[level])
            pads.append(pad.flatten(1))
            shapes.append(size)
        x = torch.cat(xs, 1)
        return Tokens(x, torch.cat(positions, 1), torch.cat(pads, 1), shapes, x.shape[1])

    def encode(self, tokens: Tokens, hook: Hook | None = None) -> Tensor:
        """See RVOSPipeline: each frame by itself."""
        pyramid = Pyramid.of(tokens.pad, tokens.shapes)
        inner = None if hook is None else lambda i, x: hook(i, x, tokens)
        return self.encoder(tokens.x, tokens.pos, pyramid, inner)

    def decode(
        self, memory: Tensor, tokens: Tokens, video: VideoFeats, text: TextFeats
    ) -> list[LayerPred]:
        """See RVOSPipeline. The content of every query is the sentence, its place is learned."""
        clips, frames = video.levels[0].shape[:2]
        pyramid = Pyramid.of(tokens.pad, tokens.shapes)
        place = self.queries.weight.expand(clips * frames, -1, -1)
        content = text.sentence.repeat_interleave(frames, 0)[:, None].expand_as(place)
        start = self.reference_points(place).float().sigmoid()
        layers = self.decoder(content, place, start, memory, pyramid, self.box_heads)
        features = self._mask_features(pyramid.split(memory), video, text)
        # [B, (h, w)] -> [M, 1, (w, h)] in pixels: boxes are parts of the clip without its padding.
        size = video.clip_sizes.flip(1).float().repeat_interleave(frames, 0)[:, None]
        preds = []
        for layer, class_head in zip(layers, self.class_heads, strict=True):
            with torch.autocast(memory.device.type, enabled=False):
                states = layer.states.float()
                scores = class_head(states)
                places = layer.boxes.detach()[..., :2] * size
                masks = self.masks(features, self.controller(states), places)
            preds.append(
                LayerPred(*(x.unflatten(0, (clips, frames)) for x in (scores, masks, layer.boxes)))
            )
        return preds

    def _mask_features(
        self, memory: list[Tensor], video: VideoFeats, text: TextFeats
    ) -> Tensor:
        """[M, C, h, w] of stride 4: the backbone's finest level under those of the memory that the
        backbone has, too.
        """
        clips = video.levels[0].shape[:2]
        given = self.input_projections.given
        maps = [video.levels[0], *(x.unflatten(0, clips) for x in memory[:given])]
        levels = []
        for x, pad in zip(maps, video.pads[: 1 + given], strict=True):
            position = sine_position(pad.flatten(0, 1), self.d_model, offset=-0.5)
            levels.append(FeatureMap(x, position.unflatten(0, clips), pad))
        return self.pixel_decoder(levels, self._words(text))

    def referred_prob(self, pred: LayerPred) -> Tensor:
        """See RVOSPipeline."""
        return pred.scores[..., 0].sigmoid()

    def objective(self) -> ReferFormerObjective:
        """See RVOSPipeline."""
        return ReferFormerObjective(self.params.losses)

    def mask_rule(self, protocol: str) -> MaskRule:
        """See RVOSPipeline."""
        return mask_rule(protocol)

    def new_encoder_layer(self) -> DeformableEncoderLayer:
        """See RVOSPipeline."""
        return DeformableEncoderLayer(**self._sizes())

    def run_encoder_layer(self, layer: nn.Module, x: Tensor, tokens: Tokens) -> Tensor:
        """See RVOSPipeline."""
        return layer(x, tokens.pos, Pyramid.of(tokens.pad, tokens.shapes))

    @staticmethod
    def image_multiple(training: bool) -> int:
        """See RVOSPipeline: released inference pads to the batch's largest clip alone."""
        return 32 if training else 1

    @staticmethod
    def folds_text(protocol: str, training: bool) -> bool:
        """See RVOSPipeline: released inference on the two video datasets gives sentences as they
        are.
        """
        return training or protocol == "a2d"

    def _sizes(self) -> dict[str, int | float]:
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


def class_head(width: int) -> nn.Linear:
    """One class, the referred object, unlikely at first."""
    head = nn.Linear(width, 1)
    nn.init.constant_(head.bias, -math.log((1 - PRIOR) / PRIOR))
    return head


def box_head(width: int) -> MLP:
    """The change of a reference's logits; at first none."""
    head = MLP(width, 4, 3)
    nn.init.zeros_(head.layers[-1].weight)
    nn.init.zeros_(head.layers[-1].bias)
    return head


def clones(module: nn.Module, count: int) -> nn.ModuleList:
    """Copies that start alike."""
    return nn.ModuleList(copy.deepcopy(module) for _ in range(count))


def shrunk(pad: Tensor, size: tuple[int, ...]) -> Tensor:
    """A padding mask [B, K, H, W] at a level's size, nearest (released behaviour)."""
    return F.interpolate(pad.float(), size=tuple(size), mode="nearest") > 0.5


Pipeline = ReferFormer
