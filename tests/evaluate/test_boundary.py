"""Boundary F and region J: hand-computed masks, and random ones against the literal definition."""

from __future__ import annotations

import numpy as np
import pytest

from losh.evaluate.metrics import bitmaps
from losh.evaluate.metrics.boundary import boundary_f, boundary_map, tolerance_of
from losh.evaluate.metrics.j_and_f import RunningJF, j_and_f, pairwise_j_and_f
from losh.evaluate.metrics.region import region_j
from losh.testing.literal_davis import literal_boundary, literal_f, literal_j


def square(height: int, width: int, top: int, left: int, size: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[max(top, 0) : top + size, max(left, 0) : left + size] = True
    return mask


def random_mask(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise, a few rectangles (often over the border), or nothing, or everything."""
    kind = rng.integers(5)
    if kind == 0:
        return rng.random((height, width)) < rng.choice([0.01, 0.3, 0.9])
    mask = np.full((height, width), kind == 1)
    for _ in range(0 if kind <= 2 else rng.integers(1, 4)):
        size = int(rng.integers(1, max(height, width) + 1))
        mask ^= square(
            height, width, int(rng.integers(-size, height)), int(rng.integers(-size, width)), size
        )
    return mask


@pytest.mark.parametrize(
    ("height", "width", "radius"),
    [
        (480, 854, 8),
        (600, 800, 8),
        (601, 800, 9),
        (1080, 1920, 18),
        (96, 128, 2),
        (5, 5, 1),
        (320, 240, 4),
    ],
)
def test_the_tolerance_is_0008_of_the_diagonal_rounded_up(
    height: int, width: int, radius: int
) -> None:
    assert tolerance_of(height, width) == radius


def test_a_boundary_pixel_differs_from_its_right_lower_or_lower_right_neighbour() -> None:
    mask = np.array([[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], bool)
    assert boundary_map(mask).astype(int).tolist() == [
        [0, 1, 1, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0],
    ]


def test_an_object_cut_by_the_border_has_no_boundary_along_it() -> None:
    right_half = np.zeros((4, 6), bool)
    right_half[:, 3:] = True
    assert boundary_map(right_half).astype(int).tolist() == [[0, 0, 1, 0, 0, 0]] * 4
    lower_half = right_half.T
    assert boundary_map(lower_half).astype(int).tolist() == [
        [0] * 4,
        [0] * 4,
        [1] * 4,
        [0] * 4,
        [0] * 4,
        [0] * 4,
    ]
    corner = np.zeros((3, 3), bool)
    corner[2, 2] = True
    assert boundary_map(corner).astype(int).tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 0]]
    assert not boundary_map(np.ones((3, 70), bool)).any()


@pytest.mark.parametrize("width", [1, 2, 63, 64, 65, 128, 130])
def test_the_boundary_map_is_the_literal_one_at_every_word_size(width: int) -> None:
    rng = np.random.default_rng(width)
    for height in (1, 2, 7):
        mask = rng.random((height, width)) < 0.5
        assert (boundary_map(mask) == literal_boundary(mask)).all()


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 8, 9, 13, 18, 70])
def test_dilation_is_by_the_disk(radius: int) -> None:
    rng = np.random.default_rng(radius)
    for height, width in ((9, 64), (40, 131), (3, 200)):
        # Few, or their disks hide each other's faults.
        mask = rng.random((height, width)) < 0.5 / height / width
        mask[0, -1 if radius % 2 else 0] = True  # at the borders the runs are cut
        rows, columns = np.mgrid[:height, :width]
        near = np.zeros_like(mask)
        for y, x in np.argwhere(mask):
            near |= (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        assert (bitmaps.unpack(bitmaps.dilate(bitmaps.pack(mask), radius), width) == near).all()


def test_f_of_two_squares_worked_by_hand() -> None:
    # Each boundary is a ring of 11 x 11 pixels, 40 in all, 5 columns apart; the tolerance is 2. Of
    # the first, 8 pixels of the top row, 8 of the bottom row and 4 more of the right side (2 at
    # either end) have the other within 2 pixels.
    prediction, truth = square(100, 100, 20, 20, 10), square(100, 100, 20, 25, 10)
    assert tolerance_of(100, 100) == 2
    assert boundary_f(prediction, truth) == pytest.approx(0.5, abs=1e-12)
    assert region_j(prediction, truth) == pytest.approx(50 / 150, abs=1e-12)


def test_precision_and_recall_are_weighed_by_their_own_boundaries() -> None:
    # The ring of the small square (40) lies on the truth's wholly; the truth has a second ring of
    # 20 far away.
    small = square(100, 100, 20, 20, 10)
    truth = small | square(100, 100, 70, 70, 5)
    precision, recall = 1.0, 40 / 60  # a 5 x 5 square has a ring of 6 x 6: 20 pixels
    assert boundary_f(small, truth) == pytest.approx(
        2 * precision * recall / (precision + recall), abs=1e-12
    )


def test_f_and_j_of_empty_masks() -> None:
    empty, full, some = np.zeros((20, 30), bool), np.ones((20, 30), bool), square(20, 30, 5, 5, 6)
    assert (boundary_f(empty, empty), region_j(empty, empty)) == (1, 1)
    assert (boundary_f(empty, some), region_j(empty, some)) == (0, 0)
    assert (boundary_f(some, empty), region_j(some, empty)) == (0, 0)
    # A full mask has no boundary: the benchmark calls that a perfect contour, while J says 0.
    assert (boundary_f(full, empty), region_j(full, empty)) == (1, 0)
    # Nothing matches: P + R = 0.
    assert boundary_f(square(200, 200, 0, 0, 20), square(200, 200, 150, 150, 20)) == 0


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 40), (37, 1), (24, 64), (40, 70), (60, 128), (90, 131)]
)
def test_j_and_f_agree_with_the_literal_definition_on_random_masks(height: int, width: int) -> None:
    rng = np.random.default_rng(height * 1000 + width)
    pairs = [(random_mask(rng, height, width), random_mask(rng, height, width)) for _ in range(15)]
    pairs += [(mask, np.roll(mask, (1, -2), (0, 1))) for mask, _ in pairs[:5]]
    j, f = j_and_f(np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs]))
    assert j == pytest.approx([literal_j(*pair) for pair in pairs], abs=1e-12)
    assert f == pytest.approx([literal_f(*pair) for pair in pairs], abs=1e-12)


def test_frames_in_one_batch_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(0)
    prediction, truth = (
        np.stack([random_mask(rng, 50, 80) for _ in range(9)]),
        np.stack([random_mask(rng, 50, 80) for _ in range(9)]),
    )
    together = j_and_f(prediction, truth)
    alone = [j_and_f(p[None], t[None]) for p, t in zip(prediction, truth, strict=True)]
    assert together[0].tolist() == [j.item() for j, _ in alone]
    assert together[1].tolist() == [f.item() for _, f in alone]


def test_threads_do_not_change_the_scores() -> None:
    rng = np.random.default_rng(1)
    prediction = np.stack([random_mask(rng, 480, 600) for _ in range(12)])
    truth = np.roll(prediction, (3, 5), (1, 2))
    one, many = j_and_f(prediction, truth, threads=1), j_and_f(prediction, truth, threads=4)
    assert (one[0] == many[0]).all() and (one[1] == many[1]).all()
    assert one[1] == pytest.approx(boundary_f(prediction, truth))


def test_an_error_in_a_thread_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("in a thread")

    monkeypatch.setattr("losh.evaluate.metrics.j_and_f.pairwise_f", broken)
    masks = np.zeros((8, 1024, 1024), bool)
    with pytest.raises(RuntimeError, match="in a thread"):
        j_and_f(masks, masks, threads=2)


def test_all_pairs_are_the_pairs_one_by_one() -> None:
    rng = np.random.default_rng(2)
    predictions = np.stack(
        [np.stack([random_mask(rng, 40, 70) for _ in range(3)]) for _ in range(3)]
    )
    truths = np.stack([np.stack([random_mask(rng, 40, 70) for _ in range(3)]) for _ in range(2)])
    j, f = pairwise_j_and_f(predictions, truths)
    assert j.shape == f.shape == (3, 2, 3)
    for p, prediction in enumerate(predictions):
        for o, truth in enumerate(truths):
            assert j[p, o] == pytest.approx(region_j(prediction, truth))
            assert f[p, o] == pytest.approx(boundary_f(prediction, truth))


def test_void_pixels_count_neither_way() -> None:
    truth = square(60, 60, 10, 10, 20)
    void = np.zeros((60, 60), bool)
    void[:, 40:] = True
    wrong_in_void = truth | square(60, 60, 30, 45, 10)
    assert j_and_f(wrong_in_void[None], truth[None])[0].item() < 1
    assert [score.item() for score in j_and_f(wrong_in_void[None], truth[None], void)] == [1, 1]
    assert (region_j(wrong_in_void, truth, void), boundary_f(wrong_in_void, truth, void)) == (1, 1)
    # Void takes pixels out of both masks before the boundaries are found.
    cut = np.zeros((60, 60), bool)
    cut[:, 20:] = True
    moved = square(60, 60, 13, 12, 20)
    assert j_and_f(moved[None], truth[None], cut[None])[1].item() == pytest.approx(
        literal_f(moved & ~cut, truth & ~cut)
    )


def test_running_means_over_chunks_are_the_means_of_all_frames() -> None:
    rng = np.random.default_rng(3)
    prediction, truth = (np.stack([random_mask(rng, 30, 40) for _ in range(7)]) for _ in range(2))
    running = RunningJF()
    for start in range(0, 7, 3):
        running.add(prediction[start : start + 3], truth[start : start + 3])
    j, f = j_and_f(prediction, truth)
    assert (running.frames, running.j, running.f) == (
        7,
        pytest.approx(j.mean()),
        pytest.approx(f.mean()),
    )
    with pytest.raises(ValueError, match="no frames"):
        _ = RunningJF().j


def test_masks_of_other_types_or_shapes_are_refused() -> None:
    masks = np.zeros((1, 4, 4), bool)
    with pytest.raises(ValueError, match="bool masks"):
        j_and_f(masks.astype(np.uint8), masks)
    with pytest.raises(ValueError, match="one shape"):
        j_and_f(masks, masks[:, :3])
