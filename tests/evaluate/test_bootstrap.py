"""The bootstrap over clips, and scores by kind, on numbers that are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from losh.evaluate.metrics.bootstrap import clip_interval, clip_means, percentile_interval
from losh.evaluate.metrics.by_kind import Judged, scores_by_kind

CLIPS = ["a", "b", "a", "a"]
IOUS = [0.2, 0.9, 0.4, 0.6]


def test_means_are_those_of_whole_clips() -> None:
    """Two clips drawn of a (0.2, 0.4, 0.6) and b (0.9): aa 0.4, ab and ba 2.1 / 4, bb 0.9."""
    means = clip_means(CLIPS, IOUS, draws=4000)
    values, counts = np.unique(means.round(9), return_counts=True)
    assert values.tolist() == [0.4, 0.525, 0.9]
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_the_seed_decides_the_draws_and_pairs_two_models() -> None:
    """The same clips are drawn for both models, whatever the order of the rows."""
    rng = np.random.default_rng(0)
    clips = [str(k) for k in rng.integers(9, size=60)]
    first = rng.random(60)
    order = rng.permutation(60)
    again = clip_means([clips[k] for k in order], (first + 0.1)[order], draws=50)
    assert again == pytest.approx(clip_means(clips, first, draws=50) + 0.1)
    assert not np.allclose(clip_means(clips, first, 50, seed=1), clip_means(clips, first, 50))


def test_percentiles() -> None:
    found = percentile_interval(np.arange(1001) / 1000)
    assert found == pytest.approx({"low": 0.025, "high": 0.975})


def test_interval() -> None:
    """One draw in four is aa, and one bb: more than the tails of 2.5 % each."""
    (found,) = clip_interval(CLIPS, IOUS).values()
    assert found == pytest.approx({"low": 0.4, "high": 0.9})
    assert clip_interval(["a", "a"], [0.1, 0.9]) == {}


def test_clips_and_not_samples_are_drawn() -> None:
    """Thirty equal samples of one clip say no more than one: the interval does not shrink."""
    clips, ious = ["a", "b", "c", "d"], [0.1, 0.4, 0.6, 0.9]
    many = clip_interval(clips * 30, ious * 30)["mean_iou_interval"]
    assert many == pytest.approx(clip_interval(clips, ious)["mean_iou_interval"])


def test_scores_by_kind() -> None:
    def one(clip: str, kind: str, iou: float, largest: float) -> Judged:
        return Judged(clip, kind, iou, {"largest_object": largest})

    given = [
        one("a", "plain", 0.5, 1),
        one("a", "misleading", 1, 0),
        one("b", "plain", 0.9, 0),
        one("b", "motion", 0.25, 0),
    ]
    groups = {"looks": ("plain", "misleading"), "motion": ("motion",), "place": ("place",)}
    found = scores_by_kind(given, groups)
    assert list(found) == ["looks", "motion"]
    looks = found["looks"]
    assert looks["samples"] == 3 and looks["mean_iou"] == pytest.approx(0.8)
    assert looks["trivial"] == {"largest_object": pytest.approx(1 / 3)}
    # aa is 0.75, bb 0.9.
    assert looks["mean_iou_interval"] == pytest.approx({"low": 0.75, "high": 0.9})
    assert found["motion"] == {
        "samples": 1,
        "mean_iou": 0.25,
        "trivial": {"largest_object": 0},
    }
