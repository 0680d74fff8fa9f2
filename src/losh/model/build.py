"""Build LoSh from the `model` section of params.yaml."""

from __future__ import annotations

from losh.backbones.weights import build_backbone
from losh.model.losh import LoSh
from losh.model.text_encoder import TextEncoder
from losh.params import ModelParams
from losh.pipelines.mttr.network import MTTR

PIPELINES = {"mttr": MTTR}
"""Base pipelines by their name in params.yaml."""


def build_model(params: ModelParams, text_encoder: TextEncoder | None = None) -> LoSh:
    """A model with fresh weights but for what backbone and text encoder load.

    Args:
        params: the `model` section.
        text_encoder: used as it is; None: the one that `params.text_encoder` names.

    Raises:
        UserError: weights that are named but cannot be found or do not fit.
    """
    encoder = TextEncoder(params.text_encoder) if text_encoder is None else text_encoder
    base = PIPELINES[params.base](params, build_backbone(params.backbone), encoder, encoder.width)
    return LoSh(base, params)
