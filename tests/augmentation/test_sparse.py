"""Sparse clips: the published draw of frames around an anchor."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from losh.augmentation.sparse import sparse_window


def draws(anchor: int, num_frames: int, length: int, reach: int = 3, count: int = 300):
    return [
        sparse_window(anchor, num_frames, length, reach, np.random.default_rng(seed))
        for seed in range(count)
    ]


def test_the_anchor_has_a_frame_before_and_after_within_reach():
    for window in draws(20, 40, 5):
        assert len(window) == 5 and window == sorted(window) and 20 in window
        assert {19, 18, 17} & set(window) and {21, 22, 23} & set(window)
    near = Counter(tuple(window) for window in draws(20, 40, 3))
    assert len(near) == 9 and min(near.values()) > 15  # uniform: 33 of each
    assert all(a in (17, 18, 19) and b == 20 and c in (21, 22, 23) for a, b, c in near)


def test_a_reach_of_one_gives_the_anchor_its_real_neighbours():
    for window in draws(20, 40, 5, reach=1):
        assert {19, 20, 21} <= set(window)


def test_the_others_lie_outside_of_the_three_but_the_largest_may_repeat():
    """The pool is what lies before the smallest and from the largest ON."""
    repeated = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        before, after = np.random.default_rng(seed).integers(1, 4, 2)
        low, high = 20 - before, 20 + after
        others = Counter(sparse_window(20, 40, 6, 3, rng))
        others.subtract([low, 20, high])
        rest = list(others.elements())
        assert len(rest) == 3 and all(t < low or t >= high for t in rest)
        assert len(set(rest)) == 3  # without replacement
        repeated += high in rest
    assert 10 < repeated < 90, "the largest is one of some 35"


def test_at_an_end_the_nearest_is_the_anchor_itself():
    for window in draws(0, 40, 3):
        assert window[:2] == [0, 0] and window[2] in (1, 2, 3)
    assert all(window[-2:] == [39, 39] for window in draws(39, 40, 3))


def test_too_small_a_pool_draws_from_all_frames():
    """Six frames, anchor 2: the pool holds at most four, and four are wanted of it."""
    for window in draws(2, 6, 7):
        assert len(window) == 7 and 2 in window
        assert set(window) <= set(range(6))
    assert any(Counter(window)[2] == 2 for window in draws(2, 6, 7)), "the anchor may come again"


def test_too_short_a_video_gives_all_of_its_frames_and_some_again():
    for window in draws(1, 3, 8):
        count = Counter(window)
        assert len(window) == 8 and set(count) == {0, 1, 2}
    assert sparse_window(0, 1, 5, 3, np.random.default_rng(0)) == [0] * 5
    assert sparse_window(7, 20, 1, 3, np.random.default_rng(0)) == [7]


@pytest.mark.parametrize("length", [3, 5, 8])
def test_the_same_seed_gives_the_same_frames(length: int):
    assert draws(5, 30, length, count=20) == draws(5, 30, length, count=20)
    assert len({tuple(window) for window in draws(5, 30, length, count=20)}) > 3
