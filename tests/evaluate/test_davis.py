"""The Refer-DAVIS17 protocol: label maps and assignments worked by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from losh.evaluate.metrics.boundary import boundary_f
from losh.evaluate.metrics.j_and_f import pairwise_j_and_f
from losh.evaluate.metrics.region import region_j
from losh.evaluate.protocols.davis import (
    EXPRESSION_SETS,
    ObjectScore,
    UnsupervisedVideo,
    davis_results,
    davis_unsupervised,
    label_map,
    objects_to_score,
)


def labels_with(
    *boxes: tuple[int, int, int, int, int], frames: int = 2, size: tuple[int, int] = (60, 80)
) -> np.ndarray:
    """A label map [T, H, W] of boxes (label, top, left, height, width), the same in each frame."""
    labels = np.zeros((frames, *size), np.uint8)
    for label, top, left, height, width in boxes:
        labels[:, top : top + height, left : left + width] = label
    return labels


ONE, TWO = (10, 10, 20, 20), (35, 50, 20, 20)


def test_the_label_map_takes_the_largest_over_the_background() -> None:
    # background  object 1  object 2  tie: the first  under the threshold  at the threshold
    probabilities = np.array(
        [[[0.05, 0.9, 0.6, 0.7, 0.49, 0.5]], [[0.0, 0.2, 0.8, 0.7, 0.3, 0.1]]], np.float32
    )
    assert label_map(probabilities).tolist() == [[0, 1, 2, 1, 0, 1]]
    # Without the threshold the background of 0.1 alone decides.
    assert label_map(probabilities, threshold=0.0).tolist() == [[0, 1, 2, 1, 1, 1]]
    assert label_map(np.full((1, 1, 1), 0.1), threshold=0.0).tolist() == [[0]]
    assert label_map(np.zeros((3, 4, 5, 6))).shape == (4, 5, 6)


def test_the_label_map_is_the_published_rule() -> None:
    probabilities = np.random.default_rng(0).random((3, 2, 20, 20))
    stack = np.concatenate(
        [np.full((1, 2, 20, 20), 0.1), np.where(probabilities < 0.5, 0, probabilities)]
    )
    assert (label_map(probabilities) == stack.argmax(axis=0)).all()


def test_the_objects_are_those_of_the_first_frame() -> None:
    assert objects_to_score(["2", "1", "10"]) == [str(i) for i in range(1, 11)]
    assert objects_to_score([]) == []


def test_swapped_objects_are_forgiven_and_plain_scores_do_not() -> None:
    truth, labels = labels_with((1, *ONE), (2, *TWO)), labels_with((2, *ONE), (1, *TWO))
    scores = davis_unsupervised("v", labels, truth)
    assert scores == [
        ObjectScore("v", "1", 1, 1, predicted=2),
        ObjectScore("v", "2", 1, 1, predicted=1),
    ]
    assert region_j(labels == 1, truth == 1).tolist() == [0, 0]


def test_the_assignment_maximises_the_sum_not_each_in_turn() -> None:
    # Label 1 is most of object 1 and half of object 2, the best for both; label 2 is the rest of
    # object 1. Taking the best pair first (label 1, object 1) would leave object 2 with a label
    # that misses it wholly.
    truth = labels_with((1, 10, 10, 20, 40), (2, 35, 10, 20, 40))
    labels = labels_with((1, 10, 10, 20, 40), (1, 35, 10, 10, 40), (2, 10, 10, 5, 40))
    scores = davis_unsupervised("v", labels, truth)
    j, f = pairwise_j_and_f(
        np.stack([labels == 1, labels == 2]), np.stack([truth == 1, truth == 2])
    )
    table = (j.mean(-1) + f.mean(-1)) / 2
    assert table.argmax() == 0 and table[1, 1] == 0
    best = max(
        permutations(range(2)), key=lambda order: sum(table[p, o] for o, p in enumerate(order))
    )
    assert [score.predicted - 1 for score in scores] == list(best) == [1, 0]
    assert [score.j for score in scores] == [
        pytest.approx(j[1, 0].mean()),
        pytest.approx(j[0, 1].mean()),
    ]


def test_many_objects_get_the_best_of_all_assignments() -> None:
    rng = np.random.default_rng(4)
    labels, truth = (
        rng.integers(0, 5, (2, 4, 6)).astype(np.uint8).repeat(8, 1).repeat(8, 2) for _ in range(2)
    )
    truth[0, 0, :4] = [1, 2, 3, 4]  # all four are there from the first frame
    j, f = pairwise_j_and_f(
        *(np.stack([maps == label for label in range(1, 5)]) for maps in (labels, truth))
    )
    table = (j.mean(-1) + f.mean(-1)) / 2
    most = max(sum(table[p, o] for o, p in enumerate(order)) for order in permutations(range(4)))
    assert sum(
        (score.j + score.f) / 2 for score in davis_unsupervised("v", labels, truth)
    ) == pytest.approx(most)


def test_a_missing_prediction_is_an_empty_mask() -> None:
    truth = labels_with((1, *ONE), (2, *TWO))
    truth[1][truth[1] == 2] = 0  # object 2 leaves: in that frame an empty prediction is right
    scores = davis_unsupervised("v", labels_with((1, *ONE)), truth)
    assert [(score.j, score.f) for score in scores] == [(1, 1), (0.5, 0.5)]


def test_the_first_and_the_last_frame_count() -> None:
    truth, labels = labels_with((1, *ONE), frames=4), labels_with((1, *ONE), frames=4)
    labels[0] = labels[-1] = 0
    assert davis_unsupervised("v", labels, truth)[0].j == 0.5


def test_an_object_that_is_not_in_the_first_frame_is_not_scored() -> None:
    truth = labels_with((1, *ONE), (2, *TWO))
    truth[0][truth[0] == 2] = 0
    assert [score.instance for score in davis_unsupervised("v", labels_with((1, *ONE)), truth)] == [
        "1"
    ]


def test_void_pixels_are_left_out() -> None:
    truth, labels = labels_with((1, *ONE)), labels_with((1, 10, 10, 20, 30))
    assert davis_unsupervised("v", labels, truth)[0].j == pytest.approx(400 / 600)
    truth[:, :, 30:] = 255
    assert davis_unsupervised("v", labels, truth) == [ObjectScore("v", "1", 1, 1, predicted=1)]


def test_a_label_above_those_that_occur_is_no_candidate() -> None:
    # Object 1 is away in the second frame, where an empty mask would score 1. Label 1 misses it in
    # both frames; label 2 never occurs, so the benchmark, which reads label maps, does not know of
    # it.
    truth = labels_with((1, *ONE))
    truth[1] = 0
    labels = labels_with((1, *TWO))
    scorer = UnsupervisedVideo("v", num_predicted=2, instances=["1"])
    scorer.add(labels, truth[None] == 1)
    assert [(score.j, score.predicted) for score in scorer.scores()] == [(0, 1)]
    labels[0, 0, 0] = (
        3  # a higher label occurs: then the empty label 2 is a candidate, as it is to the benchmark
    )
    scorer = UnsupervisedVideo("v", num_predicted=3, instances=["1"])
    scorer.add(labels, truth[None] == 1)
    assert [(score.j, score.predicted) for score in scorer.scores()] == [(0.5, 2)]


def test_chunks_give_what_the_whole_video_gives() -> None:
    rng = np.random.default_rng(5)
    labels, truth = (
        rng.integers(0, 4, (7, 5, 5)).astype(np.uint8).repeat(9, 1).repeat(9, 2) for _ in range(2)
    )
    whole = UnsupervisedVideo("v", 3, ["1", "2", "3"])
    chunked = UnsupervisedVideo("v", 3, ["1", "2", "3"])
    truths = np.stack([truth == 1, truth == 2, truth == 3])
    whole.add(labels, truths)
    for start in range(0, 7, 2):
        chunked.add(labels[start : start + 2], truths[:, start : start + 2])
    for one, other in zip(whole.scores(), chunked.scores(), strict=True):
        assert (one.instance, one.predicted) == (other.instance, other.predicted)
        assert (one.j, one.f) == (pytest.approx(other.j), pytest.approx(other.f))
    with pytest.raises(ValueError, match="no frames of v"):
        UnsupervisedVideo("v", 1, ["1"]).scores()


def test_an_assigned_pair_has_the_scores_of_its_masks() -> None:
    truth, labels = (
        labels_with((1, *ONE), (2, *TWO)),
        labels_with((1, 12, 13, 20, 20), (2, 30, 50, 20, 25)),
    )
    for score in davis_unsupervised("v", labels, truth):
        label = int(score.instance)
        assert score.predicted == label
        assert score.j == pytest.approx(region_j(labels == label, truth == label).mean())
        assert score.f == pytest.approx(boundary_f(labels == label, truth == label).mean())


def test_results_pool_objects_and_average_the_four_sets() -> None:
    # Objects are pooled over videos: video a's two objects weigh twice as much as video b's one.
    scores = {
        name: [
            ObjectScore("a", "1", 0.9, 0.8),
            ObjectScore("a", "2", 0.6, 0.5),
            ObjectScore("b", "1", 0.1 * k, 0.2 * k),
        ]
        for k, name in enumerate(EXPRESSION_SETS)
    }
    plain = {"annot1": [ObjectScore("a", "1", 0.2, 0.4)]}
    results = davis_results(scores, plain)
    assert results["davis_unsupervised"]["annot1"] == pytest.approx(
        {"j": 0.5, "f": 1.3 / 3, "j_and_f": (0.5 + 1.3 / 3) / 2}
    )
    assert results["davis_unsupervised"]["annot2_full_video"]["j"] == pytest.approx(1.8 / 3)
    assert results["davis_unsupervised"]["mean"]["j"] == pytest.approx((1.5 + 1.6 + 1.7 + 1.8) / 12)
    assert results["per_expression"] == {
        name: pytest.approx({"j": 0.2, "f": 0.4, "j_and_f": 0.3}) for name in ("annot1", "mean")
    }
    with pytest.raises(ValueError, match="no objects"):
        davis_results({"annot1": []}, plain)
