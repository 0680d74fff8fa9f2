"""Masks in losses: matched pairs, sizes, and the losses that several pipelines share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losh.model.structures import Indices, Targets


def resized(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize mask logits [P, N, h, w] -> [P, N, H, W] to the network input's size.

    Bilinear (released behaviour).
    """
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


def target_masks(target: Targets, size: tuple[int, int]) -> Tensor:
    """Pad a clip's masks [n, K, H_i, W_i] with zeros -> float [n, K, H, W]."""
    height, width = target.masks.shape[-2:]
    return F.pad(target.masks.float(), (0, size[1] - width, 0, size[0] - height))


def matched_pairs(indices: list[Indices], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the expression and the query of each matched pair: long [P] twice; P may be 0."""
    rows = [torch.full_like(query, b) for b, (query, _) in enumerate(indices)]
    return torch.cat(rows).to(device), torch.cat([query for query, _ in indices]).to(device)


def matched_targets(
    targets: list[Targets], indices: list[Indices], size: tuple[int, int]
) -> Tensor:
    """Return the matched instances' masks in the order of `matched_pairs`, by frame [P, H, W]."""
    return torch.cat(
        [
            target_masks(t, size)[i.to(t.masks.device)].flatten(0, 1)
            for t, (_, i) in zip(targets, indices, strict=True)
        ]
    )


ALPHA, GAMMA = 0.25, 2.0


def covered(masks: Tensor, stride: int) -> Tensor:
    """Return the part of each cell of `stride` x `stride` px that a mask covers.

    [..., H, W] -> float [..., ceil(H / stride), ceil(W / stride)].

    What lies beyond the lower or right edge counts as not covered.
    """
    height, width = masks.shape[-2:]
    whole = F.pad(masks.float(), (0, -width % stride, 0, -height % stride))
    return F.avg_pool2d(whole.flatten(0, -3)[:, None], stride)[:, 0].unflatten(0, masks.shape[:-2])


def focal_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the sigmoid focal loss (arXiv 1708.02002), alpha 0.25, gamma 2.

    Mean over pixels, sum over pairs. Both [P, H, W] -> scalar.
    """
    probability = logits.sigmoid()
    right = probability * masks + (1 - probability) * (1 - masks)
    balance = ALPHA * masks + (1 - ALPHA) * (1 - masks)
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    return (balance * (1 - right) ** GAMMA * entropy).mean((1, 2)).sum()


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - (2 sum(p m) + 1) / (sum p + sum m + 1), summed over pairs. Both [P, H, W] -> scalar."""
    probability = logits.sigmoid()
    overlap = (probability * masks).sum((1, 2))
    return (1 - (2 * overlap + 1) / (probability.sum((1, 2)) + masks.sum((1, 2)) + 1)).sum()
