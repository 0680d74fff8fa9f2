"""Three losses that teach RAFT from nothing in little time.

scripts/train_raft.py says which is used when.

RAFT's own sequence loss (eq. 7) needs tens of thousands of steps. The other two are ours: one
teaches features to match, one teaches the update block to find the way back from a perturbed start,
each without the long detour through all refinement steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from losh.flow.raft import STRIDE, pad_images

if TYPE_CHECKING:
    from ptlflow.models.base_model.base_model import BaseModel

GAMMA = 0.8  # weight of a refinement step against the next (RAFT, eq. 7)
MOVING = 0.7  # px: a pixel that moves farther counts as moving


class SharedEncoder:
    """A feature encoder that sees each frame once.

    In a batch whose second half is the first half backwards, the second images are the first ones
    with the halves swapped.

    Put in the place of a network's `fnet.forward`; it keeps the last features for the matching
    loss.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor]) -> None:
        self.encode = encode

    def __call__(self, images: list[Tensor]) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W] -> features [B, C, H/8, W/8] of first and second images.

        `images` is a list of which the first entry is used.
        """
        features = self.encode(images[0])
        self.last = features, torch.cat(features.chunk(2)[::-1])
        return self.last


def emphasis(field: Tensor, moving: float) -> Tensor:
    """Return weights [B, 1, H, W] of mean 1 for a field [B, 2, H, W] in px.

    What moves counts 1 + `moving` times what does not.

    Most pixels of MovingShapes stand still: without it, saying zero is nearly right, and a fresh
    network learns just that.
    """
    weight = 1 + moving * (field.norm(dim=1, keepdim=True) > MOVING)
    return weight / weight.mean()


def sequence_loss(fields: list[Tensor], truth: Tensor, moving: float) -> Tensor:
    """Return RAFT's loss: the L1 distance of every refinement step's field from the truth.

    Fields are [B, 2, H, W]; later steps weigh more.
    """
    weight = emphasis(truth, moving)
    terms = [
        GAMMA ** (len(fields) - 1 - i) * (weight * (field - truth).abs()).mean()
        for i, field in enumerate(fields)
    ]
    return sum(terms, start=truth.new_zeros(()))


def matching_loss(features: Tensor, others: Tensor, truth: Tensor, moving: float) -> Tensor:
    """Return how badly the correlation of a cell's features points to where the cell goes.

    The correlation is that with all cells of the other frame.

    Cross-entropy against the exact place, split over the four nearest cells.

    Args:
        features, others: [B, C, h, w] of both frames, which padding of the images may have made
            larger than the field.
        truth: [B, 2, H, W] px.
        moving: see `emphasis`.
    """
    batch, channels, height, width = features.shape
    top, left = (
        (STRIDE * cells - side) // 2
        for cells, side in ((height, truth.shape[-2]), (width, truth.shape[-1]))
    )
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    # A cell's middle in the field.
    y, x = STRIDE * rows + STRIDE // 2 - top, STRIDE * columns + STRIDE // 2 - left
    known = (y >= 0) & (y < truth.shape[-2]) & (x >= 0) & (x < truth.shape[-1])
    # [B, 2, h, w]
    field = truth[:, :, y.clamp(0, truth.shape[-2] - 1), x.clamp(0, truth.shape[-1] - 1)]
    column, row = columns + field[:, 0] / STRIDE, rows + field[:, 1] / STRIDE
    known = known & (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)
    importance = known * emphasis(field, moving)[:, 0]
    logits = torch.einsum("bcp,bcq->bpq", features.flatten(2), others.flatten(2)) / channels**0.5
    likely = logits.log_softmax(-1).view(batch, height, width, height * width)
    loss = torch.zeros(())
    for down in (0, 1):
        for right in (0, 1):
            near_row, near_column = (
                place.floor().long() + step for place, step in ((row, down), (column, right))
            )
            share = (1 - (row - near_row).abs()).clamp(min=0) * (
                1 - (column - near_column).abs()
            ).clamp(min=0)
            cell = (near_row.clamp(0, height - 1) * width + near_column.clamp(0, width - 1))[
                ..., None
            ]
            loss = loss - (importance * share * likely.gather(-1, cell)[..., 0]).sum()
    return loss / importance.sum().clamp(min=1)


def residual_loss(
    network: BaseModel,
    encoder: SharedEncoder,
    first: Tensor,
    truth: Tensor,
    moving: float,
    iterations: int = 2,
) -> Tensor:
    """Return the update block's error at 1/8 size when it starts near the truth or at zero.

    Near the truth is at distances of all sizes. The features stay as they are.

    Args:
        network: RAFT-small; its `fnet.forward` is `encoder`.
        first: RGB in 0 to 1, [B, 3, H, W]; the second half of the batch is the other end of each
            pair.
        truth: [B, 2, H, W] px.
        moving: see `emphasis`.
        iterations: refinement steps.
    """
    from ptlflow.models.raft.corr import CorrBlock
    from ptlflow.models.raft.utils import coords_grid

    images = 2 * pad_images(first)[0] - 1
    with torch.no_grad():
        features, others = encoder([images])
        correlation = CorrBlock(
            features, others, num_levels=network.corr_levels, radius=network.corr_radius
        )
    hidden, context = torch.split(
        network.cnet(images), [network.hidden_dim, network.context_dim], dim=1
    )
    hidden, context = torch.tanh(hidden), torch.relu(context)
    batch, _, height, width = features.shape
    # The same alignment as in RAFT's own upsampling, which joins corners to corners.
    wanted = (
        functional.interpolate(
            pad_images(truth)[0], size=(height, width), mode="bilinear", align_corners=True
        )
        / STRIDE
    )
    origin = coords_grid(batch, height, width, dtype=images.dtype, device=images.device)
    spread = torch.tensor([0.15, 0.5, 1.2])[torch.randint(3, (batch, 1, 1, 1))]  # cells
    near = wanted + spread * torch.randn(batch, 2, 1, 1) + 0.3 * spread * torch.randn_like(wanted)
    place = origin + near * (torch.rand(batch, 1, 1, 1) > 0.4)
    weight = emphasis(STRIDE * wanted, moving)
    loss = torch.zeros(())
    for _ in range(iterations):
        place = place.detach()
        hidden, _, step = network.update_block(hidden, context, correlation(place), place - origin)
        place = place + step
        loss = loss + (weight * STRIDE * (place - origin - wanted).abs()).mean()
    return loss
