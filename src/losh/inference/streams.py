"""From LoSh's output to scores and masks: which streams decide, and how they are joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from losh.model.pipeline import MaskRule, RVOSPipeline
from losh.model.structures import FrameSizes, LoShOutput

Rule = Literal["long", "product", "intersection", "mean"]
"""`long`: the long stream alone (released behaviour). The joint rules are ours: the streams'
probabilities are multiplied (`product`), the smaller one is taken (`intersection`: above a
threshold where both are), or they are averaged (`mean`)."""


@dataclass(frozen=True)
class Prediction:
    """What the last decoder layer says of one expression."""

    scores: Tensor
    """[K, N]: the probability that a query is the referred object, the streams joined."""
    logits: list[Tensor]
    """Per stream that decides, final mask logits [K, N, h, w], or [K, 1, h, w] of the best query
    alone."""

    @property
    def best(self) -> int:
        """The query of the highest score, averaged over the frames."""
        return int(self.scores.mean(0).argmax())


@torch.no_grad()
def predictions(
    pipeline: RVOSPipeline, output: LoShOutput, rule: Rule, best_only: bool = False
) -> list[Prediction]:
    """Read the last decoder layer: one prediction for each of the E expressions.

    Args:
        rule: see `Rule`. Without a short stream every rule is `long`.
        best_only: refine the best query alone, which needs N times less memory and time.
    """
    streams = [output.long[-1]]
    if rule != "long" and output.short is not None:
        streams.append(output.short[-1])
    scores = joined([pipeline.referred_prob(stream) for stream in streams], rule)  # [E, K, N]
    expressions, _, queries = scores.shape
    device = scores.device
    if best_only:
        rows, chosen = torch.arange(expressions, device=device), best_query(scores)
    else:
        rows = torch.arange(expressions, device=device).repeat_interleave(queries)
        chosen = torch.arange(queries, device=device).repeat(expressions)
    logits = [
        pipeline.refine(stream, rows, chosen, output.selected)  # [E * N or E, K, h, w]
        .unflatten(0, (expressions, -1))
        .transpose(1, 2)
        for stream in streams
    ]
    return [Prediction(scores[e], [x[e].float() for x in logits]) for e in range(expressions)]


def best_query(scores: Tensor) -> Tensor:
    """Return the query with the highest score, averaged over the frames: [B, K, N] -> [B] long."""
    return scores.mean(1).argmax(-1)


def joined(streams: list[Tensor], rule: Rule) -> Tensor:
    """Join probabilities of one or two streams by `rule`; the shape stays."""
    if len(streams) == 1:
        return streams[0]
    long, short = streams
    if rule == "product":
        return long * short
    return torch.minimum(long, short) if rule == "intersection" else (long + short) / 2


def joint_probabilities(
    logits: list[Tensor], rule: Rule, mask_rule: MaskRule, sizes: FrameSizes
) -> Tensor:
    """Turn the streams' logits [P, h, w] into joint probabilities on the mask rule's grid."""
    return joined([mask_rule.probabilities(x, sizes) for x in logits], rule)
