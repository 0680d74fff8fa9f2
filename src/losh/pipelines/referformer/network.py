"""The ReferFormer base pipeline (arXiv 2201.00487).

Early text fusion, a deformable transformer, queries made of the sentence, a mask network for each
query.
"""

from __future__ import annotations

from torch import Tensor

from losh.backbones.backbone import Backbone
from losh.layers.fusion import Words
from losh.layers.projection import TextProjection
from losh.layers.transformer import sine_position
from losh.model.deformable_pipeline import CENTRE, DeformablePipeline
from losh.model.pipeline import MaskRule
from losh.model.structures import TextFeats, TextIds, VideoFeats
from losh.model.text_encoder import TextEncoder
from losh.pipelines.referformer.losses import ReferFormerObjective
from losh.pipelines.referformer.mask_rules import mask_rule
from losh.pipelines.referformer.masks import MASK_STRIDE, FeatureMap, PixelDecoder
from losh.pipelines.referformer.parameters import Parameters


class ReferFormer(DeformablePipeline):
    """ReferFormer with the sizes of `params`; see DeformablePipeline for the arguments.

    Args:
        text_width: width of the text encoder's features.
    """

    params: Parameters
    mask_stride = MASK_STRIDE
    min_side = 32  # below it a level would have no cell left for the frames' attention

    def __init__(
        self,
        params: Parameters,
        backbone: Backbone,
        text_encoder: TextEncoder | None,
        text_width: int,
    ) -> None:
        mask_layers = (*(params.mask_channels,) * (params.mask_layers - 1), 1)
        super().__init__(params, backbone, text_encoder, mask_layers)
        width, given = params.d_model, self.input_projections.given
        self.text_projection = TextProjection(text_width, width, params.dropout)
        self.pixel_decoder = PixelDecoder(
            [backbone.channels[0]] + [width] * given,
            backbone.strides[: 1 + given],
            width,
            params.num_heads,
            params.ffn_dim,
            params.dropout,
        )

    def encode_text(self, text: TextIds | TextFeats) -> TextFeats:
        """See RVOSPipeline: words and sentence go through one projection."""
        raw = self.tokens_to_features(text) if isinstance(text, TextIds) else text
        return TextFeats(
            self.text_projection(raw.words), raw.pad, self.text_projection(raw.sentence)
        )

    def fused(self, maps: list[Tensor], words: Words) -> list[Tensor]:
        """See DeformablePipeline."""
        return [self.fusion(x, words) for x in maps]

    def mask_features(self, memory: list[Tensor], video: VideoFeats, words: Words) -> Tensor:
        """See DeformablePipeline: a pyramid of stride 4.

        The backbone's finest level lies under those of the memory.
        """
        clips = video.pad.shape[:2]
        maps = [video.levels[0], *(x.unflatten(0, clips) for x in memory)]
        levels = []
        for x, pad in zip(maps, video.pads[: len(maps)], strict=True):
            position = sine_position(pad.flatten(0, 1), self.d_model, CENTRE)
            levels.append(FeatureMap(x, position.unflatten(0, clips), pad))
        return self.pixel_decoder(levels, words)

    def objective(self) -> ReferFormerObjective:
        """See RVOSPipeline."""
        return ReferFormerObjective(self.params.losses)

    def mask_rule(self, protocol: str) -> MaskRule:
        """See RVOSPipeline."""
        return mask_rule(protocol)

    @staticmethod
    def image_multiple(training: bool) -> int:
        """See RVOSPipeline: released inference pads to the batch's largest clip alone."""
        return 32 if training else 1


Pipeline = ReferFormer
