"""Drawn clips: exact flow, exact masks, motions that can be seen."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from losh.moving_shapes.arrangement import sample_scene
from losh.moving_shapes.scene import RenderedClip, draw, render_clip

DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


@pytest.fixture(scope="module")
def clips() -> list[RenderedClip]:
    return [render_clip(seed, 16, 96, 128) for seed in range(24)]


def _inner(owner: np.ndarray) -> np.ndarray:
    """Pixels with one and the same object all around: no mixed edges."""
    kernel = np.ones((5, 5))
    return cv2.erode(owner, kernel) == cv2.dilate(owner, kernel)


def _errors(clip: RenderedClip, source: int, target: int, flow: np.ndarray) -> tuple[float, float]:
    """Mean difference (grey levels) of `source` from `target` fetched along the flow, and against
    it, where the same moving thing is seen in both.
    """
    count = clip.masks.shape[1]
    owners = np.where(clip.masks.any(axis=1), clip.masks.argmax(axis=1), count).astype(np.float32)
    height, width = flow.shape[1:]
    y, x = np.mgrid[:height, :width].astype(np.float32)

    def fetch(image: np.ndarray, sign: int, how: int) -> np.ndarray:
        return cv2.remap(
            image.astype(np.float32),
            x + sign * flow[0],
            y + sign * flow[1],
            how,
            borderMode=cv2.BORDER_REPLICATE,
        )

    inside = (
        (x + flow[0] > 1)
        & (x + flow[0] < width - 2)
        & (y + flow[1] > 1)
        & (y + flow[1] < height - 2)
    )
    same = (fetch(owners[target], 1, cv2.INTER_NEAREST) == owners[source]) & _inner(owners[source])
    seen = (
        inside
        & same
        & (fetch(_inner(owners[target]), 1, cv2.INTER_NEAREST) > 0)
        & (np.hypot(*flow) > 1)
    )
    if not seen.any():
        return np.nan, np.nan
    right, wrong = (
        np.abs(fetch(clip.frames[target], sign, cv2.INTER_CUBIC) - clip.frames[source])
        .mean(axis=2)[seen]
        .mean()
        for sign in (1, -1)
    )
    return right, wrong


@pytest.mark.parametrize("backward", [False, True])
def test_flow_carries_one_frame_into_the_next(clips, backward):
    errors = []
    for clip in clips[:10]:
        for t in range(0, 15, 4):
            source, target = (t + 1, t) if backward else (t, t + 1)
            errors.append(
                _errors(
                    clip,
                    source,
                    target,
                    clip.flow_backward[t] if backward else clip.flow_forward[t],
                )
            )
    right, wrong = np.nanmean(errors, axis=0)
    assert right < 1.5  # 0.9 measured: interpolation of sub-pixel motion
    assert wrong > 20


def test_flow_is_one_vector_on_each_visible_thing(clips):
    """Forward flow follows the masks of frame t, backward flow those of frame t + 1, and they are
    opposite.
    """
    for clip in clips:
        for t in range(15):
            both = (
                (clip.flow_forward[t], clip.masks[t]),
                (clip.flow_backward[t], clip.masks[t + 1]),
            )
            for k in range(len(clip.objects) + 1):
                vectors = []
                for flow, masks in both:
                    own = masks[k] if k < len(masks) else ~masks.any(axis=0)
                    found = np.unique(flow[:, own], axis=1)
                    assert found.shape[1] <= 1
                    vectors.append(found)
                if all(v.size for v in vectors):
                    assert np.array_equal(vectors[0], -vectors[1])


def test_background_flow_is_exact_too():
    """The slow drift is below the threshold of the test above: over the whole clip it adds up."""
    checked = 0
    for seed in range(40):
        clip = render_clip(seed, 16, 96, 128)
        ground = ~clip.masks.any(axis=1)
        if checked == 4:
            break
        if clip.flow_forward[0][:, ground[0]].any():
            both = ground[0] & ground[15]
            # The same everywhere: summed over time.
            shift = clip.flow_forward[:, :, ground[:15].all(axis=0)].mean(axis=2).sum(axis=0)
            matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
            moved = cv2.warpAffine(
                clip.frames[15], matrix, (128, 96), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            )
            inner = cv2.erode(both.astype(np.uint8), np.ones((25, 25)), borderValue=0) > 0
            if np.hypot(*shift) < 2 or inner.sum() < 50:
                continue
            still = np.abs(clip.frames[15].astype(int) - clip.frames[0])[inner].mean()
            assert np.abs(moved.astype(int) - clip.frames[0])[inner].mean() < min(1.0, 0.3 * still)
            checked += 1
    assert checked == 4


def test_shapes_and_types(clips):
    clip = clips[0]
    count = len(clip.objects)
    assert (clip.frames.shape, clip.frames.dtype) == ((16, 96, 128, 3), np.uint8)
    assert (clip.masks.shape, clip.masks.dtype) == ((16, count, 96, 128), bool)
    for flow in (clip.flow_forward, clip.flow_backward):
        assert (flow.shape, flow.dtype) == ((15, 2, 96, 128), np.float32)


def test_masks_do_not_overlap_and_show_in_annotated_frames(clips):
    for clip in clips:
        assert clip.masks.sum(axis=1).max() == 1
        areas = clip.masks[list(clip.annotated)].sum(axis=(2, 3))
        assert areas.min() > 0.015 * 96 * 128


def test_a_mask_is_where_its_object_was_painted():
    """Taking the nearest object away changes the picture in its mask and nowhere else."""
    scene = sample_scene(np.random.default_rng(3), 3, 8, 96, 128)
    frames, owners = draw(scene)
    fewer, _ = draw(replace(scene, shapes=scene.shapes[:-1]))
    top = owners == len(scene.shapes) - 1
    changed = np.abs(frames.astype(int) - fewer).max(axis=3) > 40
    rim = (
        np.stack(
            [
                cv2.dilate(m.astype(np.uint8), np.ones((3, 3)))
                - cv2.erode(m.astype(np.uint8), np.ones((3, 3)))
                for m in top
            ]
        )
        > 0
    )
    assert changed[top & ~rim].mean() > 0.9
    assert not changed[~top & ~rim].any()


def test_objects_occlude_each_other(clips):
    """In most clips some object is seen smaller at one annotated frame than where it is free."""
    hidden = 0
    for clip in clips:
        areas = clip.masks.sum(axis=(2, 3))[list(clip.annotated)].astype(float)
        hidden += bool((areas.min(axis=0) < 0.93 * areas.max(axis=0)).any())
    assert hidden >= len(clips) // 3


def test_motions_are_seen_around_each_annotated_frame():
    seen = set()
    for seed in range(30):
        clip = render_clip(seed, 16, 96, 128)
        for k, thing in enumerate(clip.objects):
            seen.add(thing.motion)
            for t in clip.annotated:
                window = range(max(t - 3, 0), min(t + 2, 15))
                steps = [
                    clip.flow_forward[s][:, clip.masks[s, k]]
                    for s in window
                    if clip.masks[s, k].any()
                ]
                steps = np.array([step[:, 0] for step in steps])  # rigid: one vector a frame
                if thing.motion == "still":
                    assert not steps.any()
                    continue
                assert np.linalg.norm(steps, axis=1).mean() >= 1.5, (seed, thing)
                if thing.motion in DIRECTIONS:
                    assert (steps @ DIRECTIONS[thing.motion] >= 1.5).all()
                elif thing.motion == "bouncing":
                    assert (
                        not steps[:, 0].any()
                        and (steps[:, 1] > 0).any()
                        and (steps[:, 1] < 0).any()
                    )
                else:
                    angles = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
                    assert abs(angles[-1] - angles[0]) > 1.5  # rad: no straight line
    assert seen == {"left", "right", "up", "down", "circling", "bouncing", "still"}


def test_the_seed_decides():
    first, again, other = (
        render_clip(5, 8, 96, 128),
        render_clip(5, 8, 96, 128),
        render_clip(6, 8, 96, 128),
    )
    assert np.array_equal(first.frames, again.frames) and np.array_equal(first.masks, again.masks)
    assert not np.array_equal(first.frames, other.frames)


@pytest.mark.parametrize(
    ("count", "height", "width"), [(2, 96, 128), (8, 64, 64), (90, 64, 128), (9, 160, 96)]
)
def test_other_sizes(count, height, width):
    clip = render_clip(1, count, height, width)
    assert clip.frames.shape == (count, height, width, 3)
    assert clip.masks[list(clip.annotated)].any(axis=(2, 3)).all()
    # Whoever leaves a long clip comes back elsewhere, but never jumps while it is seen.
    assert np.abs(clip.flow_forward).max() < 12
