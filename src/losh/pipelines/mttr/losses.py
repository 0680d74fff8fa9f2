"""What MTTR's training compares: all instances of a clip, matched by reference score and dice."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from losh.model.encoder_reference import cell_reference_loss
from losh.model.mask_losses import (
    covered,
    dice_loss,
    focal_loss,
    matched_targets,
    resized,
    target_masks,
)
from losh.model.pipeline import Objective
from losh.model.structures import Indices, LayerPred, Targets
from losh.pipelines.mttr.parameters import Losses


def reference_loss(
    scores: Tensor, targets: list[Targets], indices: list[Indices], no_object: float
) -> Tensor:
    """Cross-entropy of (referred, no object) over all queries and frames (released behaviour).

    Positive is the query matched to the referred instance, in the frames where that is visible. In
    its other frames its target is "no object" but its weight stays 1, not `no_object`; odd, and
    kept for parity.

    Args:
        scores: [B, K, N, 2] logits.
        no_object: class weight of all other queries.

    Returns:
        Scalar: the sum over clips, frames and queries.
    """
    positive = torch.zeros(scores.shape[:3], dtype=torch.bool, device=scores.device)
    weight = torch.full(scores.shape[:3], no_object, device=scores.device)
    for b, (target, (query, instance)) in enumerate(zip(targets, indices, strict=True)):
        for chosen in query[instance == target.referred].tolist():  # one, or none
            positive[b, :, chosen] = target.visible.to(scores.device)
            weight[b, :, chosen] = 1.0
    log_p = scores.log_softmax(-1)
    return -(weight * torch.where(positive, log_p[..., 0], log_p[..., 1])).sum()


REFERENCE, DICE = 2.0, 5.0
"""Weights of the cost; released, and kept whatever the losses' weights are, since a loss may be
switched off.
"""


@torch.no_grad()
def mttr_cost(pred: LayerPred, targets: list[Targets], size: tuple[int, int]) -> list[Tensor]:
    """One stream's cost, 2 * reference + 5 * dice, means over the K frames -> [N, n] a clip.

    reference is minus the probability of what the query should say of the instance in a frame:
    "referred" where it is the referred one and visible, else "no object". dice is minus the dice
    coefficient.
    """
    probability = pred.scores.softmax(-1)
    costs = []
    for b, target in enumerate(targets):
        says = probability[b].permute(2, 0, 1)  # [K, N, 2] -> [2, K, N]
        masks = target_masks(target, size)
        cost = -REFERENCE * says[1].mean(0)[:, None].repeat(1, len(masks))  # [N, n]
        if 0 <= target.referred < len(masks):
            cost[:, target.referred] = -REFERENCE * torch.where(
                target.visible.to(says.device)[:, None], says[0], says[1]
            ).mean(0)
        sigma = resized(pred.masks[b], size).sigmoid()  # [K, N, H, W]
        overlap = torch.einsum("kqhw,jkhw->kqj", sigma, masks)
        area = sigma.sum((2, 3))[:, :, None] + masks.sum((2, 3)).T[:, None]  # [K, N, 1] + [K, 1, n]
        costs.append(cost - DICE * ((2 * overlap + 1) / (area + 1)).mean(0))
    return costs


class MTTRObjective(Objective):
    """Targets are all instances of the annotated frames; the referred one is told by its index."""

    divisors = {  # noqa: RUF012 - shared by all instances on purpose
        "reference": "frames",
        "focal": "masks",
        "dice": "masks",
        "encoder_reference": "frames",
    }

    def __init__(self, params: Losses) -> None:
        self.params = params
        named = ("reference", "focal", "dice", "encoder_reference")
        self.weights = {name: getattr(params, name) for name in named if getattr(params, name)}
        self.encoder_streams = 1 if params.encoder_reference_streams == "long" else 2

    def count(self, targets: list[Targets]) -> dict[str, float]:
        """See Objective.

        Returns:
            `masks`: instances times frames (`num_masks` of the released code); `frames`: annotated
            frames; `pairs`: as `masks`, which is the number of matched pairs unless a clip has more
            instances than there are queries.
        """
        masks = float(sum(t.masks.shape[0] * t.masks.shape[1] for t in targets))
        frames = float(sum(t.masks.shape[1] for t in targets))
        return {"masks": masks, "frames": frames, "pairs": masks}

    def prepare_targets(self, targets: list[Targets], size: tuple[int, int]) -> list[Targets]:
        """See Objective: masks on the grid of `mask_stride`.

        Expressions of one clip share theirs, before and after.
        """
        if self.params.mask_stride == 1:
            return targets
        pooled = {id(t.masks): covered(t.masks, self.params.mask_stride) for t in targets}
        return [replace(t, masks=pooled[id(t.masks)]) for t in targets]

    def comparison_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """See Objective."""
        height, width = (-(-side // self.params.mask_stride) for side in size)
        return height, width

    def match_cost(
        self, pred: LayerPred, targets: list[Targets], size: tuple[int, int]
    ) -> list[Tensor]:
        """See Objective."""
        return mttr_cost(pred, targets, self.comparison_size(size))

    def losses(
        self,
        pred: LayerPred,
        masks: Tensor,
        targets: list[Targets],
        indices: list[Indices],
        size: tuple[int, int],
    ) -> dict[str, Tensor]:
        """See Objective: `reference` is summed over frames, `focal` and `dice` over pairs."""
        sums = {}
        if self.params.reference:
            sums["reference"] = reference_loss(pred.scores, targets, indices, self.params.no_object)
        if self.params.focal or self.params.dice:
            grid = self.comparison_size(size)
            logits = resized(masks.flatten(0, 1)[:, None], grid)[:, 0]
            truth = matched_targets(targets, indices, grid)
            if self.params.focal:
                sums["focal"] = focal_loss(logits, truth)
            if self.params.dice:
                sums["dice"] = dice_loss(logits, truth)
        return sums

    def encoder_losses(
        self, kept: tuple[Tensor, ...], targets: list[Targets], strides: list[int]
    ) -> dict[str, Tensor]:
        """See Objective: the reference loss of the encoder's visual cells (ours).

        Of the long stream alone where `encoder_reference_streams` says so: a short text may fit
        several objects, and what it cannot tell is then no gradient.
        """
        if not self.params.encoder_reference:
            return {}
        return {
            "encoder_reference": cell_reference_loss(kept[0].log_softmax(-1), targets, strides[-1])
        }
