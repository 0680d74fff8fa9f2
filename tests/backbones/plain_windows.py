"""Window attention as published, padding and all: what the form without padding has to equal."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losh.backbones.attention_windows import (
    MASKED,
    Size3,
    fit_window,
    relative_position_index,
    size3,
)
from losh.backbones.video_swin_blocks import WindowAttention


def cut_windows(x: Tensor, window: Size3) -> Tensor:
    """Cut a feature map into windows: [B, T, H, W, C] -> [B, G, N, C], both in row-major order."""
    B, T, H, W, C = x.shape
    t, h, w = window
    x = x.view(B, T // t, t, H // h, h, W // w, w, C)
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(B, -1, t * h * w, C)


def join_windows(x: Tensor, window: Size3, size: Size3) -> Tensor:
    """Return the inverse of `cut_windows`: [B, G, N, C] -> [B, *size, C]."""
    B, C = x.shape[0], x.shape[-1]
    grid = [cells // reach for cells, reach in zip(size, window, strict=True)]
    x = x.view(B, *grid, *window, C)
    return x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(B, *size, C)


def regions(size: Size3, window: Size3, shift: Size3) -> Tensor:
    """Region of each token of a shifted map in its windows: number the whole map, roll, cut.

    Places that the roll takes from the front to the back of the map are another region than all
    others.

    Args:
        size: padded to whole windows.

    Returns:
        [G, N].
    """
    region = torch.zeros(1, *size, 1)
    for axis, (length, step) in enumerate(zip(size, shift, strict=True)):
        wrapped = torch.arange(length) < step
        region += wrapped.view([-1 if a == axis + 1 else 1 for a in range(5)]) * 10.0**axis
    return cut_windows(region.roll([-step for step in shift], (1, 2, 3)), window)[0, :, :, 0]


def bias(attention: WindowAttention, tokens: int) -> Tensor:
    """Bias of a window of `tokens` tokens -> [h, N, N]: the full window's, cut to [:N, :N]."""
    index = relative_position_index(attention.window)[:tokens, :tokens]
    return attention.relative_position_bias_table.t()[:, index]


def plain_attention(attention: WindowAttention, x: Tensor) -> Tensor:
    """`attention` of x [B, T, H, W, C], computed as published."""
    size = size3(x.shape[1:4])
    window, shift = fit_window(size, attention.window, attention.shift)
    missing = [-cells % reach for cells, reach in zip(size, window, strict=True)]
    x = F.pad(x, (0, 0, 0, missing[2], 0, missing[1], 0, missing[0]))
    x = x.roll([-step for step in shift], (1, 2, 3))
    padded = size3(x.shape[1:4])
    x = cut_windows(x, window)
    B, G, N, C = x.shape
    qkv = attention.qkv(x).view(B, G, N, 3, attention.num_heads, -1).permute(3, 0, 1, 4, 2, 5)
    q, k, v = qkv  # [B, G, h, N, d]
    region = regions(padded, window, shift)
    apart = (region[:, :, None] != region[:, None]) * MASKED  # [G, N, N]
    logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias(attention, N)
    read = (logits + apart[:, None].to(logits.dtype)).softmax(-1) @ v
    x = join_windows(read.transpose(2, 3).reshape(B, G, N, C), window, padded).roll(
        shift, (1, 2, 3)
    )
    return attention.proj(x[:, : size[0], : size[1], : size[2]])
