"""A flip mirrors frames, masks, flow and whole words, and nothing else; resizing scales flow."""

import numpy as np
import pytest

from losh.clips import transforms


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("man on the left", "man on the right"),
        ("a bright red upright copyright", "a bright red upright copyright"),
        ("Left ball, RIGHT ball", "Right ball, LEFT ball"),
        ("leftmost of the right-hand dogs", "rightmost of the left-hand dogs"),
        ("moving leftwards", "moving rightwards"),
        ("cleft alright lefty", "cleft alright lefty"),
    ],
)
def test_only_whole_words_are_mirrored(text, mirrored):
    assert transforms.mirror_words(text) == mirrored
    assert transforms.mirror_words(mirrored) == text


def test_frames_and_masks_are_mirrored_along_the_width():
    frames = np.zeros((2, 4, 6, 3), np.uint8)
    frames[:, 1, 0] = 7
    assert (transforms.mirror_image(frames)[:, 1, 5] == 7).all() and transforms.mirror_image(
        frames
    ).sum() == frames.sum()
    masks = np.zeros((2, 4, 6), bool)
    masks[:, 1, 0] = True
    assert transforms.mirror_image(masks)[:, 1, 5].all()


def test_a_mirrored_flow_warps_the_mirrored_frame_as_the_flow_warps_the_frame():
    rng = np.random.default_rng(0)
    frame = rng.random((5, 9))
    u = 2  # every pixel moves two to the right
    moved = np.roll(frame, u, axis=1)
    flow = np.zeros((2, 5, 9), np.float32)
    flow[0] = u
    mirrored = transforms.mirror_flow(flow)
    source, target = frame[:, ::-1], moved[:, ::-1]
    for x in range(2, 7):
        assert np.allclose(source[:, x], target[:, x + int(mirrored[0, 0, x])])


def test_mirroring_flow_mirrors_the_field_and_negates_u_alone():
    flow = np.arange(2 * 2 * 3, dtype=np.float32).reshape(2, 2, 3)
    mirrored = transforms.mirror_flow(flow)
    assert (mirrored[0] == -flow[0, :, ::-1]).all() and (mirrored[1] == flow[1, :, ::-1]).all()
