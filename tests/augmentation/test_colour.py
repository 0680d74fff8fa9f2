"""Photometric distortion: ranges, order and what becomes of values beyond 0 to 255."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from losh.augmentation.colour import distort
from losh.params import ColourParams

NOTHING = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


def made(frame: np.ndarray, seed: int, **params: object) -> np.ndarray:
    checked = ColourParams.model_validate({"probability": 1.0, **NOTHING, **params})
    return distort(frame, checked, np.random.default_rng(seed))


def grey(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def test_brightness_is_added_within_its_range():
    found = [int(made(grey(100), seed, brightness=32.0)[0, 0, 0]) for seed in range(200)]
    assert min(found) in range(68, 72) and max(found) in range(128, 133)
    assert len(set(found)) > 40


def test_contrast_is_a_factor_within_its_range():
    found = [int(made(grey(100), seed, contrast=0.5)[0, 0, 0]) for seed in range(200)]
    assert min(found) in range(50, 54) and max(found) in range(146, 151)


def test_saturation_and_hue_are_those_of_hsv():
    image = np.dstack([np.full((1, 1), v, np.uint8) for v in (200, 100, 50)])
    h, s, v = colorsys.rgb_to_hsv(200 / 255, 100 / 255, 50 / 255)
    for seed in range(100):
        r, g, b = made(image, seed, hue=18.0)[0, 0] / 255
        turned = (colorsys.rgb_to_hsv(r, g, b)[0] - h) * 360
        assert -19.5 < turned < 19.5 and abs(colorsys.rgb_to_hsv(r, g, b)[1] - s) < 0.02
        r, g, b = made(image, seed, saturation=0.2)[0, 0] / 255
        assert 0.78 < colorsys.rgb_to_hsv(r, g, b)[1] / s < 1.22
        assert colorsys.rgb_to_hsv(r, g, b)[2] == pytest.approx(v, abs=0.005)
    turns = [made(image, seed, hue=18.0)[0, 0].tobytes() for seed in range(60)]
    assert len(set(turns)) > 30


def test_what_leaves_the_range_wraps_round_unless_it_is_clipped():
    bright = {"brightness": 32.0}
    found = {
        clip: {int(made(grey(250), seed, **bright, clip=clip)[0, 0, 0]) for seed in range(100)}
        for clip in ("never", "after_brightness", "always")
    }
    assert min(found["never"]) < 27 and max(found["never"]) == 255  # 282 is 26
    assert min(found["always"]) >= 218 and max(found["always"]) == 255
    assert found["after_brightness"] == found["always"]  # nothing follows the brightness
    more = [
        int(made(grey(250), seed, contrast=0.2, clip="after_brightness")[0, 0, 0])
        for seed in range(100)
    ]
    assert min(more) < 45, "contrast comes after that clipping: 300 is 44"


def test_channels_change_places():
    image = np.dstack([np.full((1, 1), v, np.uint8) for v in (10, 20, 30)])
    found = [tuple(made(image, seed, permutation=1.0)[0, 0]) for seed in range(60)]
    assert len(set(found)) == 6
    few = [tuple(made(image, seed, permutation=0.2)[0, 0]) for seed in range(200)]
    assert 10 < sum(one != (10, 20, 30) for one in few) < 60


def test_half_of_the_changes_are_drawn_with_a_probability_of_one_half():
    params = ColourParams.model_validate({**NOTHING, "probability": 0.5, "brightness": 32.0})
    frames = [distort(grey(100), params, np.random.default_rng(seed)) for seed in range(200)]
    assert 70 < sum(int(f[0, 0, 0]) == 100 for f in frames) < 130


def test_the_frame_that_is_given_stays_as_it_is():
    frame = grey(100)
    made(frame, 0, brightness=32.0, contrast=0.5, saturation=0.5, hue=18.0, permutation=1.0)
    assert (frame == 100).all()
