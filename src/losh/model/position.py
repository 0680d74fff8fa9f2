"""Sine position code of the visual tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPSILON = 1e-6  # keeps a frame that is all padding from dividing by zero (released behaviour)


def sine_position(pad: Tensor, channels: int, temperature: float = 10000.0) -> Tensor:
    """2-D sine code over the unpadded extent, so that a clip is coded alike alone and padded in a batch (DETR; released behaviour).

    Args:
        pad: [M, h, w] bool, True = padding.
        channels: of the code, a multiple of 4; the first half codes rows, the second columns.

    Returns:
        [M, channels, h, w] float32; channel 2k of a half is a sine, 2k + 1 the cosine of the same wavelength.
    """
    inside = (~pad).float()
    rows, columns = inside.cumsum(1), inside.cumsum(2)
    rows = rows / (rows[:, -1:, :] + EPSILON) * (2 * math.pi)
    columns = columns / (columns[:, :, -1:] + EPSILON) * (2 * math.pi)
    half = channels // 2
    step = torch.arange(half, dtype=torch.float32, device=pad.device)
    wavelength = temperature ** (2 * (step // 2) / half)
    return torch.cat([_waves(rows, wavelength), _waves(columns, wavelength)], dim=1)


def _waves(place: Tensor, wavelength: Tensor) -> Tensor:
    """[M, h, w] -> [M, half, h, w], sines and cosines in turn."""
    angle = place[:, None] / wavelength[:, None, None]  # [M, h, w] -> [M, half, h, w]
    return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1, 2)
