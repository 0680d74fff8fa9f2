"""mAP 0.5:0.95 by pycocotools, each sample an image with one true object of one category."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Rle = dict[str, Any]
"""COCO compressed run-length code: {"size": [H, W], "counts": str or bytes}."""

MOST_DETECTIONS = 100  # an image; pycocotools' own limit for AP
CATEGORY = (
    1  # pycocotools wants one; ids start at 1, since it reads a matched id of 0 as "no match"
)


def encode(masks: np.ndarray) -> list[Rle]:
    """Masks `[N, H, W]` (bool) as N run-length codes."""
    return coco_mask.encode(np.asfortranarray(np.moveaxis(masks, 0, -1).astype(np.uint8)))


@dataclass(frozen=True)
class SampleQueries:
    """What mAP needs of a sample's queries: both float64 `[N]`, by falling score.

    Of equal scores the first query comes first.
    """

    scores: np.ndarray
    ious: np.ndarray


@dataclass
class CocoAccumulator:
    """Samples for mAP, gathered on one device or several.

    A sample has one true mask, so all that COCO's matching reads of the queries' masks is their IoU
    with it. Those are computed as samples come, by pycocotools, and the masks are let go: 16 bytes
    a query stay. The results do not depend on the order in which samples come: images are numbered
    by their sorted ids, which decides between equal scores of different samples.
    """

    samples: dict[str, SampleQueries] = field(default_factory=dict)

    def add(self, sample: str, truth: Rle, queries: Sequence[tuple[float, Rle]]) -> None:
        """Add one sample: its true mask, and the score and mask of each of the N queries.

        An empty predicted mask is a false positive, and an empty true mask is an object that
        nothing finds (IoU 0), as in pycocotools.

        Raises:
            ValueError: the sample was added before, a score is not a number, or a mask has another
                size than the truth.
        """
        if sample in self.samples:
            raise ValueError(f"sample {sample!r} was scored twice")
        scores = np.array([score for score, _ in queries], np.float64)
        if not np.isfinite(scores).all():
            raise ValueError(f"sample {sample!r} has a score that is not finite")
        if any(list(mask["size"]) != list(truth["size"]) for _, mask in queries):
            raise ValueError(
                f"sample {sample!r} has a predicted mask that is not of the true mask's size "
                f"{list(truth['size'])}"
            )
        order = np.argsort(-scores, kind="stable")
        ious = (
            np.zeros(0)
            if not queries
            else np.asarray(coco_mask.iou([queries[i][1] for i in order], [truth], [0]))[:, 0]
        )
        self.samples[sample] = SampleQueries(scores[order], ious)

    def merge(self, other: CocoAccumulator) -> None:
        """Take over another device's samples.

        One that both have (a sampler's padding) is counted once, as it stands here.
        """
        self.samples = other.samples | self.samples

    def scores(self) -> dict[str, float]:
        """Return AP with all queries' masks, and with the best query's alone.

        Published systems submit all; the latter is ours besides.

        Returns:
            `map_all_queries` (mean over IoU 0.5:0.95), `ap50_all_queries`, `ap75_all_queries`, and
            the same `..._best_query`.

        Raises:
            ValueError: there are no samples.
        """
        if not self.samples:
            raise ValueError("no samples were scored")
        samples = [self.samples[sample] for sample in sorted(self.samples)]
        best = [SampleQueries(sample.scores[:1], sample.ious[:1]) for sample in samples]
        return _named(samples, "all_queries") | _named(best, "best_query")


class _OneObjectEval(COCOeval):
    """pycocotools' evaluation, given the IoUs instead of the masks."""

    def __init__(self, samples: list[SampleQueries]) -> None:
        truths = [
            {"id": i, "image_id": i, "category_id": CATEGORY, "iscrowd": 0, "area": 1}
            for i in range(1, len(samples) + 1)
        ]
        detections = [
            {"image_id": i, "category_id": CATEGORY, "score": float(score), "area": 1}
            for i, sample in enumerate(samples, start=1)
            for score in sample.scores
        ]
        detections = [detection | {"id": i} for i, detection in enumerate(detections, start=1)]
        # "bbox", because for "segm" pycocotools would look for the masks.
        super().__init__(
            _coco(len(samples), truths), _coco(len(samples), detections), iouType="bbox"
        )
        self.samples = samples
        self.params.maxDets = [MOST_DETECTIONS]
        # The split by size is not part of the protocol.
        self.params.areaRng, self.params.areaRngLbl = [[0, 1e10]], ["all"]

    def computeIoU(self, imgId: int, catId: int) -> np.ndarray:
        return self.samples[imgId - 1].ious[:MOST_DETECTIONS, None]


def _coco(num_images: int, annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(1, num_images + 1)],
        "categories": [{"id": CATEGORY}],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _named(samples: list[SampleQueries], name: str) -> dict[str, float]:
    """AP, AP50 and AP75 of samples, under `..._<name>`."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = _OneObjectEval(samples)
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, 0, 0]  # [IoU thresholds, recall thresholds]
    at = {
        round(float(threshold), 2): float(row.mean())
        for threshold, row in zip(evaluation.params.iouThrs, precision, strict=True)
    }
    return {
        f"map_{name}": float(precision.mean()),
        f"ap50_{name}": at[0.5],
        f"ap75_{name}": at[0.75],
    }
