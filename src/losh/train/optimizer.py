"""What is trained and how fast: AdamW with separate rates, which follow from the step alone."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from losh.errors import UserError
from losh.params import TrainParams


def unreached_parameters(model: nn.Module, loss: Tensor) -> list[str]:
    """Name the parameters with requires_grad that are not in the graph of `loss`.

    With a loss switched off some heads get no gradient.

    Raises:
        UserError: none is in it.
    """
    reached: set[int] = set()
    waiting, seen = [loss.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):  # where a leaf's gradient adds up
            reached.add(id(node.variable))
        waiting += [above for above, _ in node.next_functions]
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    unreached = [name for name, parameter in trained.items() if id(parameter) not in reached]
    if len(unreached) == len(trained):
        raise UserError(
            "no loss reaches a parameter whose learning rate is above 0",
            "Raise a loss's weight, or a learning rate",
        )
    return unreached


def make_optimizer(model: nn.Module, params: TrainParams) -> AdamW:
    """Make the optimiser, of three groups: transformer and heads, visual backbone, text encoder.

    A rate of 0 freezes a group.
    """
    groups: dict[str, list[nn.Parameter]] = {"main": [], "backbone": [], "text_encoder": []}
    rates = {
        "main": params.learning_rate,
        "backbone": params.backbone_learning_rate,
        "text_encoder": params.text_encoder_learning_rate,
    }
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        group = (
            "text_encoder"
            if "text_encoder" in parts
            else "backbone"
            if "backbone" in parts
            else "main"
        )
        parameter.requires_grad_(rates[group] > 0 and parameter.requires_grad)
        if parameter.requires_grad:
            groups[group].append(parameter)
    members = [
        {"params": groups[name], "name": name, "base": rate, "lr": rate}
        for name, rate in rates.items()
        if groups[name]
    ]
    return AdamW(members, weight_decay=params.weight_decay, fused=True)


def rate_factor(step: int, epoch: int, steps: int, params: TrainParams) -> float:
    """Compute what the base rates are multiplied by.

    It is a linear rise over `warmup_steps`, then the fall that `schedule` names.

    `milestones` multiplies by `gamma` for each milestone passed; `cosine` (ours, after arXiv
    1608.03983 without restarts) falls from 1 at the first step to 0 after the last. The released
    code fed the epoch's loss to its scheduler on all datasets but A2D; ours depends on step and
    epoch alone.

    Args:
        step: optimiser steps done, over all epochs.
        epoch: epochs done.
        steps: optimiser steps of the whole training.
        params: the section `train`.
    """
    warmup = min(1.0, (step + 1) / params.warmup_steps) if params.warmup_steps else 1.0
    if params.schedule == "cosine":
        return warmup * (1 + math.cos(math.pi * step / steps)) / 2
    return warmup * params.gamma ** sum(epoch >= milestone for milestone in params.milestones)


def set_rates(optimizer: Optimizer, factor: float) -> None:
    """Set each group's rate to its base times `factor`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base"] * factor
