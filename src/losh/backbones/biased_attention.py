"""Attention of many small windows with a learned bias: PyTorch's kernels, or a blocked one of ours.

Shapes: M windows that share biases, R rows of biases (heads, or windows x heads), N tokens of a
window, d channels of a head.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 2**18
"""Logits worked on at once: 1 MiB, which stays in a core's cache through all the passes over it."""


def biased_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v.

    PyTorch's fused CPU kernel gives no gradient for the bias, and its fallback writes all logits to
    memory several times: there the blocked form is more than twice as fast. Everywhere else
    PyTorch's kernels are used.

    Args:
        q, k, v: [M, R, N, d].
        bias: [R, N, N].

    Returns:
        [M, R, N, d].
    """
    bias = bias.to(q.dtype)
    if (
        q.device.type == "cpu"
        and torch.is_grad_enabled()
        and bias.requires_grad
        and not torch.compiler.is_compiling()
    ):
        return BlockedAttention.apply(q * q.shape[-1] ** -0.5, k, v, bias)
    if not torch.is_grad_enabled():
        # a bias that could learn keeps PyTorch from its fused CPU kernel even where no gradient is
        # asked for
        bias = bias.detach()
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])


def blocks(windows: int, rows: int, tokens: int) -> list[tuple[slice, slice]]:
    """Cut windows x rows into pieces of about BLOCK logits.

    A piece is whole windows, or part of the rows of one window.
    """
    step = max(1, min(rows, BLOCK // tokens**2))
    together = max(1, BLOCK // (rows * tokens**2)) if step == rows else 1
    return [
        (slice(m, m + together), slice(r, r + step))
        for r in range(0, rows, step)
        for m in range(0, windows, together)
    ]


class BlockedAttention(torch.autograd.Function):
    """softmax(q k^T + bias) v block by block.

    The backward pass computes the probabilities again instead of keeping them.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """[M, R, N, d] (three times), [R, N, N] -> [M, R, N, d]; q comes scaled."""
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        out = torch.empty_like(q)
        for m, r in blocks(*q.shape[:3]):
            out[m, r] = probabilities(q[m, r], k[m, r], bias[r]) @ v[m, r]
        ctx.save_for_backward(q, k, v, bias)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gradients of q, k, v and the bias."""
        q, k, v, bias = ctx.saved_tensors
        grad = grad.contiguous()
        grad_q, grad_k, grad_v, grad_bias = (
            torch.empty_like(q),
            torch.empty_like(k),
            torch.empty_like(v),
            torch.zeros_like(bias),
        )
        for m, r in blocks(*q.shape[:3]):
            p = probabilities(q[m, r], k[m, r], bias[r])
            grad_v[m, r] = p.transpose(-1, -2) @ grad[m, r]
            grad_p = grad[m, r] @ v[m, r].transpose(-1, -2)
            # The softmax's Jacobian: p * (dp - sum(p * dp)).
            grad_s = torch.ops.aten._softmax_backward_data(grad_p, p, -1, p.dtype)
            grad_q[m, r] = grad_s @ k[m, r]
            grad_k[m, r] = grad_s.transpose(-1, -2) @ q[m, r]
            grad_bias[r].add_(grad_s.sum(0))
        return grad_q, grad_k, grad_v, grad_bias


def probabilities(q: Tensor, k: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T + bias) of one block -> [m, r, N, N]."""
    return (q @ k.transpose(-1, -2)).add_(bias).softmax(-1)
