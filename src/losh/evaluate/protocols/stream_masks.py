"""What each stream alone would have masked: for people to look at, not for scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from losh.evaluate.metrics.average_precision import Rle, encode
from losh.evaluate.outputs.table import ExpressionRow
from losh.evaluate.protocols.setup import EvaluationSetup, ShownMask
from losh.inference.streams import Rule
from losh.inference.whole_video import track
from losh.model.structures import FrameSizes, size_of
from losh.runtime.resume import SCRATCH

STREAMS = ("long", "short")
JOINT: Rule = "mean"
"""How pictures join the streams where the scored mask is the long stream's alone (our choice)."""


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


def with_both_streams(setup: EvaluationSetup, row: ExpressionRow, shown: ShownMask) -> ShownMask:
    """Add the short stream's mask and the joint one where the rule reads the long stream alone.

    Evaluation does not run the short stream then; the few cases that are shown are predicted once
    more, with both streams and the query that they agree on.
    """
    predictor = setup.predictor
    if shown.others or not predictor.model.short_stream or predictor.rule != "long":
        return shown
    setup = replace(setup, predictor=replace(predictor, rule=JOINT))
    found = _of_video(setup, row, shown) if shown.sample is None else _of_window(setup, shown)
    return replace(shown, others={name: found[name] for name in ("short", "joint")})


def _of_window(setup: EvaluationSetup, shown: ShownMask) -> dict[str, Rle]:
    sample, predictor = shown.sample, setup.predictor
    assert sample is not None
    batch, (prediction,) = next(predictor.windows([sample], setup.root, best_only=True))
    truth = setup.store.masks(sample.video, shown.frame)[sample.instance]
    padded, clip = (
        size_of(batch.clips.frames.shape[-2:]),
        size_of(batch.loaded[0].frames.shape[1:3]),
    )
    sizes = FrameSizes(padded, clip, size_of(truth.shape))
    joint = predictor.masks(prediction, 0, sizes, setup.protocol)
    streams = stream_masks(setup, [stream[0] for stream in prediction.logits], sizes)
    return streams | {"joint": encode(joint)[0]}


def _of_video(setup: EvaluationSetup, row: ExpressionRow, shown: ShownMask) -> dict[str, Rle]:
    frame_of = partial(setup.store.frame, row.video)
    frames, sentences = setup.store.videos[row.video]["num_frames"], [(row.text, row.short_text)]
    height, width = shown.scored["size"]
    with track(
        setup.predictor,
        frame_of,
        frames,
        sentences,
        setup.params.chunk,
        setup.protocol,
        SCRATCH / "evaluate",
    ) as (found,):
        mask = found.mask(shown.frame, (height, width))
        sizes = found.sizes((height, width))
        streams = stream_masks(setup, found.logits_at(shown.frame), sizes)
    return streams | {"joint": encode(mask[None])[0]}
