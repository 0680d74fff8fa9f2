"""Build LoSh from the `model` section of params.yaml and the base pipeline's own."""

from __future__ import annotations

from losh.backbones.weights import build_backbone
from losh.layers.linear import with_fast_linears
from losh.model.losh import LoSh
from losh.model.text_encoder import TextEncoder
from losh.params import ModelParams, PipelineParams
from losh.pipelines import pipeline_class


def build_model(
    params: ModelParams, pipeline: PipelineParams, text_encoder: TextEncoder | None = None
) -> LoSh:
    """Build a model with fresh weights but for what backbone and text encoder load.

    Args:
        params: the `model` section.
        pipeline: the section of the base pipeline that `params.base` names.
        text_encoder: used as it is; None: the one that `params.text_encoder` names.

    Raises:
        UserError: weights that are named but cannot be found or do not fit.
    """
    kind = pipeline_class(params.base)
    encoder = text_encoder
    if encoder is None:
        encoder = TextEncoder(params.text_encoder, pooled=kind.uses_sentence)
    backbone = build_backbone(params.backbone, pipeline.backbone_stages)
    base = kind(pipeline, backbone, encoder, encoder.width)
    model = LoSh(base, params)
    with_fast_linears(model)
    return model
