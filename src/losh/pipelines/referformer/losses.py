"""ReferFormer's matching cost and losses of one stream: one object a clip, one query for all of its
frames.

B clips, K frames, N queries, h w cells of stride 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from losh.model.mask_losses import dice_loss, focal_loss, matched_pairs
from losh.model.pipeline import Objective
from losh.model.structures import Indices, LayerPred, Targets
from losh.pipelines.referformer.parameters import Losses

ALPHA, GAMMA = 0.25, 2.0
EPSILON = 1e-8
# Weights of the matching cost; released, and kept whatever the losses' weights are.
REFERENCE, BOX, GIOU, FOCAL, DICE = 2.0, 5.0, 2.0, 2.0, 5.0
MASK_STRIDE = 4


def corners(boxes: Tensor) -> Tensor:
    """cxcywh -> x0 y0 x1 y1, [..., 4] both."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU (arXiv 1902.09630) of pairs of boxes, x0 y0 x1 y1, [..., 4] -> [...]; boxes
    without an area give finite values.
    """
    area_a, area_b = ((box[..., 2:] - box[..., :2]).clamp(min=0).prod(-1) for box in (a, b))
    inner = torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])
    outer = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    overlap, hull = inner.clamp(min=0).prod(-1), outer.clamp(min=0).prod(-1)
    union = (area_a + area_b - overlap).clamp(min=1e-12)
    hull = hull.clamp(min=1e-12)
    return overlap / union - (hull - union) / hull


def boxes_of(masks: Tensor) -> Tensor:
    """Boxes around masks, [K, H, W] bool -> [K, 4] cxcywh as parts of the size; zeros where a mask
    is empty.

    They go from the first to the last pixel's number, so are a pixel short (released behaviour).
    """
    height, width = masks.shape[-2:]
    ends = []
    for axis, side in ((1, width), (2, height)):
        used = masks.any(axis)  # [K, side]
        first = used.int().argmax(1)
        last = side - 1 - used.flip(1).int().argmax(1)
        ends.append((first / side, last / side))
    (x0, x1), (y0, y1) = ends
    boxes = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], -1)
    return boxes * masks.flatten(1).any(1, keepdim=True)


def sampled(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Every fourth pixel of masks from the second on, [K, H, W] -> float [K, h, w]; beyond the
    clip's border nothing.
    """
    h, w = size
    rows, columns = (side * MASK_STRIDE for side in size)
    height, width = masks.shape[-2:]
    whole = F.pad(masks.float(), (0, max(0, columns - width), 0, max(0, rows - height)))
    start = MASK_STRIDE // 2
    return whole[:, start::MASK_STRIDE, start::MASK_STRIDE][:, :h, :w]


def focal_terms(logits: Tensor, target: Tensor) -> Tensor:
    """Sigmoid focal loss (arXiv 1708.02002) of each element, alpha 0.25, gamma 2."""
    probability = logits.sigmoid()
    right = probability * target + (1 - probability) * (1 - target)
    balance = ALPHA * target + (1 - ALPHA) * (1 - target)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return balance * (1 - right) ** GAMMA * entropy


@dataclass(frozen=True)
class BoxTargets(Targets):
    """The one object that an expression refers to: n is 1, or 0 where there is none.

    `masks` are float [n, K, h, w] on the predictions' own grid, padding included.
    """

    boxes: Tensor
    """[n, K, 4] cxcywh as parts of the clip; zeros where the object is not visible."""


def referred_only(target: Targets, grid: tuple[int, int]) -> BoxTargets:
    """Keep the referred instance, with its boxes, and its masks on the grid of stride 4."""
    found = 0 <= target.referred < len(target.masks)
    masks = target.masks[target.referred :][:1] if found else target.masks[:0]
    visible = target.visible.to(masks.device)
    boxes = torch.stack([boxes_of(one) for one in masks]) if found else masks.new_zeros(
        (0, masks.shape[1], 4), dtype=torch.float32
    )
    return BoxTargets(
        masks=torch.stack([sampled(one, grid) for one in masks])
        if found
        else masks.new_zeros((0, masks.shape[1], *grid), dtype=torch.float32),
        referred=0 if found else -1,
        visible=visible,
        boxes=boxes * visible[:, None],
    )


