"""Linear layers that are faster on a CPU where nothing is learned.

PyTorch hands float32 products to MKL, which wants the bias written into the result beforehand.
oneDNN, which PyTorch brings along and uses for convolutions, adds the bias and applies GELU or ReLU
while a result is still in registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether this build of PyTorch has the operator: the one that torch.compile uses."""

After = Literal["none", "gelu", "relu"]


class Linear(nn.Linear):
    """nn.Linear by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]."""
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, after: After = "none") -> Tensor:
    """x W^T + b, and its exact (erf) GELU or its ReLU where asked for.

    Without gradients in float32 on a CPU by oneDNN: equal to rounding. Its operator has no
    gradient, and no rule for mixed precision.

    Args:
        x: [..., in].
        weight: [out, in].
        bias: [out].
    """
    if (
        ONEDNN
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel()
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    ):
        how = "none" if after == "gelu" else ""  # the exact one, which has no approximation
        found = torch.ops.mkldnn._linear_pointwise(x, weight, bias, after, [], how)
        return cast(Tensor, found)
    found = F.linear(x, weight, bias)
    if after == "gelu":
        return F.gelu(found)
    return found.relu_() if after == "relu" else found


def feed_forward(
    x: Tensor, first: nn.Linear, second: nn.Linear, dropout: Callable[[Tensor], Tensor]
) -> Tensor:
    """W2 ReLU(W1 x + b1) + b2, with dropout after the ReLU and at the end: [..., C] -> [..., C].

    A transformer layer's second half (arXiv 1706.03762, section 3.3).
    """
    hidden = linear(x, first.weight, first.bias, "relu")
    return dropout(second(dropout(hidden)))


def with_fast_linears(model: nn.Module) -> None:
    """Make every nn.Linear of `model` a `Linear`: those of a library's text encoder too.

    Parameters, their names and what is learned stay.
    """
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear
