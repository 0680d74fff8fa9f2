"""ReferFormer's own section of params.yaml."""

from __future__ import annotations

from pydantic import Field

from losh.params import DeformableParams, OneObjectLosses


class Parameters(DeformableParams):
    """Sizes of the network, and its losses."""

    mask_layers: int = Field(ge=2, le=8)
    mask_channels: int = Field(ge=1, le=256)
    losses: OneObjectLosses
