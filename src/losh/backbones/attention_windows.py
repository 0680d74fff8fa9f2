"""Which tokens an attention window really holds, and which of them may see each other.

The published network pads the feature map with zeros to whole windows: 1.8 to 2.6 times the tokens
that exist (a window of 10 frames becomes one of 16). Here padded tokens are never made. What they
ask nobody reads. What they answer is alike for all: after the linear layer a zero is its bias. So
all padded keys of a window are ONE key whose logit has the logarithm of their summed exponentials
for a bias (`WindowKind.attention_bias`): the same softmax exactly.

Windows are gathered by kind: which of their places are real, and which of them lie beyond a shifted
map's seam. Along an axis that makes at most three sorts of windows, mostly two.

Shapes: N places of a full window, n real tokens of a window, P padded places.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Size3 = tuple[int, int, int]

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


@dataclass(frozen=True)
class WindowKind:
    """Windows of a batch of feature maps that are alike."""

    windows: int
    """M."""
    tokens: int
    """n."""
    places: Tensor | None
    """int64 [n + P]: places of the real tokens in a full window, then those of the padded ones;
    None: all are real, in order."""
    regions: Tensor | None
    """float32 [n, n + P], in the order of `places`: MASKED where two tokens are of different
    regions, else 0; None: one region."""

    def attention_bias(self, bias: Tensor) -> Tensor:
        """Bias of the real queries for the real keys, and last for the one key of all padding.

        Args:
            bias: [h, N, N] of a full window.

        Returns:
            [h, n, n], or [h, n, n + 1] where something is padded.
        """
        real = self.tokens
        if self.places is not None:
            bias = bias.index_select(1, self.places[:real]).index_select(2, self.places)
        if self.regions is not None:
            bias = bias + self.regions.to(bias.dtype)
        if self.places is None:
            return bias
        padding = bias[:, :, real:].logsumexp(-1, keepdim=True)
        return torch.cat([bias[:, :, :real], padding], -1)

    @property
    def padded(self) -> bool:
        """Whether the windows have padded places."""
        return self.places is not None


@dataclass(frozen=True)
class WindowPlan:
    """All windows of a batch of feature maps; every real token is in one of them."""

    kinds: list[WindowKind]
    order: Tensor
    """int64 [B * T * H * W]: the tokens, rows of [B, T, H, W], kind by kind, window by window."""
    inverse: Tensor
    """int64 [B * T * H * W]: where each token lies in `order`."""


class Reordered(torch.autograd.Function):
    """Rows of x in another order; the gradient goes back by the inverse order, not by a sum."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        """x [L, C] -> x[order]."""
        ctx.save_for_backward(inverse)
        return x.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """See the class."""
        return grad.index_select(0, *ctx.saved_tensors), None, None


Place = tuple[bool, bool]
"""Of one place of a window along an axis: whether its token is real, and whether it lies beyond the
seam, where the shifted map begins again."""


def axis_windows(length: int, reach: int, shift: int) -> dict[tuple[Place, ...], list[int]]:
    """Sort the windows of one axis.

    The axis is padded to whole windows, then rolled back by `shift`, then cut.

    Returns:
        For each sort of window the padded axis's cells in which such windows begin.
    """
    whole = length + -length % reach
    sorts: dict[tuple[Place, ...], list[int]] = {}
    for first in range(0, whole, reach):
        rolled = range(first, first + reach)
        sort = tuple(((i + shift) % whole < length, i + shift >= whole) for i in rolled)
        sorts.setdefault(sort, []).append((first + shift) % whole)
    return sorts


def window_kind(
    clips: int,
    size: Size3,
    sorts: list[tuple[tuple[Place, ...], list[int]]],
    device: torch.device,
) -> tuple[WindowKind, Tensor]:
    """Make the windows that are of `sorts` along T, H and W: (places, first cells) of each axis.

    Returns:
        The kind, and its tokens, int64 [M, n], as rows of [B, T, H, W].
    """
    (T, H, W), grids, real, beyond = size, [], [], []
    for axis, (places, firsts) in enumerate(sorts):
        real.append(torch.tensor([is_real for is_real, _ in places]))
        beyond.append(torch.tensor([is_beyond for _, is_beyond in places]))
        whole = -(-size[axis] // len(places)) * len(places)
        steps = torch.arange(len(places))[real[-1]]
        grids.append((torch.tensor(firsts)[:, None] + steps) % whole)  # [windows, real cells]
    t, y, x = grids
    t = torch.arange(clips)[:, None, None] * T + t  # [B, windows, frames]
    rows = t[:, :, None, None, :, None, None] * H + y[:, None, None, :, None]
    tokens = rows * W + x[:, None, None, :]  # [B, then windows, then cells along T, H and W]
    tokens = tokens.flatten(4).flatten(0, 3)
    inside = torch.cartesian_prod(*real).all(1)
    region = torch.cartesian_prod(*beyond)  # [N, 3]
    ordered: Tensor | None = None
    if not inside.all():
        ordered = torch.cat([inside.nonzero()[:, 0], (~inside).nonzero()[:, 0]])
        region = region[ordered]
    apart = (region[: tokens.shape[1], None] != region).any(-1)
    regions = (apart * MASKED).to(device) if apart.any() else None
    on_device = None if ordered is None else ordered.to(device)
    return WindowKind(tokens.shape[0], tokens.shape[1], on_device, regions), tokens


# Plans are kept, and training could not use what was made in inference mode.
@torch.inference_mode(False)
def window_plan(
    clips: int, size: Size3, window: Size3, shift: Size3, device: torch.device
) -> WindowPlan:
    """Sort the windows of `clips` feature maps of (T, H, W) = `size`; `window` and `shift` fit."""
    axes = [axis_windows(*axis) for axis in zip(size, window, shift, strict=True)]
    kinds = [
        window_kind(clips, size, list(sorts), device)
        for sorts in itertools.product(*(axis.items() for axis in axes))
    ]
    order = torch.cat([tokens.flatten() for _, tokens in kinds]).to(device)
    return WindowPlan([kind for kind, _ in kinds], order, order.argsort())


# Some MB each at the published size.
_remembered_plans = functools.lru_cache(maxsize=32)(window_plan)


@torch.compiler.assume_constant_result
def _constant_parts(*sizes: Any) -> tuple[Any, ...]:
    """Return a plan as nested tuples.

    torch.compile takes these for constants; a class's instances it does not.
    """
    plan = _remembered_plans(*sizes)
    kinds = tuple((k.windows, k.tokens, k.places, k.regions) for k in plan.kinds)
    return kinds, plan.order, plan.inverse


def cached_window_plan(
    clips: int, size: Size3, window: Size3, shift: Size3, device: torch.device
) -> WindowPlan:
    """Return `window_plan`, kept for the sizes that were last used."""
    sizes = (clips, size, window, shift, device)
    if not torch.compiler.is_compiling():
        return _remembered_plans(*sizes)
    kinds, order, inverse = _constant_parts(*sizes)
    return WindowPlan([WindowKind(*kind) for kind in kinds], order, inverse)
