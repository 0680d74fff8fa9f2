"""What the training of a pipeline that looks for one object per expression compares.

ReferFormer and SgMg do so. They compare the referred instance alone, matched by score, box and
mask, in all annotated frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from losh.layers.boxes import boxes_of_masks
from losh.layers.query_losses import box_costs, box_losses, class_cost, class_loss, mask_costs
from losh.model.encoder_reference import cell_reference_loss
from losh.model.mask_losses import dice_loss, focal_loss, matched_pairs, target_masks
from losh.model.pipeline import Objective
from losh.model.structures import Indices, LayerPred, Targets
from losh.params import OneObjectLosses

CLASS, BOX, GIOU, FOCAL, DICE = 2.0, 5.0, 2.0, 2.0, 5.0
"""Weights of the matching cost; published, and kept whatever the losses' weights are, since a loss
may be switched off."""


@dataclass(frozen=True)
class OneTarget(Targets):
    """The referred instance as the only one (n = 1), or none (n = 0).

    Masks are float and padded to the network input's size.
    """

    boxes: Tensor
    """[n, K, 4] cxcywh as parts of the clip without padding; zeros where it is not visible."""


@dataclass(frozen=True)
class Grid:
    """The pixels of the network input that masks are compared at.

    They are one of each square of `stride` x `stride`, the one in its row and column `first`.
    """

    first: int
    stride: int

    def of(self, masks: Tensor) -> Tensor:
        """Take them: [..., H, W] -> [..., h, w]; beyond the border is nothing."""
        height, width = masks.shape[-2:]
        whole = F.pad(masks, (0, -width % self.stride, 0, -height % self.stride))
        return whole[..., self.first :: self.stride, self.first :: self.stride]

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """How many rows and columns they are, for an input of `size`."""
        height, width = (-(-side // self.stride) for side in size)
        return height, width


class OneObject(Objective):
    """Losses `reference` (the score), `box` (L1), `giou`, `focal` and `dice`.

    Each is divided by the number of frames in which the object is visible. A mask is compared as
    one, over all its frames. `encoder_reference` (ours) is divided by the number of annotated
    frames.

    Args:
        params: weights of the losses; those of weight 0 are not computed.
        matched: where the masks of `LayerPred` lie, by which queries are matched.
        final: where the refined masks lie.
    """

    def __init__(self, params: OneObjectLosses, matched: Grid, final: Grid) -> None:
        weights = params.model_dump(exclude={"encoder_reference_streams"})
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.divisors = dict.fromkeys(self.weights, "visible_frames")
        self.divisors |= {"encoder_reference": "frames"}
        self.encoder_streams = 1 if params.encoder_reference_streams == "long" else 2
        self.matched, self.final = matched, final

    def count(self, targets: list[Targets]) -> dict[str, float]:
        """See Objective.

        Returns:
            `visible_frames`: frames in which the object is visible (`num_boxes` of the published
            code); `pairs`: the same frames, see `intersects`; `frames`: annotated frames.
        """
        visible = float(sum(int(t.visible.sum()) for t in targets if t.referred >= 0))
        frames = float(sum(len(t.visible) for t in targets))
        return {"visible_frames": visible, "pairs": visible, "frames": frames}

    def intersects(self, target: Targets) -> Tensor:
        """See Objective: where the object is visible (ours).

        Elsewhere both masks should be empty, and one pixel of the long one would count as if it
        lay outside of an object.
        """
        return target.visible

    def prepare_targets(self, targets: list[Targets], size: tuple[int, int]) -> list[Targets]:
        """See Objective: the referred instance's mask and box."""
        prepared: list[Targets] = []
        for target in targets:
            referred = (
                slice(target.referred, target.referred + 1) if target.referred >= 0 else slice(0, 0)
            )
            masks = target.masks[referred]
            visible = target.visible.to(masks.device)
            prepared.append(
                OneTarget(
                    masks=target_masks(Targets(masks, 0, target.visible), size),
                    referred=0 if len(masks) else -1,
                    visible=visible,
                    boxes=boxes_of_masks(masks) * visible[:, None],
                )
            )
        return prepared

    def comparison_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """See Objective: that of the masks by which queries are matched."""
        return self.matched.size(size)

    def match_cost(
        self, pred: LayerPred, targets: list[Targets], size: tuple[int, int]
    ) -> list[Tensor]:
        """See Objective: [N, 1], or [N, 0] where there is no object."""
        return [
            self._cost(pred.scores[b], boxes_of(pred)[b], pred.masks[b], target)
            for b, target in enumerate(own(targets))
        ]

    def _cost(self, scores: Tensor, boxes: Tensor, masks: Tensor, target: OneTarget) -> Tensor:
        if not len(target.masks):
            return scores.new_zeros(scores.shape[1], 0)
        distance, giou = box_costs(boxes, target.boxes[0])
        focal, dice = mask_costs(masks, self.matched.of(target.masks[0]))
        cost = CLASS * class_cost(scores, target.visible)
        return (cost + BOX * distance + GIOU * giou + FOCAL * focal + DICE * dice)[:, None]

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
        positive = torch.zeros(pred.scores.shape[:3], dtype=torch.bool, device=rows.device)
        visible = torch.stack([t.visible for t in targets])[rows]  # [P, K]
        positive[rows, :, queries] = visible
        wanted = torch.cat([t.boxes[i] for t, (_, i) in zip(own(targets), indices, strict=True)])
        distance, giou = box_losses(boxes_of(pred)[rows, :, queries], wanted)
        sums = {"reference": class_loss(pred.scores, positive), "box": distance, "giou": giou}
        truth = matched_masks(targets, indices)
        sums |= self.mask_losses(masks, self.final.of(truth), ("focal", "dice"))
        return {name: value for name, value in sums.items() if name in self.weights}

    def mask_losses(
        self, logits: Tensor, truth: Tensor, names: tuple[str, str]
    ) -> dict[str, Tensor]:
        """Compute the focal and dice loss over each pair's whole clip, as sums over pairs.

        They come under these names. `logits` and `truth` are [P, K, h, w].
        """
        flat = [x.flatten(1, 2) for x in (logits, truth)]  # [P, K * h, w]
        losses = {name: loss for name, loss in zip(names, (focal_loss, dice_loss), strict=True)}
        return {name: loss(*flat) for name, loss in losses.items() if name in self.weights}

    def encoder_losses(
        self, kept: tuple[Tensor, ...], targets: list[Targets], strides: list[int]
    ) -> dict[str, Tensor]:
        """See Objective: the mean over the levels that the encoder kept, finest first (ours)."""
        if "encoder_reference" not in self.weights:
            return {}
        read = strides[1 : 1 + len(kept)]  # the encoder begins with the backbone's second level
        losses = [
            cell_reference_loss(torch.stack([F.logsigmoid(x), F.logsigmoid(-x)], -1), targets, s)
            for x, s in zip(kept, read, strict=True)
        ]
        return {"encoder_reference": torch.stack(losses).mean()}


def own(targets: list[Targets]) -> list[OneTarget]:
    """Take prepared targets for what `prepare_targets` made them."""
    return cast(list[OneTarget], targets)


def boxes_of(pred: LayerPred) -> Tensor:
    """Return the boxes of a prediction, [B, K, N, 4]; ValueError where it has none."""
    if pred.boxes is None:
        raise ValueError("an objective with boxes needs predictions with boxes")
    return pred.boxes


def matched_masks(targets: list[Targets], indices: list[Indices]) -> Tensor:
    """Masks of the matched pairs: float [P, K, H, W]."""
    return torch.cat(
        [t.masks[i.to(t.masks.device)] for t, (_, i) in zip(targets, indices, strict=True)]
    )
