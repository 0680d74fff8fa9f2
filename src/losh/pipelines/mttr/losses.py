"""MTTR's losses for one stream, each as a SUM over pairs or frames: the criterion divides by its
counts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losh.model.mask_losses import (
    covered,
    dice_loss,
    focal_loss,
    matched_logits,
    matched_targets,
    resized,
    target_masks,
)
from losh.model.structures import Indices, LayerPred, Targets
from losh.params import LossParams

EMPTY_CELL = 0.2  # weight of a cell without the referred object, in `token_reference_loss`


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


def token_reference_loss(scores: Tensor, targets: list[Targets], stride: int) -> Tensor:
    """Cross-entropy of (referred, no object) over the encoder's visual cells (ours: a dense and
    early word on what the expression means).

    A cell's target is the part of it that the referred instance covers. Each frame takes the mean
    over its cells, in which those without the instance count `EMPTY_CELL` times as much as those it
    fills, and those of padding nothing.

    Args:
        scores: [B, K, h, w, 2] logits.
        stride: pixels of the network input that a cell spans.

    Returns:
        Scalar: the sum over clips and frames.
    """
    losses = []
    for says, target in zip(scores.log_softmax(-1), targets, strict=True):
        size = says.shape[1:3]
        inside = (
            covered(torch.ones_like(target.masks[:1, :1]), stride)
            if len(target.masks)
            else says.new_ones((1, 1, *size))
        )
        wanted = (
            covered(target.masks[target.referred], stride)
            if target.referred >= 0
            else says.new_zeros((len(says), *size))
        )
        # [K, h_i, w_i] -> [K, h, w]: smaller clips of the batch are padded.
        inside, wanted = (
            F.pad(x, (0, size[1] - x.shape[-1], 0, size[0] - x.shape[-2]))
            for x in (inside[0], wanted)
        )
        weight = inside * (EMPTY_CELL + (1 - EMPTY_CELL) * wanted)
        entropy = -(wanted * says[..., 0] + (1 - wanted) * says[..., 1])
        losses.append(((weight * entropy).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1e-6)).sum())
    return torch.stack(losses).sum()


def mttr_losses(
    pred: LayerPred,
    targets: list[Targets],
    indices: list[Indices],
    size: tuple[int, int],
    params: LossParams,
) -> dict[str, Tensor]:
    """The losses that have a weight, as sums: `reference` over frames, `focal` and `dice` over
    matched pairs.
    """
    sums = {}
    if params.reference:
        sums["reference"] = reference_loss(pred.scores, targets, indices, params.no_object)
    if params.focal or params.dice:
        logits, masks = (
            matched_logits(pred.masks, indices, size),
            matched_targets(targets, indices, size),
        )
        if params.focal:
            sums["focal"] = focal_loss(logits, masks)
        if params.dice:
            sums["dice"] = dice_loss(logits, masks)
    return sums


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
