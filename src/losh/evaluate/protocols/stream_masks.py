"""What each stream alone would have masked: for people to look at, not for scores."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from losh.evaluate.metrics.average_precision import Rle, encode
from losh.evaluate.protocols.setup import EvaluationSetup
from losh.model.structures import FrameSizes

STREAMS = ("long", "short")


def stream_masks(
    setup: EvaluationSetup, logits: Sequence[Tensor], sizes: FrameSizes
) -> dict[str, Rle]:
    """Cut each stream's logits [1, h, w] of one query into a mask; stream -> its code.

    Empty where no pictures are asked for, and where one stream decides alone: its mask is the one
    that is scored.
    """
    if not setup.params.pictures or len(logits) < len(STREAMS):
        return {}
    rule = setup.predictor.model.base.mask_rule(setup.protocol)
    found = {}
    for name, stream in zip(STREAMS, logits, strict=True):
        masks = rule.masks(rule.probabilities(stream, sizes), sizes, setup.predictor.threshold)
        found[name] = encode(masks.cpu().numpy())[0]
    return found
