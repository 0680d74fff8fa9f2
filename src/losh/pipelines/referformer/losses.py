"""What ReferFormer's training compares.

One object per expression, one query for all of its frames.
"""

from __future__ import annotations

from losh.model.one_object import Grid, OneObject
from losh.params import OneObjectLosses
from losh.pipelines.referformer.masks import MASK_STRIDE

CELLS = Grid(first=MASK_STRIDE // 2, stride=MASK_STRIDE)
"""Masks are compared at the predictions' size."""


class ReferFormerObjective(OneObject):
    """Queries are matched by the final masks."""

    def __init__(self, params: OneObjectLosses) -> None:
        super().__init__(params, matched=CELLS, final=CELLS)
