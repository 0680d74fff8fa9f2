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
from losh.evaluate.metrics.bootstrap import clip_interval
from losh.evaluate.metrics.by_kind import Judged, scores_by_kind
from losh.evaluate.outputs.table import ExpressionRow
from losh.evaluate.protocols.baselines import Baselines
from losh.evaluate.protocols.setup import EvaluationSetup, Result, ShownMask
from losh.evaluate.protocols.stream_masks import stream_masks
from losh.inference.overlap import Overlap
from losh.inference.streams import Prediction
from losh.model.structures import FrameSizes, size_of
from losh.moving_shapes.single_frame import GROUPS


@dataclass
class Tally:
    """What samples have scored, of one process or of all."""

    trivial: dict[str, Overlap]
    """Of each trivial predictor."""
    overlap: Overlap = field(default_factory=Overlap)
    precision: CocoAccumulator = field(default_factory=CocoAccumulator)
    judged: dict[str, Judged] = field(default_factory=dict)
    """Sample id -> its clip, kind and IoUs."""
    result: Result = field(default_factory=Result.empty)

    def merge(self, other: Tally) -> None:
        """Take over another process's samples."""
        self.overlap.merge(other.overlap)
        self.precision.merge(other.precision)
        for name, part in other.trivial.items():
            self.trivial[name].merge(part)
        self.judged = other.judged | self.judged
        self.result.merge(other.result)

    def scores(self) -> dict[str, Any]:
        """Return the metrics; empty without a sample."""
        if not self.result.rows:
            return {}
        judged = [self.judged[sample] for sample in sorted(self.judged)]
        metrics: dict[str, Any] = self.overlap.scores() | self.precision.scores()
        metrics |= clip_interval([one.clip for one in judged], [one.iou for one in judged])
        if judged[0].trivial:
            metrics["trivial"] = self._trivial(judged)
        if judged[0].kind:
            metrics["kinds"] = scores_by_kind(judged, GROUPS)
        return metrics

    def _trivial(self, judged: list[Judged]) -> dict[str, dict[str, float]]:
        """All scores of the predictors with a mask, the mean IoU of those without."""
        return {
            name: self.trivial[name].scores()
            if name in self.trivial
            else {"mean_iou": float(np.mean([one.trivial[name] for one in judged]))}
            for name in judged[0].trivial
        }


def evaluate_a2d(setup: EvaluationSetup, samples: list[Sample]) -> Result:
    """Score samples, shared out over the processes, each once.

    The best query's mask gives the IoUs and precisions; all queries' masks give mAP as published,
    the best query's alone ours.
    """
    processes, name = setup.processes, setup.store.index["name"]
    baselines = Baselines(setup.store, setup.params.trivial)
    tally = Tally({name: Overlap() for name in baselines.names})
    mine = samples[processes.rank :: processes.world]
    skipped = tally.result.skipped if setup.params.on_error == "skip" else None
    batches = setup.predictor.windows(mine, setup.root, best_only=False, skipped=skipped)
    hidden = not processes.is_main
    with tqdm(total=len(mine), desc=f"evaluate {name}", unit="sample", disable=hidden) as bar:
        for batch, found in batches:
            padded = size_of(batch.clips.frames.shape[-2:])
            for (clip, sample), prediction in zip(batch.samples(), found, strict=True):
                _score(setup, tally, baselines, clip, sample, prediction, padded)
            bar.update(len(batch.long))
    total = Tally({name: Overlap() for name in tally.trivial})
    for other in processes.gather(tally):
        total.merge(other)
    total.result.metrics = total.scores()
    return total.result


def _score(
    setup: EvaluationSetup,
    tally: Tally,
    baselines: Baselines,
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
    kind, trivial = baselines.kind(sample, t, truths)
    for name, mask in baselines.masks(sample, truths).items():
        trivial[name] = tally.trivial[name].add(sample.sample_id, mask, truth)
    tally.judged[sample.sample_id] = Judged(sample.video, kind, iou, trivial)
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
        kind=kind,
    )
    tally.result.rows.append(row)
    chosen = [stream[0, best : best + 1] for stream in prediction.logits]
    streams = stream_masks(setup, chosen, sizes)
    tally.result.predictions[row.key] = ShownMask(t, codes[best], streams, sample)
