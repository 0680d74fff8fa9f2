"""The A2D protocol's overlap scores, worked by hand."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from losh.inference.overlap import Overlap, a2d_scores, intersection_and_union, iou


def bars(intersection: int, union: int) -> tuple[np.ndarray, np.ndarray]:
    """A predicted and a true mask with this overlap."""
    prediction, truth = np.zeros((2, 2, 50), bool)
    truth.ravel()[:union] = True
    prediction.ravel()[:intersection] = True
    return prediction, truth


def share(samples: list[tuple[str, int, int]]) -> Overlap:
    """What one process does (at module level, so that a spawned process finds it)."""
    overlap = Overlap()
    for sample, intersection, union in samples:
        overlap.add(sample, *bars(intersection, union))
    return overlap


def test_intersection_and_union_of_many_frames() -> None:
    prediction = np.array([[[1, 1, 0]], [[0, 0, 0]]], bool)
    truth = np.array([[[0, 1, 1]], [[0, 0, 1]]], bool)
    intersection, union = intersection_and_union(prediction, truth)
    assert (intersection.tolist(), union.tolist()) == ([1, 0], [3, 1])
    with pytest.raises(ValueError, match="bool"):
        intersection_and_union(prediction.astype(int), truth)
    with pytest.raises(ValueError, match="one shape"):
        intersection_and_union(prediction[0], truth)


def test_scores_worked_by_hand() -> None:
    # IoU 1/2, 3/4, 9/10, 0: mean 0.5375; overall (10 + 30 + 9 + 0) / (20 + 40 + 10 + 30)
    scores = share([("a", 10, 20), ("b", 30, 40), ("c", 9, 10), ("d", 0, 30)]).scores()
    assert scores == pytest.approx(
        {
            "mean_iou": 0.5375,
            "overall_iou": 0.49,
            "precision_at_50": 0.5,
            "precision_at_60": 0.5,
            "precision_at_70": 0.5,
            "precision_at_80": 0.25,
            "precision_at_90": 0.0,
        }
    )


@pytest.mark.parametrize(
    ("percent", "key"),
    [
        (50, "precision_at_50"),
        (60, "precision_at_60"),
        (70, "precision_at_70"),
        (80, "precision_at_80"),
        (90, "precision_at_90"),
    ],
)
@pytest.mark.parametrize("union", [10, 100])
def test_an_iou_of_exactly_the_threshold_is_not_greater(percent: int, key: str, union: int) -> None:
    at = percent * union // 100
    assert share([("at", at, union)]).scores()[key] == 0
    assert share([("over", at + 1, union)]).scores()[key] == 1


def test_empty_masks() -> None:
    assert iou(np.array([0, 0, 3]), np.array([0, 5, 3])).tolist() == [1, 0, 1]
    nothing_found, nothing_there, both = share([("a", 0, 10)]), Overlap(), share([("a", 0, 0)])
    truth, prediction = bars(0, 10)
    nothing_there.add("a", prediction, truth)
    assert nothing_found.scores()["mean_iou"] == nothing_there.scores()["mean_iou"] == 0
    assert (
        both.scores()["mean_iou"],
        both.scores()["overall_iou"],
        both.scores()["precision_at_90"],
    ) == (1, 1, 1)
    with pytest.raises(ValueError, match="no samples"):
        Overlap().scores()


def test_a_sample_is_scored_once() -> None:
    overlap = Overlap()
    assert overlap.add("a", *bars(1, 4)) == 0.25
    with pytest.raises(ValueError, match="twice"):
        overlap.add("a", *bars(1, 4))


def test_processes_merge_to_the_scores_of_one() -> None:
    rng = np.random.default_rng(0)
    unions = rng.integers(1, 100, 31)
    samples = [
        (f"s{i}", int(rng.integers(0, union + 1)), int(union)) for i, union in enumerate(unions)
    ]
    whole = share(samples)
    # As a distributed sampler shares out: by turns, the last share padded with a sample that
    # another has too.
    shares = [samples[0::2], [*samples[1::2], samples[0]]]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        parts = list(pool.map(share, shares))
    for first, second in ((0, 1), (1, 0)):
        merged = pickle.loads(pickle.dumps(parts[first]))
        merged.merge(parts[second])
        assert len(merged.areas) == 31
        assert merged.scores() == whole.scores()


def test_a2d_scores_takes_plain_lists() -> None:
    assert a2d_scores([0.5, 1.0], [1, 2], [2, 2])["overall_iou"] == 0.75
