"""mAP: against pycocotools used plainly on the masks, and hand-computed cases."""

from __future__ import annotations

import contextlib
import io
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from losh.evaluate.metrics.average_precision import CocoAccumulator, encode

Sample = tuple[str, np.ndarray, list[float], np.ndarray]
"""Id, true mask [H, W], scores of the queries, their masks [N, H, W]."""


def accumulate(samples: list[Sample]) -> CocoAccumulator:
    accumulator = CocoAccumulator()
    for sample, truth, scores, masks in samples:
        accumulator.add(
            sample, encode(truth[None])[0], list(zip(scores, encode(masks), strict=True))
        )
    return accumulator


def plainly(samples: list[Sample], best_only: bool = False) -> tuple[float, float, float]:
    """AP, AP50, AP75 as anybody gets them from pycocotools: true and predicted masks, its defaults,
    `summarize`.
    """
    truths, detections = [], []
    for i, (_, truth, scores, masks) in enumerate(
        sorted(samples, key=lambda sample: sample[0]), start=1
    ):
        rle = encode(truth[None])[0]
        truths.append(
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "iscrowd": 0,
                "segmentation": rle,
                "area": int(truth.sum()),
            }
        )
        queries = list(zip(scores, encode(masks), strict=True))
        if best_only:
            queries = [max(queries, key=lambda query: query[0])]
        detections += [
            {"image_id": i, "category_id": 1, "segmentation": mask, "score": score}
            for score, mask in queries
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        height, width = samples[0][1].shape
        images = [{"id": i, "height": height, "width": width} for i in range(1, len(samples) + 1)]
        coco.dataset = {
            "info": {},
            "images": images,
            "categories": [{"id": 1, "name": "dummy"}],
            "annotations": truths,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(detections), iouType="segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return tuple(evaluation.stats[:3])


def bar(length: int) -> np.ndarray:
    """A mask of the first `length` of 100 pixels."""
    mask = np.zeros((10, 10), bool)
    mask.ravel()[:length] = True
    return mask


def random_samples(
    seed: int, count: int = 25, queries: int = 6, rounded: bool = False
) -> list[Sample]:
    """True boxes and noisy copies of them; `rounded` scores are often equal. Some masks are
    empty.
    """
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(count):
        truth = np.zeros((24, 30), bool)
        if i % 8 != 7:
            y, x = rng.integers(0, 10, 2)
            truth[y : y + rng.integers(4, 14), x : x + rng.integers(4, 18)] = True
        masks = np.stack(
            [
                np.roll(truth, rng.integers(-3, 4, 2), (0, 1)) ^ (rng.random(truth.shape) < 0.02)
                for _ in range(queries)
            ]
        )
        masks[rng.random(queries) < 0.15] = False
        scores = rng.random(queries)
        samples.append(
            (
                f"v_{rng.integers(10**6)}_{i}",
                truth,
                list(np.round(scores, 1) if rounded else scores),
                masks,
            )
        )
    return samples


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rounded", [False, True])
def test_it_is_what_pycocotools_gives_for_the_masks(seed: int, rounded: bool) -> None:
    samples = random_samples(seed, rounded=rounded)
    scores = accumulate(samples).scores()
    assert plainly(samples) == pytest.approx(
        [scores[f"{name}_all_queries"] for name in ("map", "ap50", "ap75")], abs=1e-12
    )
    assert plainly(samples, best_only=True) == pytest.approx(
        [scores[f"{name}_best_query"] for name in ("map", "ap50", "ap75")], abs=1e-12
    )
    assert 0.01 < scores["map_all_queries"] < 0.99  # or the comparison says little


def test_more_than_a_hundred_queries_are_cut_as_pycocotools_cuts_them() -> None:
    samples = random_samples(5, count=3, queries=130)
    assert plainly(samples)[0] == pytest.approx(
        accumulate(samples).scores()["map_all_queries"], abs=1e-12
    )


def test_one_query_worked_by_hand() -> None:
    # IoU 0.62: found at 0.5, 0.55 and 0.6, three of the ten thresholds.
    scores = accumulate([("a", bar(100), [0.3], bar(62)[None])]).scores()
    assert scores == pytest.approx(
        {
            "map_all_queries": 0.3,
            "ap50_all_queries": 1,
            "ap75_all_queries": 0,
            "map_best_query": 0.3,
            "ap50_best_query": 1,
            "ap75_best_query": 0,
        }
    )


def test_a_wrong_query_before_the_right_one_halves_the_precision() -> None:
    scores = accumulate([("a", bar(50), [0.9, 0.8], np.stack([~bar(50), bar(50)]))]).scores()
    assert scores["map_all_queries"] == pytest.approx(0.5)
    assert scores["map_best_query"] == 0
    # After it, it costs nothing: the recall is complete by then.
    scores = accumulate([("a", bar(50), [0.8, 0.9], np.stack([~bar(50), bar(50)]))]).scores()
    assert scores["map_all_queries"] == scores["map_best_query"] == pytest.approx(1)


def test_a_second_mask_of_the_same_object_is_a_false_positive() -> None:
    # By score: right (a), the same again (a), right (b). Precision 1 up to recall 1/2, then 2/3: 51
    # and 50 of the 101 recalls.
    two = [
        ("a", bar(50), [0.9, 0.8], np.stack([bar(50), bar(50)])),
        ("b", bar(50), [0.7], bar(50)[None]),
    ]
    assert accumulate(two).scores()["map_all_queries"] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_of_equal_scores_the_first_query_comes_first() -> None:
    right, wrong = bar(50), ~bar(50)
    first = accumulate([("a", right, [0.5, 0.5], np.stack([right, wrong]))]).scores()
    last = accumulate([("a", right, [0.5, 0.5], np.stack([wrong, right]))]).scores()
    assert (first["map_all_queries"], first["map_best_query"]) == (
        pytest.approx(1),
        pytest.approx(1),
    )
    assert (last["map_all_queries"], last["map_best_query"]) == (pytest.approx(0.5), 0)


def test_the_order_of_samples_does_not_matter_even_with_equal_scores() -> None:
    samples = random_samples(9, rounded=True)
    assert accumulate(samples).scores() == accumulate(samples[::-1]).scores()


def test_empty_masks() -> None:
    empty = np.zeros((10, 10), bool)
    assert accumulate([("a", bar(50), [0.9], empty[None])]).scores()["map_all_queries"] == 0
    assert accumulate([("a", empty, [0.9], bar(50)[None])]).scores()["map_all_queries"] == 0
    # An empty truth cannot be found.
    assert accumulate([("a", empty, [0.9], empty[None])]).scores()["map_all_queries"] == 0
    with pytest.raises(ValueError, match="no samples"):
        CocoAccumulator().scores()


def test_a_sample_without_queries_is_a_miss() -> None:
    accumulator = accumulate([("a", bar(50), [0.9], bar(50)[None])])
    accumulator.add("b", encode(bar(50)[None])[0], [])
    assert accumulator.scores()["map_all_queries"] == pytest.approx(51 / 101)


def test_what_cannot_be_scored_is_refused() -> None:
    truth, other_size = encode(bar(50)[None])[0], encode(np.zeros((1, 5, 10), bool))[0]
    accumulator = CocoAccumulator()
    accumulator.add("a", truth, [(0.5, truth)])
    with pytest.raises(ValueError, match="twice"):
        accumulator.add("a", truth, [(0.5, truth)])
    with pytest.raises(ValueError, match="not finite"):
        accumulator.add("b", truth, [(float("nan"), truth)])
    with pytest.raises(ValueError, match="size"):
        accumulator.add("b", truth, [(0.5, other_size)])


def test_processes_merge_to_the_scores_of_one() -> None:
    samples = random_samples(11, rounded=True)
    # Padded with a sample that the other share has too.
    shares = [samples[0::2], [*samples[1::2], samples[0]]]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        parts = list(pool.map(accumulate, shares))
    for first, second in ((0, 1), (1, 0)):
        merged = pickle.loads(pickle.dumps(parts[first]))
        merged.merge(parts[second])
        assert len(merged.samples) == len(samples)
        assert merged.scores() == accumulate(samples).scores()


def test_nothing_is_printed_and_little_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    samples = random_samples(1, count=10, queries=50)
    accumulator = accumulate(samples)
    accumulator.scores()
    assert capsys.readouterr() == ("", "")
    assert len(pickle.dumps(accumulator)) < 10 * (50 * 16 + 400)  # scores and IoUs, no masks
