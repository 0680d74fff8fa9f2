"""Pseudo clips of a picture: copies move with their masks, and follow from a seed."""

import cv2
import numpy as np
import pytest

from losh.clips import pseudo_clip as module
from losh.clips.pseudo_clip import blur_kernel, camera, pseudo_clip, recoloured
from losh.testing.drawn_clip import draw_clip

SIZE = (120, 160)
CLIP = draw_clip(0, 1, SIZE)
PICTURE = CLIP.frames[0]
MASKS = {str(one): CLIP.objects[0] == one for one in (1, 2)}


def made(seed: int, frames: int = 5) -> tuple:
    return pseudo_clip(PICTURE, MASKS, frames, np.random.default_rng(seed))


def is_the_picture(frame: np.ndarray) -> bool:
    return np.array_equal(frame, PICTURE)


def test_one_frame_is_the_picture_and_others_are_copies_in_any_order():
    frames, masks = made(0, 1)
    assert is_the_picture(frames[0]) and masks == [MASKS]
    places = set()
    for seed in range(12):
        frames, masks = made(seed)
        assert len(frames) == len(masks) == 5
        own = [t for t, frame in enumerate(frames) if is_the_picture(frame)]
        assert len(own) == 1 and masks[own[0]] is MASKS
        places.add(own[0])
    assert len(places) > 2


def test_a_clip_follows_from_its_seed():
    (one, _), (same, _), (other, _) = made(3), made(3), made(4)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_masks_move_with_the_picture(monkeypatch: pytest.MonkeyPatch):
    """The square stays red under its mask, and only there."""
    monkeypatch.setattr(module, "BLUR", 0)
    checked = 0
    for seed in range(10):
        for frame, masks in zip(*made(seed), strict=True):
            red = frame[..., 0].astype(int) - frame[..., 1] > 90
            mask = masks["1"]
            if mask.sum() > 300:
                assert (red & mask).sum() / (red | mask).sum() > 0.9, seed
                checked += 1
    assert checked > 30


def test_what_a_copy_does_not_cover_is_black_and_has_no_mask(monkeypatch: pytest.MonkeyPatch):
    away = np.array([[1, 0, 60], [0, 1, 0], [0, 0, 1]], float)
    monkeypatch.setattr(module, "camera", lambda *_: away)
    monkeypatch.setattr(module, "BLUR", 0)
    everywhere = {"1": np.ones(SIZE, bool)}
    frames, masks = pseudo_clip(PICTURE, everywhere, 2, np.random.default_rng(0))
    copy = next(t for t in range(2) if not is_the_picture(frames[t]))
    assert not frames[copy][:, :60].any() and frames[copy][:, 61:].any(axis=-1).all()
    assert not masks[copy]["1"][:, :60].any() and masks[copy]["1"][:, 61:].all()


def test_cameras_stay_in_the_published_ranges():
    rng, turns, shifts = np.random.default_rng(0), [], []
    for _ in range(300):
        view = camera(*SIZE, rng)
        height, width = SIZE
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        seen = cv2.perspectiveTransform(corners[None], np.linalg.inv(view))[0]
        # Undone rotation and shift leave a part of the picture, on average some 8 % smaller a side.
        middle = cv2.perspectiveTransform(np.array([[[width / 2, height / 2]]]), view)[0, 0]
        shifts.append((middle - (width / 2, height / 2)) / (width, height))
        edge = seen[1] - seen[0]
        turns.append(np.degrees(np.arctan2(edge[1], edge[0])))
    assert 15 < max(np.abs(turns)) < 40 and abs(np.mean(turns)) < 3
    assert 0.08 < np.abs(shifts).max() < 0.3


def test_colours_change_within_the_published_ranges():
    rng, changes = np.random.default_rng(0), []
    grey = np.full((4, 4, 3), 128, np.uint8)
    for _ in range(100):
        changes.append(int(recoloured(grey, rng).max()) - 128)
    assert -40 <= min(changes) < -30 and 30 < max(changes) <= 40
    assert any(change == 0 for change in changes), "now and then hue and saturation alone"
    assert recoloured(np.full((4, 4, 3), 250, np.uint8), rng).min() > 100, "nothing wraps"


def test_blur_keeps_the_brightness():
    rng = np.random.default_rng(0)
    kernels = [blur_kernel(rng) for _ in range(40)]
    assert {len(kernel) for kernel in kernels} == {9, 11}
    assert all(kernel.sum() == pytest.approx(1) and kernel.min() >= 0 for kernel in kernels)
