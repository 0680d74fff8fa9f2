"""One assignment of queries to instances for both streams.

Source: LoSh, overview figure; costs are released behaviour.
"""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from losh.model.intersection import coefficient
from losh.model.mask_losses import resized
from losh.model.pipeline import Objective
from losh.model.structures import Indices, LayerPred, Targets
from losh.params import LossParams


@torch.no_grad()
def joint_costs(
    streams: list[LayerPred],
    targets: list[Targets],
    size: tuple[int, int],
    objective: Objective,
    losses: LossParams,
) -> list[Tensor]:
    """Compute the cost of all streams together -> [N, n] per expression.

    Minus the intersection coefficient of the two streams, one number per query, is added to every
    instance's cost with the weight of the intersection loss: its mean over the frames that the
    objective names (`intersects`).

    Args:
        streams: one decoder layer of the long and, where it is on, of the short stream.
        targets: prepared by the objective.
        size: (H, W) of the padded network input.
    """
    each = [objective.match_cost(stream, targets, size) for stream in streams]
    costs = [torch.stack(parts).sum(0) for parts in zip(*each, strict=True)]
    if len(streams) == 2 and losses.intersection:
        grid = objective.comparison_size(size)
        for b, cost in enumerate(costs):
            long, short = (resized(stream.masks[b], grid) for stream in streams)
            inside = coefficient(long, short, losses.intersection_form)  # [K, N]
            frames = objective.intersects(targets[b]).to(inside.device)[:, None]  # [K, 1]
            inside = (inside * frames).sum(0) / frames.sum().clamp(min=1)
            cost -= losses.intersection * inside[:, None]
    return costs


def assign(costs: list[Tensor]) -> list[Indices]:
    """Find the cheapest assignment of each cost matrix [N, n].

    Returns (query, instance) of each, both long [min(N, n)] on the CPU, queries ascending.
    """
    shapes = [cost.shape for cost in costs]
    flat = torch.cat([cost.flatten() for cost in costs]).cpu()  # one transfer, not one per clip
    # A NaN would stop scipy here; the loss is then NaN too, and what becomes of such a step is the
    # trainer's decision.
    parts = torch.nan_to_num(flat).split([rows * columns for rows, columns in shapes])
    pairs = [
        linear_sum_assignment(part.view(shape).numpy())
        for part, shape in zip(parts, shapes, strict=True)
    ]
    return [
        (torch.as_tensor(query, dtype=torch.long), torch.as_tensor(instance, dtype=torch.long))
        for query, instance in pairs
    ]
