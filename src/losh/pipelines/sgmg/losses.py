"""What SgMg's training compares.

Patch masks by which queries are matched, and the refined masks of the matched ones.
"""

from __future__ import annotations

from torch import Tensor

from losh.model.mask_losses import matched_pairs
from losh.model.one_object import Grid, OneObject, matched_masks
from losh.model.structures import Indices, LayerPred, Targets
from losh.pipelines.sgmg.parameters import Losses

LOW, FULL = Grid(first=1, stride=2), Grid(first=0, stride=1)


class SgMgObjective(OneObject):
    """One object per expression, its mask compared twice.

    It is compared as refined, pixel by pixel, and as matched, at every second pixel (`focal_low`,
    `dice_low`).
    """

    def __init__(self, params: Losses) -> None:
        super().__init__(params, matched=LOW, final=FULL)

    def losses(
        self,
        pred: LayerPred,
        masks: Tensor,
        targets: list[Targets],
        indices: list[Indices],
        size: tuple[int, int],
    ) -> dict[str, Tensor]:
        """See Objective."""
        rows, queries = matched_pairs(indices, pred.scores.device)
        truth = LOW.of(matched_masks(targets, indices))
        low = self.mask_losses(pred.masks[rows, :, queries], truth, ("focal_low", "dice_low"))
        return super().losses(pred, masks, targets, indices, size) | low
