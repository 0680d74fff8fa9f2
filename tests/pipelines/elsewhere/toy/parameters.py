"""The toy pipeline's own section of params.yaml."""

from __future__ import annotations

from losh.params import NotNegative, PipelineParams, Section


class Losses(Section):
    """Weights of one stream's losses."""

    score: NotNegative
    box: NotNegative
    dice: NotNegative


class Parameters(PipelineParams):
    """Sizes of the network, and its losses."""

    losses: Losses
