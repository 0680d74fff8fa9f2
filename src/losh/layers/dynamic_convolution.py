"""Masks by small convolutions whose weights each query brings along (CondInst, arXiv 2003.05664).

ReferFormer and SgMg use them.

M frames, N queries, C channels, h w cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

COORDINATES = 2  # how far a cell is from the query's object, to the right and down


def parameter_count(channels: int, widths: Sequence[int]) -> int:
    """Numbers that a query brings along for layers from `channels` features to these widths."""
    layers = list(pairwise([channels + COORDINATES, *widths]))
    return sum(a * b for a, b in layers) + sum(b for _, b in layers)


def dynamic_masks(
    features: Tensor, parameters: Tensor, widths: Sequence[int], offsets: Tensor
) -> Tensor:
    """Run each query's 1x1 convolutions, a ReLU between them, over its frame.

    Always float32: the offsets are too large for half precision.

    Args:
        features: [M, C, h, w].
        parameters: [M, N, P], all layers' weights (output channel by output channel), then all
            biases.
        widths: output channels of each layer.
        offsets: [M, N, 2, h, w] in pixels, of `cell_offsets`; they follow the features as two more
            input channels.

    Returns:
        [M, N, widths[-1], h, w].
    """
    channels = features.shape[1]
    with torch.autocast(features.device.type, enabled=False):
        features, parameters = features.float(), parameters.float()
        inputs = [channels + COORDINATES, *widths[:-1]]
        parts = parameters.split(
            [a * b for a, b in zip(inputs, widths, strict=True)] + [*widths], 2
        )
        weights = [
            part.unflatten(2, (b, a)) for part, a, b in zip(parts, inputs, widths, strict=False)
        ]
        biases = [bias[..., None, None] for bias in parts[len(widths) :]]
        # The features are the same for all queries of a frame: not copied N times for this.
        x = torch.einsum("mnoc,mchw->mnohw", weights[0][..., :channels], features)
        x = x + torch.einsum("mnoc,mnchw->mnohw", weights[0][..., channels:], offsets) + biases[0]
        for weight, bias in zip(weights[1:], biases[1:], strict=True):
            x = torch.einsum("mnoc,mnchw->mnohw", weight, F.relu(x)) + bias
    return x


def cell_offsets(references: Tensor, sizes: Tensor, shape: tuple[int, int], stride: int) -> Tensor:
    """From each cell's centre to each query's reference point, in pixels of the network input.

    Args:
        references: [M, N, 2], (x, y) in parts of the frame's unpadded width and height.
        sizes: [M, 2], that (height, width) in pixels.
        shape: (h, w) of the cells.
        stride: pixels that a cell spans.

    Returns:
        Float32 [M, N, 2, h, w], x first.
    """
    rows, columns = (
        stride * torch.arange(side, device=references.device, dtype=torch.float32) + stride // 2
        for side in shape
    )
    points = references.float() * sizes.flip(1)[:, None]  # [M, N, 2]
    x = points[..., 0, None, None] - columns
    y = points[..., 1, None, None] - rows[:, None]
    return torch.stack(torch.broadcast_tensors(x, y), 2)
