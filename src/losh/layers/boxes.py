"""Boxes as (centre x, centre y, width, height) in parts of the clip's own width and height."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_convert, generalized_box_iou_loss, masks_to_boxes


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

    The two broadcast. The distance is in 0 to 2, and finite for boxes without an area.
    """
    first, second = torch.broadcast_tensors(corners(boxes), corners(others))
    return generalized_box_iou_loss(first, second, reduction="none")
