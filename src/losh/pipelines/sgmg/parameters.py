"""SgMg's own section of params.yaml."""

from __future__ import annotations

from pydantic import Field

from losh.params import DeformableParams, NotNegative, OneObjectLosses


class Losses(OneObjectLosses):
    """Weights of one stream's losses; `_low` ones are of the masks before the refinement."""

    focal_low: NotNegative
    dice_low: NotNegative


class Parameters(DeformableParams):
    """Sizes of the network, and its losses."""

    feature_levels: int = Field(ge=2, le=8)
    losses: Losses
