"""Long-short intersection: the long expression's mask has to lie inside the short one's.

Source: LoSh, released behaviour.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Form = Literal["hard", "soft"]
GATE = 0.5


def gated(logits: Tensor, form: Form) -> Tensor:
    """Return mask probabilities.

    `hard` zeroes those at or under 0.5, which therefore get no gradient; `soft` (ours) keeps all.
    """
    probability = logits.sigmoid()
    return F.threshold(probability, GATE, 0.0) if form == "hard" else probability


def coefficient(long: Tensor, short: Tensor, form: Form) -> Tensor:
    """Return how much of the long mask lies in the short one, in [0, 1].

    (sum a b + 1) / (sum a + 1). Logits [..., H, W] -> [...].
    """
    a, b = gated(long, form), gated(short, form)
    return ((a * b).sum((-2, -1)) + 1) / (a.sum((-2, -1)) + 1)


def intersection_loss(
    long: Tensor, short: Tensor, form: Form, counted: Tensor | None = None
) -> Tensor:
    """Sum of 1 - coefficient over matched pairs: logits [P, H, W] at the network's size -> scalar.

    Divided by the number of pairs it is the released loss, 1 - mean(coefficient). An empty long
    mask costs nothing.

    Args:
        counted: bool [P], which pairs count; None: all.
    """
    outside = 1 - coefficient(long, short, form)
    return outside.sum() if counted is None else (outside * counted).sum()
