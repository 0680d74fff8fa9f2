"""The whole loss of a step: matching, both streams' losses, their intersection, consistency."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from losh.model.consistency import consistency_loss
from losh.model.intersection import intersection_loss
from losh.model.mask_losses import matched_pairs, resized
from losh.model.matching import assign, joint_costs
from losh.model.pipeline import Objective, RVOSPipeline
from losh.model.structures import ClipFlow, Indices, LayerPred, LoShOutput, Targets
from losh.params import ConsistencyParams, LossParams

Counts = dict[str, float]
"""What the losses are divided by. Add those of all devices and micro-batches of a step: its losses
then add up to the same numbers however it is divided (as long as the parts are padded to one
size)."""
DIVISORS = {"intersection": "pairs", "consistency": "flow_pairs"}
"""Of LoSh's own losses; those of one stream are the pipeline's."""


class Criterion:
    """The loss of LoSh on a base pipeline.

    Args:
        pipeline: refines matched queries and knows one stream's losses and costs.
        losses: weights of LoSh's own losses; a loss of weight 0 is not computed and its key absent.
        consistency: how the consistency loss compares frames.
    """

    def __init__(
        self, pipeline: RVOSPipeline, losses: LossParams, consistency: ConsistencyParams
    ) -> None:
        self.pipeline = pipeline
        self.objective: Objective = pipeline.objective()
        self.losses = losses
        self.consistency = consistency
        own = {"intersection": losses.intersection, "consistency": losses.consistency}
        self.weights = {**self.objective.weights, **own}
        self.divisors = {**self.objective.divisors, **DIVISORS}

    def count(self, targets: list[Targets], flow: ClipFlow | None) -> Counts:
        """Count what the losses of one (micro-)batch are divided by."""
        pairs = float(flow.valid.sum()) if flow is not None else 0.0
        return {**self.objective.count(targets), "flow_pairs": pairs}

    def __call__(
        self,
        output: LoShOutput,
        targets: list[Targets],
        flow: ClipFlow | None = None,
        counts: Counts | None = None,
    ) -> dict[str, Tensor]:
        """Compute all losses of a batch.

        Args:
            output: of LoSh, for E expressions.
            targets: E of them, as the data gives them.
            flow: None leaves the consistency loss out.
            counts: of the whole step, where this batch is a part of it; None: of this batch.

        Returns:
            Scalars, not weighted: the pipeline's losses (both streams added) and `intersection` of
            the last decoder layer; the same with `_0`, `_1`, ... of the earlier layers
            (`auxiliary`); `consistency`; the pipeline's losses of its encoder; and `total`, the
            weighted sum.
        """
        counts = counts or self.count(targets, flow)
        device = output.long[-1].masks.device
        with torch.autocast(device.type, enabled=False):
            sums = {**self._layers(output, targets), **self._encoder(output, targets)}
            if self.losses.consistency and flow is not None:
                sums["consistency"] = consistency_loss(
                    output.video, output.annotated, flow, self.consistency
                )
        values, total = {}, torch.zeros((), device=device)
        for name, value in sums.items():
            loss = re.sub(r"_\d+$", "", name)
            values[name] = value / max(counts[self.divisors[loss]], 1.0)
            total = total + self.weights[loss] * values[name]
        return {**values, "total": total}

    def match(self, output: LoShOutput, targets: list[Targets], layer: int = -1) -> list[Indices]:
        """Match one decoder layer: (query, instance) of each expression."""
        prepared = self.objective.prepare_targets(targets, output.video.size)
        return assign(self._costs(output, prepared, layer))

    def _costs(self, output: LoShOutput, targets: list[Targets], layer: int) -> list[Tensor]:
        streams = _streams(output, layer)
        return joint_costs(streams, targets, output.video.size, self.objective, self.losses)

    def _encoder(self, output: LoShOutput, targets: list[Targets]) -> dict[str, Tensor]:
        """Return the pipeline's losses of its encoder's output, its streams added."""
        strides = output.video.strides
        streams = output.encoder[: self.objective.encoder_streams]
        return _added([self.objective.encoder_losses(kept, targets, strides) for kept in streams])

    def _layers(self, output: LoShOutput, targets: list[Targets]) -> dict[str, Tensor]:
        targets = self.objective.prepare_targets(targets, output.video.size)
        last = len(output.long) - 1
        layers = [last, *range(last)] if self.losses.auxiliary else [last]
        costs = [cost for layer in layers for cost in self._costs(output, targets, layer)]
        matches = assign(costs)  # one transfer to the CPU for all layers
        sums = {}
        for i, layer in enumerate(layers):
            suffix = "" if layer == last else f"_{layer}"
            indices = matches[i * len(targets) : (i + 1) * len(targets)]
            for name, value in self._layer(output, layer, targets, indices).items():
                sums[name + suffix] = value
        return sums

    def _layer(
        self, output: LoShOutput, layer: int, targets: list[Targets], indices: list[Indices]
    ) -> dict[str, Tensor]:
        size, streams = output.video.size, _streams(output, layer)
        rows, queries = matched_pairs(indices, streams[0].masks.device)
        refine = self.pipeline.refine
        masks = [refine(stream, rows, queries, output.selected) for stream in streams]
        sums = _added(
            [
                self.objective.losses(stream, refined, targets, indices, size)
                for stream, refined in zip(streams, masks, strict=True)
            ]
        )
        if len(streams) == 2 and self.losses.intersection:
            grid = self.objective.comparison_size(size)
            long, short = (resized(x.flatten(0, 1)[:, None], grid)[:, 0] for x in masks)
            frames = torch.stack([self.objective.intersects(target) for target in targets])
            counted = frames.to(rows.device)[rows].flatten()  # [E, K] -> [P * K]
            sums["intersection"] = intersection_loss(
                long, short, self.losses.intersection_form, counted
            )
        return sums


def _streams(output: LoShOutput, layer: int) -> list[LayerPred]:
    """One decoder layer of the long and, where it is on, of the short stream."""
    return [output.long[layer]] + ([output.short[layer]] if output.short is not None else [])


def _added(streams: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Losses of the same names added over the streams."""
    return {
        name: sum(stream[name] for stream in streams[1:]) + value
        for name, value in streams[0].items()
    }
