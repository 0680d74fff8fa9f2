"""The SgMg base pipeline (arXiv 2307.13537).

ReferFormer's encoder and decoder, with the words brought in under spectral guidance, and masks that
are refined after a query was chosen.
"""

from __future__ import annotations

from torch import Tensor, nn

from losh.backbones.backbone import Backbone
from losh.layers.fusion import Words
from losh.layers.projection import TextProjection
from losh.model.deformable_pipeline import DeformablePipeline
from losh.model.structures import LayerPred, TextFeats, TextIds, VideoFeats
from losh.model.text_encoder import TextEncoder
from losh.pipelines.sgmg.losses import SgMgObjective
from losh.pipelines.sgmg.masks import (
    PATCH_CHANNELS,
    MaskRefiner,
    SgMgMaskRule,
    masks_of,
    patches_of,
    summed,
)
from losh.pipelines.sgmg.parameters import Parameters
from losh.pipelines.sgmg.spectrum import SMALLEST, LowFrequencyModulation


class SgMg(DeformablePipeline):
    """SgMg with the sizes of `params`; see RVOSPipeline for the arguments."""

    params: Parameters
    mask_stride = 8

    def __init__(
        self,
        params: Parameters,
        backbone: Backbone,
        text_encoder: TextEncoder | None,
        text_width: int,
    ) -> None:
        width = params.d_model
        super().__init__(params, backbone, text_encoder, (PATCH_CHANNELS, PATCH_CHANNELS))
        self.before_words, self.after_words = (
            nn.ModuleList(LowFrequencyModulation(width) for _ in range(params.feature_levels))
            for _ in range(2)
        )
        self.word_projection = TextProjection(text_width, width, params.dropout)
        self.sentence_projection = TextProjection(text_width, width, params.dropout)
        self.refiner = MaskRefiner(backbone.channels[:2])
        coarsest = backbone.strides[0] * 2**params.feature_levels
        self.min_side = (SMALLEST - 1) * coarsest + 1  # more than one cell less would hold

    @staticmethod
    def image_multiple(training: bool) -> int:
        """See RVOSPipeline (released behaviour)."""
        return 32 if training else 16

    def encode_text(self, text: TextIds | TextFeats) -> TextFeats:
        """See RVOSPipeline: words and the pooled sentence, each by a projection of its own."""
        raw = self.tokens_to_features(text) if isinstance(text, TextIds) else text
        return TextFeats(
            self.word_projection(raw.words), raw.pad, self.sentence_projection(raw.sentence)
        )

    def fused(self, maps: list[Tensor], words: Words) -> list[Tensor]:
        """See DeformablePipeline.

        One Gaussian, made for the finest map, goes through all modulations.
        """
        found, damping = [], None
        for x, before, after in zip(maps, self.before_words, self.after_words, strict=True):
            x, damping = before(x, damping)
            x, damping = after(self.fusion(x, words), damping)
            found.append(x)
        return found

    def mask_features(self, memory: list[Tensor], video: VideoFeats, words: Words) -> Tensor:
        """See DeformablePipeline: the sum of the maps."""
        return summed(memory)

    def refine(self, pred: LayerPred, rows: Tensor, queries: Tensor, video: VideoFeats) -> Tensor:
        """See RVOSPipeline: from stride 2 to the input's own size."""
        masks = pred.masks[rows, :, queries]  # [P, K, h, w]
        fine, coarse = (level[rows].flatten(0, 1) for level in video.levels[:2])
        refined = self.refiner(patches_of(masks.flatten(0, 1)), fine, coarse)
        return masks_of(refined).unflatten(0, masks.shape[:2]).float()

    def objective(self) -> SgMgObjective:
        """See RVOSPipeline."""
        return SgMgObjective(self.params.losses)

    def mask_rule(self, protocol: str) -> SgMgMaskRule:
        """See RVOSPipeline; one rule for all protocols."""
        return SgMgMaskRule()


Pipeline = SgMg
