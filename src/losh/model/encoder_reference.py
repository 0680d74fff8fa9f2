"""The reference loss of the encoder's visual cells, which every base pipeline may have (ours)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losh.model.mask_losses import covered
from losh.model.structures import Targets

EMPTY_CELL = 0.2  # weight of a cell without the referred object


def cell_reference_loss(says: Tensor, targets: list[Targets], stride: int) -> Tensor:
    """Cross-entropy of (referred, no object) over the encoder's visual cells.

    Ours: a dense and early word on what the expression means.

    A cell's target is the part of it that the referred instance covers. Each frame takes the mean
    over its cells, in which those without the instance count `EMPTY_CELL` times as much as those it
    fills, and those of padding nothing.

    Args:
        says: [B, K, h, w, 2] logarithms of the two probabilities.
        stride: pixels of the network input that a cell spans.

    Returns:
        Scalar: the sum over clips and frames.
    """
    losses = []
    for clip, target in zip(says, targets, strict=True):
        size = clip.shape[1:3]
        inside = (
            covered(torch.ones_like(target.masks[:1, :1]), stride)
            if len(target.masks)
            else clip.new_ones((1, 1, *size))
        )
        wanted = (
            covered(target.masks[target.referred], stride)
            if target.referred >= 0
            else clip.new_zeros((len(clip), *size))
        )
        # [K, h_i, w_i] -> [K, h, w]: smaller clips of the batch are padded.
        inside, wanted = (
            F.pad(x, (0, size[1] - x.shape[-1], 0, size[0] - x.shape[-2]))
            for x in (inside[0], wanted)
        )
        weight = inside * (EMPTY_CELL + (1 - EMPTY_CELL) * wanted)
        entropy = -(wanted * clip[..., 0] + (1 - wanted) * clip[..., 1])
        losses.append(((weight * entropy).sum((1, 2)) / weight.sum((1, 2)).clamp(min=1e-6)).sum())
    return torch.stack(losses).sum()
