"""What stands beside the model's scores: trivial predictors, and the kind of each sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from losh.clips.samples import Sample
from losh.frames import FrameStore
from losh.moving_shapes.single_frame import candidates, expected_iou, kind_of_sample
from losh.moving_shapes.trivial_predictors import largest_object, trivial_masks
from losh.moving_shapes.truth import Truth, read_truth

SEED = 0
SINGLE_FRAME = "best_single_frame_guess"


class Baselines:
    """Trivial predictions and kinds of one dataset's samples, as far as its index tells.

    JHMDB has one person a video, whose mask is the answer: no predictor. A2D-Sentences has the
    largest object. MovingShapes has all, and kinds.
    """

    def __init__(self, store: FrameStore, wanted: bool) -> None:
        self.objects: dict[str, Any] | None = store.index.get("objects")
        self.names: list[str] = []
        """Of the predictors with a mask."""
        if wanted and self.objects is not None:
            self.names = ["largest_object", "random_object_of_named_colour"]
        elif wanted and store.index["kind"] == "a2d_sentences":
            self.names = ["largest_object"]
        self.wanted = wanted
        self.truths: dict[str, Truth] = {
            video: read_truth(values) for video, values in store.index.get("scenes", {}).items()
        }

    def masks(self, sample: Sample, truths: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Predictor -> its mask; `truths` are the frame's true masks by instance."""
        if not self.names:
            return {}
        seen = {name: mask for name, mask in truths.items() if mask.any()}
        if self.objects is None:
            return {"largest_object": largest_object(seen)}
        return trivial_masks(sample.long, seen, self.objects[sample.video], SEED)

    def kind(
        self, sample: Sample, frame: int, truths: dict[str, np.ndarray]
    ) -> tuple[str, dict[str, float]]:
        """Return the sample's kind, and what the best single-frame guess may expect.

        The kind is "" where the dataset does not tell. What the guess may expect is an IoU, by its
        name.
        """
        if sample.video not in self.truths:
            return "", {}
        known, place = self.truths[sample.video], int(sample.expression_id)
        fitting = candidates(known.scene, known.meanings[place], frame)
        guess = expected_iou(fitting, truths, truths[sample.instance])
        kind = kind_of_sample(known.kinds[place], fitting)
        return kind, {SINGLE_FRAME: guess} if self.wanted else {}
