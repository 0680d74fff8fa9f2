"""Boxes as (centre x, centre y, width, height) in parts of the clip's own width and height."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_convert, masks_to_boxes

EPSILON = 1e-7  # keeps boxes without an area from dividing by zero (torchvision's)


def corners(boxes: Tensor) -> Tensor:
    """(centre x, centre y, width, height) [..., 4] -> (left, top, right, bottom) [..., 4]."""
    return box_convert(boxes, "cxcywh", "xyxy")


def boxes_of_masks(masks: Tensor) -> Tensor:
    """Return the box round each mask.

    A box reaches from the INDEX of its first pixel to that of its last, so that it is one pixel
    narrower and lower than what it encloses, and one pixel alone has no area (ReferFormer and
    SgMg).

    Args:
        masks: [..., H, W] bool; a mask may be empty.

    Returns:
        Float32 [..., 4], cxcywh in parts of W and H; zeros for an empty mask.
    """
    height, width = masks.shape[-2:]
    found = masks_to_boxes(masks.reshape(-1, height, width))
    scale = found.new_tensor([width, height, width, height])
    return box_convert(found / scale, "xyxy", "cxcywh").view(*masks.shape[:-2], 4)


def box_distance(boxes: Tensor, others: Tensor) -> Tensor:
    """L1 distance of boxes, [..., 4] and [..., 4] (they broadcast) -> [...]."""
    return (boxes - others).abs().sum(-1)


def giou_distance(boxes: Tensor, others: Tensor) -> Tensor:
    """Compute 1 - generalized IoU (arXiv 1902.09630): cxcywh [..., 4] and [..., 4] -> [...].

    The two broadcast. The distance is in 0 to 2, and finite for boxes without an area. (torchvision
    picks the boxes that overlap by a mask, for which a GPU would wait: `generalized_box_iou_loss`.)
    """
    (start, end), (other_start, other_end) = (corners(x).split(2, -1) for x in (boxes, others))
    overlap = area((torch.min(end, other_end) - torch.max(start, other_start)).clamp(min=0))
    union = area(boxes[..., 2:]) + area(others[..., 2:]) - overlap
    hull = area(torch.max(end, other_end) - torch.min(start, other_start))
    return 1 - overlap / (union + EPSILON) + (hull - union) / (hull + EPSILON)


def area(sizes: Tensor) -> Tensor:
    """Width times height, [..., 2] -> [...]. (The gradient of `prod` has a GPU wait as well.)"""
    return sizes[..., 0] * sizes[..., 1]
