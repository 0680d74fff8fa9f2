"""Attention of many small windows with a learned bias: PyTorch's kernels, or a blocked one of ours.

Shapes: L tokens in all, padded ones among them, A of them ask, M windows of a kind, n real tokens
of each, a of which ask, S keys of each (n, and the padded one where the windows are padded), h
heads, d channels of a head, C = h * d.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from losh.backbones.attention_windows import WindowKind, WindowPlan

BLOCK = 2**18
"""Logits a thread works on at once: 1 MiB, which stays in a core's cache through all the passes."""


def window_attention(qkv: Tensor, biases: list[Tensor], plan: WindowPlan) -> Tensor:
    """softmax(q k^T / sqrt(d) + bias) v in each window.

    PyTorch's fused CPU kernel gives no gradient for the bias, and its fallback writes all logits to
    memory several times: there the backward pass is ours, block by block. Everywhere else PyTorch's
    kernels are used.

    Args:
        qkv: [L, 3 C], queries, keys and values of all tokens in the plan's order, head by head.
        biases: [h, a, S] of each kind of window.

    Returns:
        [A, C], in the plan's order.
    """
    biases = [bias.to(qkv.dtype) for bias in biases]
    if (
        qkv.device.type == "cpu"
        and torch.is_grad_enabled()
        and any(bias.requires_grad for bias in biases)
        and not torch.compiler.is_compiling()
    ):
        return BlockedAttention.apply(qkv, plan, *biases)
    return fused(qkv, biases, plan)


def fused(qkv: Tensor, biases: Sequence[Tensor], plan: WindowPlan) -> Tensor:
    """See `window_attention`: by PyTorch's kernels."""
    if not torch.is_grad_enabled():
        # a bias that could learn keeps PyTorch from its fused CPU kernel even where no gradient is
        # asked for
        biases = [bias.detach() for bias in biases]
    parts = qkv.split([kind.windows * kind.keys for kind in plan.kinds])
    found = [
        fused_attention(part, bias, kind)
        for part, bias, kind in zip(parts, biases, plan.kinds, strict=True)
    ]
    return found[0] if len(found) == 1 else torch.cat(found)


def fused_attention(qkv: Tensor, bias: Tensor, kind: WindowKind) -> Tensor:
    """Attention of one kind of window by PyTorch's kernels: [M * S, 3 C] -> [M * a, C]."""
    q, k, v = split(qkv, kind, len(bias))
    found = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
    return found.transpose(1, 2).flatten(2).flatten(0, 1)


def split(qkv: Tensor, kind: WindowKind, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries [m, h, a, d] and keys and values [m, h, S, d] of qkv [m * S, 3 C]."""
    q, k, v = qkv.view(-1, kind.keys, 3, heads, qkv.shape[1] // 3 // heads).permute(2, 0, 3, 1, 4)
    return q[:, :, : kind.tokens] if kind.asking is None else q.index_select(2, kind.asking), k, v


@dataclass(frozen=True)
class Block:
    """Some windows of one kind, which are worked on together."""

    kind: WindowKind
    bias: int
    """Number of the kind."""
    rows: slice
    """Their tokens."""
    answers: slice
    """Those of them that ask, among all that ask."""
    heads: list[slice]
    """How many heads at once."""


def blocks(plan: WindowPlan, biases: Sequence[Tensor]) -> Iterator[Block]:
    """Cut windows x heads into pieces of about BLOCK logits for each thread.

    A piece is all heads of some windows, or some heads of one window.
    """
    size = BLOCK * torch.get_num_threads()
    first, asked = 0, 0
    for i, (kind, bias) in enumerate(zip(plan.kinds, biases, strict=True)):
        heads, logits = len(bias), bias[0].numel()
        step = max(1, min(heads, size // logits))
        together = max(1, size // (heads * logits)) if step == heads else 1
        pieces = [slice(head, head + step) for head in range(0, heads, step)]
        for window in range(0, kind.windows, together):
            last = min(window + together, kind.windows)
            rows = slice(first + window * kind.keys, first + last * kind.keys)
            answers = slice(asked + window * kind.answers, asked + last * kind.answers)
            yield Block(kind, i, rows, answers, pieces)
        first += kind.windows * kind.keys
        asked += kind.windows * kind.answers


class BlockedAttention(torch.autograd.Function):
    """`window_attention` with a gradient of the biases.

    The backward pass goes block by block: all that a block needs stays in the core's cache. It
    computes the probabilities again instead of keeping them.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, plan: WindowPlan, *biases: Tensor) -> Tensor:
        """See `window_attention`."""
        out = fused(qkv, biases, plan)  # gradients are off here
        ctx.save_for_backward(qkv, out, *biases)
        ctx.plan = plan
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of qkv and the biases."""
        qkv, out, *biases = ctx.saved_tensors
        grad_qkv = torch.empty_like(qkv)
        grad_biases = [torch.zeros_like(bias) for bias in biases]
        # What the softmax's Jacobian, p * (dp - sum(p * dp)), takes off: a number a token and head.
        off = (grad * out).unflatten(1, (len(biases[0]), -1)).sum(-1)  # [A, h]
        for block in blocks(ctx.plan, biases):
            bias, grad_bias = biases[block.bias], grad_biases[block.bias]
            kind, heads = block.kind, len(bias)
            q, k, v = split(qkv[block.rows], kind, heads)
            q, k, v = (q * q.shape[-1] ** -0.5).contiguous(), k.contiguous(), v.contiguous()
            back = grad[block.answers].view(-1, kind.answers, heads, q.shape[-1])
            back = back.transpose(1, 2).contiguous()
            less = off[block.answers].view(-1, kind.answers, heads).transpose(1, 2)[..., None]
            grad_q, grad_k, grad_v = (
                x.transpose(1, 2)  # [m, h, n, d], its memory [m, n, 3, h, d]
                for x in grad_qkv[block.rows].view(-1, kind.keys, 3, heads, q.shape[-1]).unbind(2)
            )
            for r in block.heads:
                p = probabilities(q[:, r], k[:, r], bias[r])
                values = p.transpose(-1, -2) @ back[:, r]
                grad_s = (back[:, r] @ v[:, r].transpose(-1, -2)).sub_(less[:, r]).mul_(p)
                queries = (grad_s @ k[:, r]).mul_(q.shape[-1] ** -0.5)
                if kind.asking is None:
                    grad_q[:, r, : kind.tokens] = queries
                    grad_q[:, r, kind.tokens :] = 0  # a padded token asks nothing
                else:
                    grad_q[:, r].zero_().index_copy_(2, kind.asking, queries)
                grad_k[:, r], grad_v[:, r] = grad_s.transpose(-1, -2) @ q[:, r], values
                grad_bias[r].add_(grad_s[0] if len(grad_s) == 1 else grad_s.sum(0))
        return grad_qkv, None, *grad_biases


def probabilities(q: Tensor, k: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T + bias) of one block -> [m, r, a, S]."""
    return (q @ k.transpose(-1, -2)).add_(bias).softmax(-1)
