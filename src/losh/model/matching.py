"""One assignment of queries to instances for both streams (LoSh, overview figure; costs are
released behaviour).
"""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from losh.model.intersection import Form, coefficient
from losh.model.mask_losses import resized
from losh.model.pipeline import RVOSPipeline
from losh.model.structures import Indices, LayerPred, Targets


@torch.no_grad()
def joint_costs(
    long: LayerPred,
    short: LayerPred | None,
    targets: list[Targets],
    size: tuple[int, int],
    pipeline: type[RVOSPipeline],
    intersection: float,
    form: Form,
) -> list[Tensor]:
    """Cost of both streams together -> [N, n] a clip.

    Args:
        pipeline: whose `match_cost` each stream pays.
        intersection: weight of minus the streams' intersection coefficient, one number a query, the
            same for every instance.
        form: of the intersection.
    """
    costs = pipeline.match_cost(long, targets, size)
    if short is None:
        return costs
    costs = [a + b for a, b in zip(costs, pipeline.match_cost(short, targets, size), strict=True)]
    if intersection:
        for b, cost in enumerate(costs):
            inside = coefficient(
                resized(long.masks[b], size), resized(short.masks[b], size), form
            )  # [K, N]
            cost -= intersection * inside.mean(0)[:, None]
    return costs


def assign(costs: list[Tensor]) -> list[Indices]:
    """Cheapest assignment of each cost matrix [N, n] -> (query, instance), both long [min(N, n)] on
    the CPU, queries ascending.
    """
    shapes = [cost.shape for cost in costs]
    flat = torch.cat([cost.flatten() for cost in costs]).cpu()  # one transfer, not one a clip
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
