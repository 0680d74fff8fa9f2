"""Dropout that is faster on a CPU.

PyTorch draws a CPU's dropout one number after the other: a twentieth of a training step of
ReferFormer or SgMg of published size. NumPy's SFC64 gives 64 random bits at a time, of which each
number takes 16.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 2**16
"""A probability is rounded to a multiple of 1 / LEVELS."""
FEW = 2**14
"""Numbers below which PyTorch's own is as fast."""


class Dropout(nn.Dropout):
    """nn.Dropout by `dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        """[...] -> [...]."""
        return dropout(input, self.p, self.training)


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """Put zeros in the place of random numbers, and scale the others by 1 / (1 - p).

    Another draw than PyTorch's where it is ours, and the same again from the same state of its
    generator.

    Args:
        x: float, any shape.
        p: probability of a zero.
        training: False: x as it is.
    """
    if (
        training
        and 1 / LEVELS <= p <= 1 - 1 / LEVELS
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.numel() >= FEW
        and not torch.compiler.is_compiling()
    ):
        return x * factors(x.shape, p)
    return F.dropout(x, p, training)


def factors(shape: torch.Size, p: float) -> Tensor:
    """Draw what dropout multiplies by: 0 or 1 / (1 - p), float32."""
    seed, count, zeros = int(torch.randint(2**63 - 1, ())), shape.numel(), round(p * LEVELS)
    bits = np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.int16)[:count]
    kept = torch.from_numpy(bits).view(shape) >= zeros - LEVELS // 2
    return kept.float().mul_(LEVELS / (LEVELS - zeros))
