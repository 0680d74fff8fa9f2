"""The A2D-Sentences protocol: one annotated frame per sample.

JHMDB-Sentences and MovingShapes have it too, and each split of RefCOCO, where a picture is a window
of one frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from losh.clips.dataset import LoadedClip
from losh.clips.samples import Sample
from losh.evaluate.metrics.average_precision import CocoAccumulator, encode
from losh.evaluate.protocols.setup import EvaluationSetup, Result
from losh.evaluate.report.table import ExpressionRow
from losh.inference.overlap import Overlap
from losh.inference.streams import Prediction
from losh.model.structures import FrameSizes, size_of
from losh.moving_shapes.trivial import largest_object, trivial_masks

TRIVIAL_SEED = 0


@dataclass
class Tally:
    """What samples have scored, of one process or of all."""

    trivial: dict[str, Overlap]
    """Of each trivial predictor."""
    overlap: Overlap = field(default_factory=Overlap)
    precision: CocoAccumulator = field(default_factory=CocoAccumulator)
    result: Result = field(default_factory=Result.empty)

    def merge(self, other: Tally) -> None:
        """Take over another process's samples."""
        self.overlap.merge(other.overlap)
        self.precision.merge(other.precision)
        for name, part in other.trivial.items():
            self.trivial[name].merge(part)
        self.result.merge(other.result)

    def scores(self) -> dict[str, Any]:
        """Return the metrics; empty without a sample."""
        if not self.result.rows:
            return {}
        metrics: dict[str, Any] = self.overlap.scores() | self.precision.scores()
        if self.trivial:
            metrics["trivial"] = {name: part.scores() for name, part in self.trivial.items()}
        return metrics


def evaluate_a2d(setup: EvaluationSetup, samples: list[Sample]) -> Result:
    """Score samples, shared out over the processes, each once.

    The best query's mask gives the IoUs and precisions; all queries' masks give mAP as published,
    the best query's alone ours.
    """
    processes, name = setup.processes, setup.store.index["name"]
    tally = Tally({name: Overlap() for name in _trivial_names(setup)})
    mine = samples[processes.rank :: processes.world]
    skipped = tally.result.skipped if setup.params.on_error == "skip" else None
    batches = setup.predictor.windows(mine, setup.root, best_only=False, skipped=skipped)
    hidden = not processes.is_main
    with tqdm(total=len(mine), desc=f"evaluate {name}", unit="sample", disable=hidden) as bar:
        for batch, found in batches:
            padded = size_of(batch.clips.frames.shape[-2:])
            for (clip, sample), prediction in zip(batch.samples(), found, strict=True):
                _score(setup, tally, clip, sample, prediction, padded)
            bar.update(len(batch.long))
    total = Tally({name: Overlap() for name in tally.trivial})
    for other in processes.gather(tally):
        total.merge(other)
    total.result.metrics = total.scores()
    return total.result


def _trivial_names(setup: EvaluationSetup) -> list[str]:
    if not setup.params.trivial:
        return []
    if "objects" in setup.store.index:
        return ["largest_object", "random_object_of_named_colour"]
    # One person a video in JHMDB: its largest object is the answer.
    return ["largest_object"] if setup.store.index["kind"] == "a2d_sentences" else []


def _score(
    setup: EvaluationSetup,
    tally: Tally,
    clip: LoadedClip,
    sample: Sample,
    prediction: Prediction,
    padded: tuple[int, int],
) -> None:
    """Score one sample with one annotated frame; `padded` is the size of its batch's input."""
    t = sample.window[sample.annotated[0]]
    truths = setup.store.masks(sample.video, t)
    truth = truths[sample.instance]
    sizes = FrameSizes(padded, size_of(clip.frames.shape[1:3]), size_of(truth.shape))
    predicted = setup.predictor.masks(prediction, 0, sizes, setup.protocol)  # [N, H0, W0]
    best, scores = prediction.best, prediction.scores[0].tolist()
    iou = tally.overlap.add(sample.sample_id, predicted[best], truth)
    codes = encode(np.concatenate([predicted, truth[None]]))
    queries = list(zip(scores, codes[:-1], strict=True))
    tally.precision.add(sample.sample_id, codes[-1], queries)
    intersection, union = tally.overlap.areas[sample.sample_id]
    row = ExpressionRow(
        sample.video,
        sample.expression_set,
        sample.expression_id,
        sample.instance,
        t,
        1,
        sample.long,
        sample.short,
        scores[best],
        iou,
        intersection,
        union,
    )
    tally.result.rows.append(row)
    tally.result.predictions[row.key] = (t, codes[best])
    for name, mask in _trivial(setup, sample, truths, list(tally.trivial)).items():
        tally.trivial[name].add(sample.sample_id, mask, truth)


def _trivial(
    setup: EvaluationSetup, sample: Sample, truths: dict[str, np.ndarray], names: list[str]
) -> dict[str, np.ndarray]:
    if not names:
        return {}
    seen = {name: mask for name, mask in truths.items() if mask.any()}
    objects: dict[str, Any] | None = setup.store.index.get("objects")
    if objects is None:
        return {"largest_object": largest_object(seen)}
    return trivial_masks(sample.long, seen, objects[sample.video], TRIVIAL_SEED)
