"""The whole loss of a step: matching, both streams' losses, their intersection, and the consistency
of the visual features.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from losh.errors import UserError
from losh.model.consistency import consistency_loss
from losh.model.intersection import intersection_loss
from losh.model.mask_losses import covered, matched_logits
from losh.model.matching import assign, joint_costs
from losh.model.pipeline import RVOSPipeline
from losh.model.structures import ClipFlow, Indices, LoShOutput, Targets
from losh.params import ConsistencyParams, LossParams
from losh.pipelines.mttr.losses import token_reference_loss
from losh.pipelines.mttr.network import MTTR


@dataclass(frozen=True)
class Counts:
    """What the losses are divided by. Add those of all devices and micro-batches of a step: its
    losses then add up to the same numbers however it is divided (as long as the parts are padded to
    one size).
    """

    masks: float
    """Instances times frames: `num_masks` of the released code, for focal and dice (at least 1). It
    is also the number of matched pairs, by which the intersection is averaged, unless a clip has
    more instances than there are queries.
    """
    frames: float
    """Annotated frames of all clips (T' * B), for the reference loss."""
    flow_pairs: float
    """(annotated frame, neighbour) pairs with a flow, for the consistency loss."""

    @classmethod
    def of(cls, targets: list[Targets], flow: ClipFlow | None) -> Counts:
        """Counts of one (micro-)batch."""
        return cls(
            masks=float(sum(t.masks.shape[0] * t.masks.shape[1] for t in targets)),
            frames=float(sum(t.masks.shape[1] for t in targets)),
            flow_pairs=float(flow.valid.sum()) if flow is not None else 0.0,
        )

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.masks + other.masks, self.frames + other.frames, self.flow_pairs + other.flow_pairs
        )


class Criterion:
    """The loss of LoSh.

    Args:
        losses: weights; a loss of weight 0 is not computed and its key is absent.
        consistency: how the consistency loss compares frames.
        pipeline: the class of the base pipeline, which knows one stream's losses and costs.
    """

    def __init__(
        self,
        losses: LossParams,
        consistency: ConsistencyParams,
        pipeline: type[RVOSPipeline] = MTTR,
    ) -> None:
        self.losses = losses
        self.consistency = consistency
        self.pipeline = pipeline
        self.weights = {
            **pipeline.weights(losses),
            "intersection": losses.intersection,
            "consistency": losses.consistency,
            "encoder_reference": losses.encoder_reference,
        }

    def __call__(
        self,
        output: LoShOutput,
        targets: list[Targets],
        flow: ClipFlow | None = None,
        counts: Counts | None = None,
    ) -> dict[str, Tensor]:
        """All losses of a batch.

        Args:
            output: of LoSh, for B clips.
            targets: B of them.
            flow: None leaves the consistency loss out.
            counts: of the whole step, where this batch is a part of it; None: of this batch.

        Returns:
            Scalars, not weighted: `reference`, `focal`, `dice` (both streams added), `intersection`
            of the last decoder layer; the same with `_0`, `_1`, ... of the earlier layers
            (`auxiliary`); `consistency`; `encoder_reference`; and `total`, the weighted sum.
        """
        counts = counts or Counts.of(targets, flow)
        device = output.long[-1].masks.device.type
        with torch.autocast(device, enabled=False):
            values = self._layers(output, targets, counts)
            if self.losses.encoder_reference:
                values["encoder_reference"] = self._cells(output, targets) / max(counts.frames, 1.0)
            if self.losses.consistency and flow is not None:
                values["consistency"] = consistency_loss(
                    output.video, output.annotated, flow, self.consistency
                ) / max(counts.flow_pairs, 1.0)
        total = sum(
            self.weights[re.sub(r"_\d+$", "", name)] * value for name, value in values.items()
        )
        return {**values, "total": torch.as_tensor(total, device=device)}

    def match(self, output: LoShOutput, targets: list[Targets], layer: int = -1) -> list[Indices]:
        """The matching of one decoder layer: (query, instance) of each clip."""
        return assign(self._costs(output, self._coarse(targets), layer))

    def _size(self, output: LoShOutput) -> tuple[int, int]:
        """Rows and columns at which masks are compared."""
        height, width = (-(-side // self.losses.mask_stride) for side in output.video.size)
        return height, width

    def _coarse(self, targets: list[Targets]) -> list[Targets]:
        """The targets on the grid of `mask_stride`; expressions of one clip share their masks,
        before and after.
        """
        if self.losses.mask_stride == 1:
            return targets
        pooled = {id(t.masks): covered(t.masks, self.losses.mask_stride) for t in targets}
        return [replace(t, masks=pooled[id(t.masks)]) for t in targets]

    def _costs(self, output: LoShOutput, targets: list[Targets], layer: int) -> list[Tensor]:
        short = output.short[layer] if output.short is not None else None
        return joint_costs(
            output.long[layer],
            short,
            targets,
            self._size(output),
            self.pipeline,
            self.losses.intersection,
            self.losses.intersection_form,
        )

    def _cells(self, output: LoShOutput, targets: list[Targets]) -> Tensor:
        """The reference loss of the encoder's cells, summed over streams and frames."""
        if output.token_scores is None:
            raise UserError(
                "train.losses.encoder_reference: the base pipeline has no scores of the "
                "encoder's cells",
                "Set it to 0",
            )
        return sum(
            (
                token_reference_loss(scores, targets, output.video.strides[-1])
                for scores in output.token_scores
            ),
            start=output.token_scores[0].new_zeros(()),
        )

    def _layers(
        self, output: LoShOutput, targets: list[Targets], counts: Counts
    ) -> dict[str, Tensor]:
        targets = self._coarse(targets)
        last = len(output.long) - 1
        layers = [last, *range(last)] if self.losses.auxiliary else [last]
        costs = [cost for layer in layers for cost in self._costs(output, targets, layer)]
        matches = assign(costs)
        values = {}
        for i, layer in enumerate(layers):
            suffix = "" if layer == last else f"_{layer}"
            indices = matches[i * len(targets) : (i + 1) * len(targets)]
            values |= {
                name + suffix: value
                for name, value in self._layer(output, layer, targets, indices, counts).items()
            }
        return values

    def _layer(
        self,
        output: LoShOutput,
        layer: int,
        targets: list[Targets],
        indices: list[Indices],
        counts: Counts,
    ) -> dict[str, Tensor]:
        size, params = self._size(output), self.losses
        sums = self.pipeline.stream_losses(output.long[layer], targets, indices, size, params)
        if output.short is not None:
            short = self.pipeline.stream_losses(output.short[layer], targets, indices, size, params)
            sums = {name: value + short[name] for name, value in sums.items()}
            if params.intersection:
                logits = [
                    matched_logits(stream[layer].masks, indices, size)
                    for stream in (output.long, output.short)
                ]
                sums["intersection"] = intersection_loss(*logits, params.intersection_form)
        divisors = {"reference": max(counts.frames, 1.0)}
        return {
            name: value / divisors.get(name, max(counts.masks, 1.0)) for name, value in sums.items()
        }