@torch.no_grad()
def matching_cost(pred: LayerPred, targets: list[BoxTargets]) -> list[Tensor]:
    """One stream's cost of each query for the referred object -> [N, 1] per expression, or [N, 0].

    The class counts in the frames where the object is visible, boxes in all frames (mean), masks as
    one long mask of the clip.
    """
    costs = []
    for b, target in enumerate(targets):
        scores, masks = pred.scores[b, ..., 0], pred.masks[b]  # [K, N], [K, N, h, w]
        assert pred.boxes is not None
        boxes = pred.boxes[b].transpose(0, 1)  # [N, K, 4]
        if not len(target.masks):
            costs.append(scores.new_zeros((scores.shape[1], 0)))
            continue
        logits = masks.transpose(0, 1).flatten(1)  # [N, K * h * w]
        cost = (
            REFERENCE * _class_cost(scores, target.visible)
            + BOX * (boxes - target.boxes).abs().sum(-1).mean(1)
            - GIOU * giou(corners(boxes), corners(target.boxes)).mean(1)
            + FOCAL * focal_terms(logits, target.masks.flatten(1).expand_as(logits)).mean(1)
            - DICE * _dice(logits.sigmoid(), target.masks.flatten(1))
        )
        costs.append(cost[:, None])
    return costs


def _class_cost(scores: Tensor, visible: Tensor) -> Tensor:
    """How much dearer "referred" is than "not", by the focal loss: [K, N] -> [N]; 0 where the
    object is never visible.
    """
    p = scores[visible].sigmoid()  # [visible frames, N]
    positive = ALPHA * (1 - p) ** GAMMA * -(p + EPSILON).log()
    negative = (1 - ALPHA) * p**GAMMA * -(1 - p + EPSILON).log()
    return (positive - negative).sum(0) / max(1, len(p))


def _dice(probability: Tensor, masks: Tensor) -> Tensor:
    """Dice coefficients, [N, n] and [1, n] -> [N]."""
    overlap = (probability * masks).sum(1)
    return (2 * overlap + 1) / (probability.sum(1) + masks.sum(1) + 1)


def reference_loss(scores: Tensor, targets: list[BoxTargets], indices: list[Indices]) -> Tensor:
    """Focal loss of "this query is the referred object", [B, K, N, 1] -> the sum over all.

    Positive is the matched query in the frames where the object is visible.
    """
    positive = torch.zeros_like(scores)
    for b, (target, (query, _)) in enumerate(zip(targets, indices, strict=True)):
        for chosen in query.tolist():  # one, or none
            positive[b, :, chosen, 0] = target.visible.to(scores)
    return focal_terms(scores, positive).sum()


class ReferFormerObjective(Objective):
    """One target per expression; all losses are divided by the frames where it is visible."""

    def __init__(self, params: Losses) -> None:
        named = ("reference", "box", "giou", "focal", "dice")
        self.weights = {name: getattr(params, name) for name in named if getattr(params, name)}
        self.divisors = dict.fromkeys(named, "visible_frames")

    def count(self, targets: list[Targets]) -> dict[str, float]:
        """See Objective.

        Returns:
            `visible_frames`: frames in which the referred object is visible; `pairs`: annotated
            frames of the expressions that have one.
        """
        having = [t for t in targets if t.referred >= 0]
        return {
            "visible_frames": float(sum(int(t.visible.sum()) for t in having)),
            "pairs": float(sum(t.masks.shape[1] for t in having)),
        }

    def prepare_targets(self, targets: list[Targets], size: tuple[int, int]) -> list[Targets]:
        """See Objective: the referred instance alone, with boxes."""
        return [referred_only(target, self.comparison_size(size)) for target in targets]

    def comparison_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """See Objective: the size of the predictions."""
        height, width = (-(-side // MASK_STRIDE) for side in size)
        return height, width

    def match_cost(
        self, pred: LayerPred, targets: list[Targets], size: tuple[int, int]
    ) -> list[Tensor]:
        """See Objective."""
        return matching_cost(pred, targets)

    def losses(
        self,
        pred: LayerPred,
        masks: Tensor,
        targets: list[Targets],
        indices: list[Indices],
        size: tuple[int, int],
    ) -> dict[str, Tensor]:
        """See Objective: `box` and `giou` are sums over all frames, `focal` and `dice` over
        expressions, whose frames are one long mask.
        """
        rows, queries = matched_pairs(indices, pred.scores.device)
        assert pred.boxes is not None
        boxes = pred.boxes[rows, :, queries]  # [P, K, 4]
        wanted = torch.cat([target.boxes for target in targets])
        truth = torch.cat([target.masks for target in targets]).flatten(1, 2)
        long = masks.flatten(1, 2)  # [P, K, h, w] -> [P, K * h, w]
        compute = {
            "reference": lambda: reference_loss(pred.scores, targets, indices),
            "box": lambda: (boxes - wanted).abs().sum(),
            "giou": lambda: (1 - giou(corners(boxes), corners(wanted))).sum(),
            "focal": lambda: focal_loss(long, truth),
            "dice": lambda: dice_loss(long, truth),
        }
        return {name: compute[name]() for name in self.weights}
