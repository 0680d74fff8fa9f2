"""What ReferFormer and SgMg pay for one query, when one object a clip is looked for.

Losses of scores, boxes and masks, and the costs by which the query is matched.

Losses are SUMS, costs are means over frames. K annotated frames, N queries, h w cells.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from losh.layers.boxes import box_distance, giou_distance

ALPHA, GAMMA = 0.25, 2.0
"""Of every focal loss (arXiv 1708.02002); published."""
EPSILON = 1e-8


def class_loss(scores: Tensor, positive: Tensor) -> Tensor:
    """Compute the focal loss of every query's score, summed over all of them.

    scores [..., 1] logits and positive [...] bool -> scalar.
    """
    wanted = positive[..., None].to(scores.dtype)
    return sigmoid_focal_loss(scores, wanted, ALPHA, GAMMA, reduction="sum")


def box_losses(boxes: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """L1 and 1 - GIoU of pairs of boxes, cxcywh [..., 4], summed over all pairs -> two scalars.

    A frame without the object has zeros to reach (released behaviour).
    """
    return box_distance(boxes, wanted).sum(), giou_distance(boxes, wanted).sum()


def class_cost(scores: Tensor, visible: Tensor) -> Tensor:
    """Compute how much cheaper it is to call a query the object than not.

    scores [K, N, 1] logits, visible [K] bool -> [N]: the mean over the frames in which the object
    is visible; zeros where it is visible in none.
    """
    probability = scores[..., 0].sigmoid()
    yes = ALPHA * (1 - probability) ** GAMMA * -(probability + EPSILON).log()
    no = (1 - ALPHA) * probability**GAMMA * -(1 - probability + EPSILON).log()
    return ((yes - no) * visible[:, None]).sum(0) / visible.sum().clamp(min=1)


def box_costs(boxes: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Compute L1 and minus GIoU, means over all frames.

    boxes [K, N, 4] and wanted [K, 4] cxcywh -> two of [N].
    """
    wanted = wanted[:, None]
    return box_distance(boxes, wanted).mean(0), giou_distance(boxes, wanted).mean(0) - 1


def mask_costs(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the focal loss and minus the dice coefficient over the whole clip.

    logits [K, N, h, w], mask [K, h, w] float -> two of [N].
    """
    logits = logits.transpose(0, 1).flatten(1)  # [K, N, h, w] -> [N, K * h * w]
    mask = mask.flatten()[None]
    wanted = mask.expand_as(logits)
    focal = sigmoid_focal_loss(logits, wanted, ALPHA, GAMMA, reduction="none").mean(1)
    probability = logits.sigmoid()
    overlap = torch.einsum("np,p->n", probability, mask[0])
    return focal, -(2 * overlap + 1) / (probability.sum(1) + mask.sum() + 1)
