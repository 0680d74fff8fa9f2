"""The Refer-DAVIS17 protocol as papers print it: label maps, scored by DAVIS's unsupervised task.

Facts, from the public evaluation of the benchmark (davisvideochallenge/davis2017-evaluation) and
from the inference script that the published systems share (ReferFormer's, copied by its
successors):

* The label map: probabilities under 0.5 are set to 0, a background of 0.1 everywhere is put before
  the objects, and each pixel takes the largest.
* The task scores every frame. (Only the semi-supervised task leaves out the first and the last
  one.)
* The objects are 1 to the largest id in the first annotated frame. Void pixels (255) count neither
  way.
* J and F of each predicted with each true object are averaged over the frames, and the assignment
  with the largest sum of their means is taken; missing predictions are empty masks. This is
  generous: an object found under another's expression counts as found. So the plain score of each
  expression stands beside it.
* An expression set's score is the mean over the objects of all videos; the published number is the
  mean of the four sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from losh.evaluate.metrics.j_and_f import mean_scores, pairwise_j_and_f
from losh.media.decoding import VOID

# Two annotators x (first frame, full video)
EXPRESSION_SETS = ("annot1", "annot1_full_video", "annot2", "annot2_full_video")
BACKGROUND = 0.1


@dataclass(frozen=True)
class ObjectScore:
    """The scores of one object, or of one expression, over a video."""

    video: str
    instance: str
    j: float
    f: float
    predicted: int = 0
    """The label that was assigned to it, from 1; 0 where nothing is assigned (plain scores)."""


def objects_to_score(first_frame: Iterable[str]) -> list[str]:
    """Return a video's true objects, 1 to the largest id in its first annotated frame."""
    return [
        str(instance)
        for instance in range(1, max((int(instance) for instance in first_frame), default=0) + 1)
    ]


def label_map(probabilities: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Put all objects into one label map.

    Args:
        probabilities: float `[P, ..., H, W]`, of P objects, in the order of their labels.
        threshold: probabilities under it count as 0.

    Returns:
        uint8 `[..., H, W]`: 0 background, p + 1 for object p; of equal probabilities the first
        object's.
    """
    best = probabilities.max(axis=0)
    labels = (probabilities.argmax(axis=0) + 1).astype(np.uint8)
    labels[(best < threshold) | (best <= BACKGROUND)] = 0
    return labels


class UnsupervisedVideo:
    """Scores one video of an expression set, in chunks of frames.

    Memory does not grow with the video's length.
    """

    def __init__(self, video: str, num_predicted: int, instances: Sequence[str]) -> None:
        """Up to `num_predicted` labels occur; `instances` are the true objects to score."""
        self.video = video
        self.instances = list(instances)
        # What is not predicted is an empty mask.
        self.num_labels = max(num_predicted, len(self.instances))
        self.last_label = 0
        self.num_frames = 0
        self.sums = np.zeros((2, self.num_labels, len(self.instances)))

    def add(
        self,
        labels: np.ndarray,
        truths: np.ndarray,
        void: np.ndarray | None = None,
        threads: int | None = None,
    ) -> None:
        """Add T frames that have ground truth.

        Args:
            labels: uint8 `[T, H, W]`, of `label_map`.
            truths: bool `[O, T, H, W]`, the true masks of `instances`.
            void: bool `[T, H, W]`: pixels that count neither way.
            threads: how many to use; None for one per core.
        """
        predictions = (
            labels[None] == np.arange(1, self.num_labels + 1, dtype=np.uint8)[:, None, None, None]
        )
        self.sums += np.stack(pairwise_j_and_f(predictions, truths, void, threads)).sum(axis=-1)
        self.num_frames += len(labels)
        self.last_label = max(self.last_label, int(labels.max(initial=0)))

    def scores(self) -> list[ObjectScore]:
        """Return the true objects' scores under the best assignment, in their order.

        Without objects it is [].

        Raises:
            ValueError: no frames were added.
        """
        if not self.num_frames:
            raise ValueError(f"no frames of {self.video} were scored")
        # Labels above the last one that occurs are no candidates, empty masks as they are: the
        # benchmark counts objects by it.
        candidates = max(self.last_label, len(self.instances))
        j, f = self.sums[:, :candidates] / self.num_frames  # [P, O] each
        predicted, true = linear_sum_assignment((j + f) / 2, maximize=True)
        by_object = sorted(zip(true.tolist(), predicted.tolist(), strict=True))
        return [
            ObjectScore(self.video, self.instances[o], float(j[p, o]), float(f[p, o]), p + 1)
            for o, p in by_object
        ]


def davis_unsupervised(
    video: str, labels: np.ndarray, truth: np.ndarray, threads: int | None = None
) -> list[ObjectScore]:
    """Score a whole video at once from two label maps, uint8 `[T, H, W]`; 255 in `truth`: void."""
    instances = objects_to_score(
        str(label) for label in np.unique(truth[0]) if label not in (0, VOID)
    )
    scorer = UnsupervisedVideo(video, int(labels.max(initial=0)), instances)
    truths = truth[None] == np.arange(1, len(instances) + 1, dtype=np.uint8)[:, None, None, None]
    scorer.add(labels, truths, truth == VOID, threads)
    return scorer.scores()


def davis_results(
    unsupervised: Mapping[str, Sequence[ObjectScore]], plain: Mapping[str, Sequence[ObjectScore]]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the metrics of all expression sets.

    Keys are `davis_unsupervised.annot1.j_and_f`, `per_expression.mean.j` and so on.

    Args:
        unsupervised: expression set -> the scores of the objects of all its videos under the best
            assignment.
        plain: expression set -> the scores of all its expressions, each against its own object.

    Returns:
        For both, each set's `j`, `f`, `j_and_f`, and under `mean` their mean over the sets (the
        published number is `davis_unsupervised.mean.j_and_f`).
    """
    return {"davis_unsupervised": _by_set(unsupervised), "per_expression": _by_set(plain)}


def _by_set(scores: Mapping[str, Sequence[ObjectScore]]) -> dict[str, dict[str, float]]:
    by_set = {
        name: mean_scores([score.j for score in scores[name]], [score.f for score in scores[name]])
        for name in sorted(scores)
    }
    mean = {
        key: float(np.mean([values[key] for values in by_set.values()]))
        for key in ("j", "f", "j_and_f")
    }
    return by_set | {"mean": mean}
