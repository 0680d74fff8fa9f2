"""From LoSh's output to scores and masks: which streams decide, and the way back to the size of the
original frame.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from losh.model.mask_losses import resized
from losh.model.pipeline import RVOSPipeline
from losh.model.structures import LoShOutput
from losh.pipelines.mttr.network import MTTR

Rule = Literal["long", "product", "intersection", "mean"]
"""`long`: the long stream alone (released behaviour). The joint rules are ours: the streams'
probabilities are multiplied (`product`), the smaller one is taken (`intersection`: above a
threshold where both are), or they are averaged (`mean`).
"""


def masks_and_scores(
    output: LoShOutput, rule: Rule, best_only: bool = False, pipeline: type[RVOSPipeline] = MTTR
) -> tuple[Tensor, Tensor]:
    """Probabilities of the last decoder layer.

    Args:
        output: of LoSh.
        rule: see `Rule`. Without a short stream every rule is `long`.
        best_only: return the masks of the best query of each clip alone (mean score over its
            frames), which needs N times less memory.
        pipeline: the class of the base pipeline.

    Returns:
        scores [B, K, N], the probability that a query is the referred object, and masks [B, K, N,
        H, W] (or [B, K, 1, H, W]), mask probabilities at the size of the padded network input.
    """
    streams = [output.long[-1]]
    if rule != "long" and output.short is not None:
        streams.append(output.short[-1])
    scores = joined([pipeline.referred_prob(stream) for stream in streams], rule)
    logits = [stream.masks for stream in streams]
    if best_only:
        best = best_query(scores)
        rows = torch.arange(len(best), device=best.device)
        logits = [
            x[rows, :, best][:, :, None] for x in logits
        ]  # [B, K, N, h, w] -> [B, K, 1, h, w]
    clips = logits[0].shape[0]
    masks = [
        resized(x.flatten(0, 1), output.video.size).sigmoid().unflatten(0, (clips, -1))
        for x in logits
    ]
    return scores, joined(masks, rule)


def best_query(scores: Tensor) -> Tensor:
    """The query with the highest score, averaged over a clip's frames: [B, K, N] -> [B] long."""
    return scores.mean(1).argmax(-1)


def joined(streams: list[Tensor], rule: Rule) -> Tensor:
    """Probabilities of one or two streams as one, by `rule`; shape unchanged."""
    if len(streams) == 1:
        return streams[0]
    long, short = streams
    if rule == "product":
        return long * short
    return torch.minimum(long, short) if rule == "intersection" else (long + short) / 2


def to_original(
    masks: Tensor, threshold: float, size: tuple[int, int], original: tuple[int, int]
) -> Tensor:
    """Mask probabilities [..., H, W] of the padded network input -> bool [..., H0, W0] of the
    original frame (released behaviour).

    Args:
        threshold: a pixel belongs to the mask above it; applied before the resizing.
        size: (h, w) of the clip in the network input, without padding.
        original: (H0, W0) of the frame; reached by nearest-neighbour resizing.
    """
    cropped = masks[..., : size[0], : size[1]] > threshold
    flat = cropped.reshape(1, -1, *size).float()  # [..., h, w] -> [1, M, h, w]
    return (
        F.interpolate(flat, size=original, mode="nearest")
        .bool()
        .reshape(*masks.shape[:-2], *original)
    )
