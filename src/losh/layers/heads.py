"""Heads on a decoder's queries, as Deformable DETR and its kin (ReferFormer, SgMg) have them."""

from __future__ import annotations

import copy
import math
from typing import cast

from torch import nn

from losh.layers.projection import MLP

PRIOR = 0.01
"""The probability that a query is the object, at first."""


def class_heads(width: int, layers: int) -> nn.ModuleList:
    """One per decoder layer: [..., width] -> [..., 1], the logit of being the object."""
    head = nn.Linear(width, 1)
    nn.init.constant_(head.bias, -math.log((1 - PRIOR) / PRIOR))
    return clones(head, layers)


def box_heads(width: int, layers: int) -> nn.ModuleList:
    """Make one head per decoder layer: [..., width] -> [..., 4], the change of a box's logits.

    At first only the first layer changes anything: its boxes are small, and the later layers'
    refine them.
    """
    head = MLP(width, 4, 3)
    last = head.linears()[-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    heads = clones(head, layers)
    nn.init.constant_(cast(MLP, heads[0]).linears()[-1].bias[2:], -2.0)
    return heads


def controller(width: int, numbers: int) -> MLP:
    """[..., width] -> [..., numbers], the weights of a query's dynamic convolutions."""
    head = MLP(width, numbers, 3)
    for layer in head.linears():
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return head


def clones(module: nn.Module, count: int) -> nn.ModuleList:
    """Make copies that start alike."""
    return nn.ModuleList(copy.deepcopy(module) for _ in range(count))
