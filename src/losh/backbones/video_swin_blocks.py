"""The parts of Video-Swin: patches, windows, attention, block, merging.

Source: Liu et al., CVPR 2022, arXiv 2106.13230.

Shapes: B clips, T frames, H W feature cells, C channels, N places of a window, h attention heads, F
frames of all clips that are there, A frames of all clips that are asked for. Features inside are
channels-last, [B, T, H, W, C], or where not all frames are there [1, F, H, W, C], clip by clip.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import stochastic_depth

from losh.backbones.attention_windows import (
    Asked,
    Reordered,
    Size3,
    attention_biases,
    cached_window_plan,
    clips_of,
    displacements,
    fit_window,
    rows_among,
    size3,
)
from losh.backbones.biased_attention import window_attention
from losh.layers.linear import linear

PATCH = 4
NORM_EPS = 1e-5


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a learned bias for each relative position."""

    def __init__(
        self, channels: int, num_heads: int, window: Size3, shift: Size3, qkv_bias: bool = True
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.shift = shift
        table = torch.empty(displacements(window), num_heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor, asked: Asked | None = None) -> Tensor:
        """[B, T, H, W, C] -> the same shape; with `asked` [1, F, H, W, C] -> [1, A, H, W, C]."""
        clips, size = len(x), size3(x.shape[1:4])
        if asked is not None:
            clips, size = len(asked.asked), (asked.length, *size[1:])
        window, shift = fit_window(size, self.window, self.shift)
        plan = cached_window_plan(clips, size, window, shift, self.window, x.device, asked)
        biases = attention_biases(self.relative_position_bias_table, plan.kinds)
        # A padded token is zeros after the norm and is attended to like any token, for so was the
        # published network trained.
        tokens = Reordered.apply(x.flatten(0, 3), plan.order, plan.inverse, plan.empty)
        read = window_attention(self.qkv(tokens), biases, plan)
        read = Reordered.apply(read, plan.answers_inverse, plan.answers, None)
        return self.proj(read).view(len(x), -1, *x.shape[2:])


class Mlp(nn.Module):
    """Two linear layers with the exact (erf) GELU between them."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., C]."""
        return self.fc2(linear(x, self.fc1.weight, self.fc1.bias, "gelu"))


class SwinBlock(nn.Module):
    """Pre-norm window attention and MLP, each with a residual and stochastic depth.

    Stochastic depth drops a clip's branch as a whole.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        window: Size3,
        shift: Size3,
        drop_path: float,
        mlp_ratio: float,
        qkv_bias: bool,
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = nn.LayerNorm(channels, eps=NORM_EPS)
        self.attn = WindowAttention(channels, num_heads, window, shift, qkv_bias)
        self.norm2 = nn.LayerNorm(channels, eps=NORM_EPS)
        self.mlp = Mlp(channels, int(channels * mlp_ratio))

    def forward(self, x: Tensor, asked: Asked | None = None) -> Tensor:
        """[B, T, H, W, C] -> the same shape; with `asked` [1, F, H, W, C] -> [1, A, H, W, C]."""
        read = self.attn(self.norm1(x), asked)
        if asked is not None:
            x = x.index_select(1, rows_among(asked.there, asked.asked, x.device))
        x = x + self.drop(read, asked)
        return x + self.drop(self.mlp(self.norm2(x)), asked)

    def drop(self, branch: Tensor, asked: Asked | None = None) -> Tensor:
        """Stochastic depth, in training only."""
        if not self.drop_path:
            return branch
        if asked is None:
            return stochastic_depth(branch, self.drop_path, "row", self.training)
        # The same numbers are drawn as where all frames are there: one for each clip.
        kept = branch.new_ones(len(asked.asked), 1, 1, 1)
        kept = stochastic_depth(kept, self.drop_path, "row", self.training)
        return branch * kept.index_select(0, clips_of(asked.asked, branch.device))


class SwinStage(nn.Module):
    """The blocks of one resolution; every second one is shifted by half a window."""

    def __init__(self, blocks: list[SwinBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)


class PatchEmbed(nn.Module):
    """Make one token of each 4 x 4 patch of each frame.

    The temporal patch is 1, so that every frame keeps its features (MTTR).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, channels, (1, PATCH, PATCH), (1, PATCH, PATCH))
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)

    def forward(self, frames: Tensor) -> Tensor:
        """[B, T, 3, H, W] -> [B, T, ceil(H / 4), ceil(W / 4), C].

        Frames are padded with zeros at the bottom and right.
        """
        H, W = frames.shape[-2:]
        if H % PATCH or W % PATCH:
            frames = F.pad(frames, (0, -W % PATCH, 0, -H % PATCH))
        B, T, channels, H, W = frames.shape
        patches = frames.reshape(B, T, channels, H // PATCH, PATCH, W // PATCH, PATCH)
        patches = patches.permute(0, 1, 3, 5, 2, 4, 6).flatten(4)  # [B, T, H / 4, W / 4, 48]
        # A convolution whose stride is its kernel is a linear map of patches; so written its output
        # is channels-last without a copy.
        return self.norm(linear(patches, self.proj.weight.flatten(1), self.proj.bias))


class PatchMerging(nn.Module):
    """Halve height and width.

    The four cells of each 2 x 2 square are concatenated, normed and mapped to twice the channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> [B, T, ceil(H / 2), ceil(W / 2), 2 C]."""
        H, W = x.shape[2:4]
        if H % 2 or W % 2:
            x = F.pad(x, (0, 0, 0, W % 2, 0, H % 2))
        # (row, column): 00, 10, 01, 11
        cells = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(cells, -1)))
