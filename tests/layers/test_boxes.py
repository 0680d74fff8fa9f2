"""Boxes: conversions, boxes of masks, L1 and generalized IoU against numbers done by hand."""

from __future__ import annotations

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torchvision.ops import generalized_box_iou, generalized_box_iou_loss

from losh.layers.boxes import box_distance, boxes_of_masks, corners, giou_distance


def test_corners_of_a_box() -> None:
    assert corners(torch.tensor([0.5, 0.4, 0.2, 0.6])).tolist() == pytest.approx(
        [0.4, 0.1, 0.6, 0.7]
    )


def test_a_box_reaches_from_the_first_to_the_last_pixels_index() -> None:
    masks = torch.zeros(2, 3, 160, 192, dtype=torch.bool)
    masks[0, 1, 20:100, 32:112] = True  # rows 20 to 99, columns 32 to 111
    masks[1, 2, 159, 191] = True
    boxes = boxes_of_masks(masks)
    assert boxes.shape == (2, 3, 4)
    assert boxes[0, 1].tolist() == pytest.approx([71.5 / 192, 59.5 / 160, 79 / 192, 79 / 160])
    assert boxes[1, 2].tolist() == pytest.approx([191 / 192, 159 / 160, 0, 0])


def test_a_box_encloses_all_parts_of_a_mask() -> None:
    mask = torch.zeros(10, 20, dtype=torch.bool)
    mask[1, 12] = mask[7, 3] = mask[4, 4] = True
    assert corners(boxes_of_masks(mask)).tolist() == pytest.approx([3 / 20, 0.1, 12 / 20, 0.7])


def test_box_of_a_rectangle_by_hand() -> None:
    mask = torch.zeros(8, 10, dtype=torch.bool)
    mask[2:6, 1:9] = True  # rows 2 to 5, columns 1 to 8
    assert boxes_of_masks(mask).tolist() == pytest.approx([4.5 / 10, 3.5 / 8, 7 / 10, 3 / 8])


def test_an_empty_mask_has_a_box_of_zeros() -> None:
    assert boxes_of_masks(torch.zeros(2, 5, 6, dtype=torch.bool)).tolist() == [[0.0] * 4] * 2
    assert boxes_of_masks(torch.zeros(0, 3, 5, 6, dtype=torch.bool)).shape == (0, 3, 4)


def test_distance_is_the_sum_of_four_differences() -> None:
    queries = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.1, 0.2, 0.3, 0.4]])
    assert box_distance(queries, torch.tensor([0.5, 0.4, 0.3, 0.2])).tolist() == pytest.approx(
        [0.2, 0.8]
    )


def test_giou_of_boxes_apart_and_one_in_the_other() -> None:
    left, right = torch.tensor([0.1, 0.5, 0.2, 1.0]), torch.tensor([0.9, 0.5, 0.2, 1.0])
    # No overlap; the box round both is 1 and they fill 0.4 of it: GIoU = 0 - 0.6.
    assert float(giou_distance(left, right)) == pytest.approx(1.6)
    whole, half = torch.tensor([0.5, 0.5, 1.0, 1.0]), torch.tensor([0.25, 0.5, 0.5, 1.0])
    assert float(giou_distance(whole, half)) == pytest.approx(0.5)
    assert float(giou_distance(half, half)) == pytest.approx(0, abs=1e-6)


def test_giou_of_overlapping_and_of_distant_boxes() -> None:
    a = torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.1, 0.1, 0.2, 0.2]])
    b = torch.tensor([[0.5, 0.5, 0.5, 1.0], [0.9, 0.9, 0.2, 0.2]])
    # Overlap 0.25 of 0.75, and the hull is the union; no overlap of 0.04 each in a hull of 1.
    assert (1 - giou_distance(a, b)).tolist() == pytest.approx([1 / 3, -(1 - 0.08)], abs=1e-5)


def test_giou_is_torchvisions_for_every_pair() -> None:
    boxes = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    others = torch.rand(3, 4, generator=torch.Generator().manual_seed(1)) + 0.1
    expected = 1 - generalized_box_iou(corners(boxes), corners(others))
    torch.testing.assert_close(giou_distance(boxes[:, None], others[None]), expected)


def test_giou_has_torchvisions_gradient() -> None:
    """Of boxes that overlap, apart, one in the other, edge to edge, and without an area."""
    boxes, others = (
        torch.rand(50, 4, generator=torch.Generator().manual_seed(seed)) + 0.1 for seed in (0, 1)
    )
    boxes = torch.cat([boxes, torch.tensor([[0.25, 0.5, 0.5, 1.0], [0.5, 0.5, 0.4, 0.2]])])
    others = torch.cat([others, torch.tensor([[0.75, 0.5, 0.5, 0.5], [0.5, 0.5, 0.0, 0.0]])])
    assert (giou_distance(boxes, others) > 1).any() and (giou_distance(boxes, others) < 1).any()
    boxes.requires_grad_(), others.requires_grad_()
    theirs = generalized_box_iou_loss(corners(boxes), corners(others), reduction="none")
    each = [
        torch.autograd.grad(x.sum(), (boxes, others))
        for x in (giou_distance(boxes, others), theirs)
    ]
    for ours, expected in zip(*each, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_no_number_is_read_for_which_a_gpu_would_wait() -> None:
    """By the profiler: under fake tensors PyTorch computes some gradients another way."""
    boxes = torch.rand(5, 4, requires_grad=True)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        giou_distance(boxes, torch.rand(5, 4)).sum().backward()
    ran = {event.key for event in seen.key_averages()}
    assert "aten::mul" in ran and not ran & {"aten::_local_scalar_dense", "aten::nonzero"}


def test_giou_is_finite_and_has_a_gradient_where_no_box_has_an_area() -> None:
    empty = torch.zeros(4, requires_grad=True)
    distance = giou_distance(empty, torch.zeros(4))
    distance.backward()
    assert bool(distance.isfinite()) and bool(empty.grad.isfinite().all())
    absent = torch.tensor([0.5, 0.5, 0.2, 0.2], requires_grad=True)
    giou_distance(absent, torch.zeros(4)).backward()  # the target of a frame without the object
    assert bool(absent.grad.isfinite().all())
