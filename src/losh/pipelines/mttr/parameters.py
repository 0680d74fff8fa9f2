"""MTTR's own section of params.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from losh.params import Fraction, NotNegative, PipelineParams, Section


class Losses(Section):
    """Weights of one stream's losses; 0 switches a loss off."""

    reference: NotNegative
    focal: NotNegative
    dice: NotNegative
    no_object: Fraction
    encoder_reference: NotNegative
    encoder_reference_streams: Literal["long", "both"] = "both"
    mask_stride: Literal[1, 2, 4]


class Parameters(PipelineParams):
    """Sizes of the network, and its losses."""

    kernel_dim: int = Field(ge=1, le=1024)
    losses: Losses
