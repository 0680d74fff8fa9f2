"""SgMg's spectrum-guided cross-modal fusion (its Low-Frequency Modulation).

The low frequencies of a feature map are enhanced before and after the words come in.

M frames, C channels, h w cells.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST = 3
"""Rows and columns that a map has at least: its edges are found without padding."""
SIGMA = 7.0
"""Width of the Gaussian in cells of the finest level; published."""


def gaussian(shape: tuple[int, int], device: torch.device) -> Tensor:
    """Make the Gaussian [1, 1, h, w], 1 at (h // 2, w // 2).

    That is the HIGHEST frequency of a spectrum that is not shifted.
    """
    rows, columns = (
        torch.arange(side, device=device, dtype=torch.float32) - side // 2 for side in shape
    )
    return torch.exp(-(rows[:, None] ** 2 + columns**2) / (2 * SIGMA**2))[None, None]


class LowFrequencyModulation(nn.Module):
    """x + F^-1(convolutions(F(x) * (1 - strength * Gaussian))).

    The strength is read off the map's edges.

    Everything is float32, whatever precision is around it: a spectrum's values grow with the number
    of cells, beyond half precision.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.laplace = nn.Conv2d(channels, channels, 3)
        self.strength = nn.Sequential(
            nn.Linear(channels, channels, bias=False),
            nn.ReLU(),
            nn.Linear(channels, 1, bias=False),
            nn.Sigmoid(),
        )
        self.mix = nn.Sequential(
            nn.Conv2d(2 * channels, 2 * channels, 1),
            nn.ReLU(),
            nn.Conv2d(2 * channels, 2 * channels, 1),
        )

    def forward(self, x: Tensor, damping: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Enhance a map.

        Args:
            x: [M, C, h, w], h and w at least 3.
            damping: the Gaussian [1, 1, h', w'] of the instance before, resized to this map; None:
                one is made.

        Returns:
            [M, C, h, w] and the Gaussian [1, 1, h, w], for the next instance.
        """
        shape = (x.shape[-2], x.shape[-1])
        if damping is None:
            damping = gaussian(shape, x.device)
        elif damping.shape[-2:] != x.shape[-2:]:
            damping = F.interpolate(damping, size=shape, mode="bilinear", align_corners=False)
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            strength = self.strength(self.laplace(x).mean((2, 3)))[..., None, None]  # [M, 1, 1, 1]
            spectrum = torch.fft.fft2(x) * (1 - strength * damping)
            mixed = self.mix(torch.cat([spectrum.real, spectrum.imag], 1))
            real, imaginary = mixed.chunk(2, 1)
            return x + torch.fft.ifft2(torch.complex(real, imaginary)).real, damping
