"""Heads on a decoder layer's queries, as Deformable DETR and its kin (ReferFormer, SgMg) have
them.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

PRIOR = 0.01
"""Probability that an untrained class head gives to every query."""


class MLP(nn.Module):
    """Linear layers with a ReLU between them."""

    def __init__(self, *widths: int) -> None:
        """`widths`: of the input, of each hidden layer, and of the output."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """[..., widths[0]] -> [..., widths[-1]]."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


def class_heads(width: int, layers: int) -> nn.ModuleList:
    """One a decoder layer: [..., width] -> [..., 1], the logit of being the object."""
    heads = nn.ModuleList(nn.Linear(width, 1) for _ in range(layers))
    for head in heads:
        head.load_state_dict(heads[0].state_dict())  # all start alike
        nn.init.constant_(head.bias, -math.log((1 - PRIOR) / PRIOR))
    return heads


def box_heads(width: int, layers: int) -> nn.ModuleList:
    """One a decoder layer: [..., width] -> [..., 4], the change of a box's logits. At first only
    the first layer changes anything: it makes boxes of an eighth of the frame.
    """
    heads = nn.ModuleList(MLP(width, width, width, 4) for _ in range(layers))
    for head in heads:
        head.load_state_dict(heads[0].state_dict())
        nn.init.zeros_(head.layers[-1].weight)
        nn.init.zeros_(head.layers[-1].bias)
    nn.init.constant_(heads[0].layers[-1].bias[2:], -2.0)
    return heads


def controller(width: int, numbers: int) -> MLP:
    """[..., width] -> [..., numbers], the weights of a query's dynamic convolutions."""
    head = MLP(width, width, width, numbers)
    for layer in head.layers:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return head
