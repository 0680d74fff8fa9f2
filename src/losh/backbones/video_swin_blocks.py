"""The parts of Video-Swin: patches, windows, attention, block, merging.

Source: Liu et al., CVPR 2022, arXiv 2106.13230.

Shapes: B clips, T frames, H W feature cells, C channels, G windows of a clip, N tokens of a window,
h attention heads, d channels of a head. Features inside are channels-last, [B, T, H, W, C].
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import stochastic_depth

from losh.backbones.biased_attention import biased_attention

Size3 = tuple[int, int, int]

PATCH = 4
NORM_EPS = 1e-5
MASKED = -1000.0
"""Added to the logit of two tokens of different regions. The published network adds -100: then
exp(-100) is a denormal float32, not 0, and multiplying by denormals made our attention five times
slower on a CPU. The results are the same.
"""


def size3(lengths: Iterable[int]) -> Size3:
    """Make a size of three lengths, along T, H and W."""
    t, h, w = lengths
    return t, h, w


def fit_window(size: Size3, window: Size3, shift: Size3) -> tuple[Size3, Size3]:
    """Shrink the window to the feature map.

    An axis no longer than its window is one window of that length and is not shifted.
    """
    axes = list(zip(size, window, shift, strict=True))
    fitted = size3(min(cells, reach) for cells, reach, _ in axes)
    return fitted, size3(0 if cells <= reach else step for cells, reach, step in axes)


def relative_position_index(window: Size3) -> Tensor:
    """Return the row of the bias table for each pair of tokens of a full window.

    int64 [N, N], N = the window's volume.
    """
    places = torch.cartesian_prod(*[torch.arange(length) for length in window]).reshape(-1, 3)
    # [N, N, 3], each from 0 to 2 * length - 2.
    offsets = places[:, None] - places[None, :] + torch.tensor(window) - 1
    _, rows, columns = (2 * length - 1 for length in window)
    return (offsets[..., 0] * rows + offsets[..., 1]) * columns + offsets[..., 2]


# The masks are kept, and training could not use what was made in inference mode.
@torch.inference_mode(False)
def shift_masks(
    grid: Size3, window: Size3, shift: Size3, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return which tokens of a shifted window may see each other.

    After the roll only the last window of each shifted axis holds tokens from both ends of the map,
    so there are at most 8 different masks, whatever the size; keeping these and a number per window
    is hundreds of times smaller than one mask per window.

    Args:
        grid: windows along T, H, W.

    Returns:
        masks: float32 [K, N, N], K <= 8; 0 inside a region, MASKED between regions.
        kinds: int64 [G]: which mask a window has; windows in row-major order.
    """
    # 1 = the window holds this axis's seam: the number of a kind of window has a bit for T, H and
    # W.
    ends = [
        [int(step > 0 and place == count - 1) for place in range(count)]
        for count, step in zip(grid, shift, strict=True)
    ]
    kinds = [4 * t + 2 * y + x for t in ends[0] for y in ends[1] for x in ends[2]]
    used = sorted(set(kinds))
    masks = []
    for kind in used:
        # Region of each place along an axis: past the seam, or not.
        seams = [
            torch.arange(length) >= length - step
            for length, step in zip(window, shift, strict=True)
        ]
        seams = [seam & bool(kind & bit) for seam, bit in zip(seams, (4, 2, 1), strict=True)]
        regions = torch.cartesian_prod(*seams).reshape(-1, 3)  # [N, 3]
        masks.append((regions[:, None] != regions[None, :]).any(-1) * MASKED)
    return torch.stack(masks).to(device), torch.tensor(
        [used.index(kind) for kind in kinds], device=device
    )


def cut_windows(x: Tensor, window: Size3) -> Tensor:
    """Cut a feature map into windows: [B, T, H, W, C] -> [B, G, N, C].

    T, H and W are multiples of the window's; windows and their tokens are in row-major order.
    """
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


# Up to 5 MB each at the published window.
_remembered_masks = functools.lru_cache(maxsize=16)(shift_masks)


@torch.compiler.assume_constant_result
def cached_shift_masks(
    grid: Size3, window: Size3, shift: Size3, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return `shift_masks`, kept for the sizes that were last used.

    To torch.compile, which does not see such caches, it is a constant.
    """
    return _remembered_masks(grid, window, shift, device)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with a learned bias for each relative position."""

    relative_position_index: Tensor

    def __init__(
        self, channels: int, num_heads: int, window: Size3, shift: Size3, qkv_bias: bool = True
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.shift = shift
        table = torch.empty(
            functools.reduce(lambda rows, length: rows * (2 * length - 1), window, 1), num_heads
        )
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer(
            "relative_position_index", relative_position_index(window), persistent=False
        )
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)

    def bias(self, tokens: int) -> Tensor:
        """Return the bias of a window of `tokens` tokens -> [h, N, N].

        The full window's index is cut to [:N, :N]: where height or width is clamped, tokens get the
        coordinates of other places. That is how the published weights were trained (original and
        torchvision alike), so it stays.
        """
        index = self.relative_position_index[:tokens, :tokens]
        return self.relative_position_bias_table.t()[:, index]

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> the same shape."""
        size = size3(x.shape[1:4])
        window, shift = fit_window(size, self.window, self.shift)
        missing = [-cells % reach for cells, reach in zip(size, window, strict=True)]
        if any(missing):
            # Zeros after the norm, attended to like any token: so was the published network
            # trained.
            x = F.pad(x, (0, 0, 0, missing[2], 0, missing[1], 0, missing[0]))
        if any(shift):
            x = x.roll([-step for step in shift], (1, 2, 3))
        padded = size3(x.shape[1:4])
        x = cut_windows(x, window)
        B, G, N, C = x.shape
        h = self.num_heads
        bias = self.bias(N)
        qkv = self.qkv(x)
        if any(shift):
            grid = size3(cells // reach for cells, reach in zip(padded, window, strict=True))
            masks, kinds = cached_shift_masks(grid, window, shift, x.device)
            # [K, h, N, N] -> [G * h, N, N]
            bias = (bias + masks.to(bias.dtype)[:, None]).index_select(0, kinds).flatten(0, 1)
            # [B, G * h, N, d] each
            q, k, v = qkv.view(B, G, N, 3, h, -1).permute(3, 0, 1, 4, 2, 5).flatten(2, 3)
            x = biased_attention(q, k, v, bias).view(B, G, h, N, -1)
            x = x.transpose(2, 3).reshape(B, G, N, C)
        else:
            q, k, v = qkv.view(B * G, N, 3, h, -1).permute(2, 0, 3, 1, 4)  # [B * G, h, N, d] each
            x = biased_attention(q, k, v, bias).transpose(1, 2).reshape(B, G, N, C)
        x = join_windows(x, window, padded)
        if any(shift):
            x = x.roll(shift, (1, 2, 3))
        if any(missing):
            x = x[:, : size[0], : size[1], : size[2]]
        return self.proj(x)  # after the crop: it works token by token, so padded ones need none


class Mlp(nn.Module):
    """Two linear layers with the exact (erf) GELU between them."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., C]."""
        return self.fc2(F.gelu(self.fc1(x)))


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

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, H, W, C] -> the same shape."""
        x = x + self.drop(self.attn(self.norm1(x)))
        return x + self.drop(self.mlp(self.norm2(x)))

    def drop(self, branch: Tensor) -> Tensor:
        """Stochastic depth, in training only."""
        return (
            stochastic_depth(branch, self.drop_path, "row", self.training)
            if self.drop_path
            else branch
        )


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
        return self.norm(F.linear(patches, self.proj.weight.flatten(1), self.proj.bias))


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
