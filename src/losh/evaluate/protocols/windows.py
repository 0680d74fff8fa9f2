"""The A2D-Sentences protocol (also JHMDB-Sentences and MovingShapes): one annotated frame a
sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from losh.clips.dataset import LoadedClip
from losh.clips.samples import Sample
from losh.evaluate.metrics.average_precision import CocoAccumulator, encode
from losh.evaluate.protocols.setup import EvaluationSetup, Result
from losh.evaluate.report.table import ExpressionRow
from losh.inference.forward import score_windows
from losh.inference.overlap import Overlap
from losh.inference.streams import best_query, to_original
from losh.moving_shapes.trivial import largest_object, trivial_masks

TRIVIAL_SEED = 0


def evaluate_a2d(context: EvaluationSetup, samples: list[Sample]) -> Result:
    """Score samples, shared out over the processes, each once.

    The best query's mask gives the IoUs and precisions; all queries' masks give mAP as published,
    the best query's alone ours.
    """
    processes, params = context.processes, context.params
    overlap, precision = Overlap(), CocoAccumulator()
    trivial = {name: Overlap() for name in _trivial_names(context)}
    result = Result.empty()
    mine = samples[processes.rank :: processes.world]
    skipped = result.skipped if params.on_error == "skip" else None
    batches = score_windows(
        context.model,
        context.texts,
        mine,
        context.root,
        context.input_size,
        params.batch_size,
        context.dtype,
        params.rule,
        False,
        skipped,
        by_window=params.order == "window",
    )
    with tqdm(
        total=len(mine),
        desc=f"evaluate {context.store.index['name']}",
        unit="sample",
        disable=not processes.is_main,
    ) as bar:
        for batch, scores, masks in batches:
            for (clip, sample), sample_scores, sample_masks in zip(
                batch.samples(), scores, masks, strict=True
            ):
                _score(
                    context,
                    clip,
                    sample,
                    sample_scores,
                    sample_masks,
                    overlap,
                    precision,
                    trivial,
                    result,
                )
            bar.update(len(batch.long))
    total_overlap, total_precision, total = Overlap(), CocoAccumulator(), Result.empty()
    total_trivial = {name: Overlap() for name in trivial}
    for other_overlap, other_precision, other_trivial, other in processes.gather(
        (overlap, precision, trivial, result)
    ):
        total_overlap.merge(other_overlap)
        total_precision.merge(other_precision)
        for name, part in other_trivial.items():
            total_trivial[name].merge(part)
        total.merge(other)
    if not total.rows:
        return total
    total.metrics = total_overlap.scores() | total_precision.scores()
    if trivial:
        total.metrics["trivial"] = {name: part.scores() for name, part in total_trivial.items()}
    return total


def _trivial_names(context: EvaluationSetup) -> list[str]:
    if not context.params.trivial:
        return []
    if "objects" in context.store.index:
        return ["largest_object", "random_object_of_named_colour"]
    # One person a video in JHMDB: its largest object is the answer.
    return ["largest_object"] if context.store.index["kind"] == "a2d_sentences" else []


def _score(
    context: EvaluationSetup,
    clip: LoadedClip,
    sample: Sample,
    scores: torch.Tensor,
    masks: torch.Tensor,
    overlap: Overlap,
    precision: CocoAccumulator,
    trivial: dict[str, Overlap],
    result: Result,
) -> None:
    """One sample: scores [K, N] and mask probabilities [K, N, H, W] with K = 1."""
    t = sample.window[sample.annotated[0]]
    truths = context.store.masks(sample.video, t)
    truth = truths[sample.instance]
    predicted = (
        to_original(masks[0], context.params.threshold, clip.frames.shape[1:3], truth.shape)
        .cpu()
        .numpy()
    )  # [N, H0, W0]
    best = int(best_query(scores[None])[0])
    iou = overlap.add(sample.sample_id, predicted[best], truth)
    codes = encode(np.concatenate([predicted, truth[None]]))
    precision.add(
        sample.sample_id, codes[-1], list(zip(scores[0].tolist(), codes[:-1], strict=True))
    )
    intersection, union = overlap.areas[sample.sample_id]
    row = ExpressionRow(
        sample.video,
        sample.expression_set,
        sample.expression_id,
        sample.instance,
        t,
        1,
        sample.long,
        sample.short,
        float(scores[0, best]),
        iou,
        intersection,
        union,
    )
    result.rows.append(row)
    result.predictions[row.key] = (t, codes[best])
    for name, mask in _trivial(context, sample, truths, list(trivial)).items():
        trivial[name].add(sample.sample_id, mask, truth)


def _trivial(
    context: EvaluationSetup, sample: Sample, truths: dict[str, np.ndarray], names: list[str]
) -> dict[str, np.ndarray]:
    if not names:
        return {}
    seen = {name: mask for name, mask in truths.items() if mask.any()}
    objects: dict[str, Any] | None = context.store.index.get("objects")
    if objects is None:
        return {"largest_object": largest_object(seen)}
    return trivial_masks(sample.long, seen, objects[sample.video], TRIVIAL_SEED)
