"""Sizes and crops: drawn from the published ranges, and what a crop holds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from losh.augmentation.sizes import Held, draw_geometry
from losh.clips.geometry import Geometry
from losh.errors import UserError
from losh.media.resizing import InputSize, network_size
from losh.params import AugmentationParams
from losh.testing.tiny_training import tiny_params

SIDES = [288, 320, 352, 392, 416, 448, 480, 512]
USUAL = InputSize(360, 640, "pil_bilinear")


def geometries(
    count: int = 200, frame: tuple[int, int] = (720, 1280), held: Held | None = None, **params
) -> list[Geometry]:
    checked = AugmentationParams.model_validate(params)
    return [
        draw_geometry(frame, USUAL, checked, np.random.default_rng(seed), False, held)
        for seed in range(count)
    ]


def test_nothing_asked_for_is_the_usual_size():
    assert set(geometries()) == {Geometry((360, 640), resize_filter="pil_bilinear")}


def test_one_of_several_sizes_by_the_published_rule():
    found = Counter(g.size for g in geometries(800, short_sides=SIDES, long_side=640))
    expected = Counter(network_size(720, 1280, side, 640) for side in SIDES)
    assert found.keys() == expected.keys() and (360, 640) in found  # the long side's limit
    assert max(width for _, width in found) <= 640
    assert abs(found[288, 512] - 100) < 35 and abs(found[360, 640] - 500) < 70


def test_crops_are_of_the_published_sizes():
    crop = {"probability": 0.5, "final_short_sides": SIDES, "final_long_side": 640}
    drawn = geometries(800, short_sides=[300], long_side=700, crop=crop)
    plain = [g for g in drawn if g.crop is None]
    crops = [(g.crop, g.size) for g in drawn if g.crop is not None]
    assert abs(len(plain) - 400) < 60 and {g.size for g in plain} == {(300, 533)}
    befores = Counter(c.before for c, _ in crops)
    assert befores.keys() == {(400, 711), (500, 888), (600, 1066)}  # no limit, truncated
    for c, size in crops:
        assert 384 <= c.height <= min(600, c.before[0]) and 384 <= c.width <= 600
        assert 0 <= c.top <= c.before[0] - c.height and 0 <= c.left <= c.before[1] - c.width
        shorts = {network_size(c.height, c.width, side, 640) for side in SIDES}
        assert size in shorts
    tall = [c.height for c, _ in crops if c.before[0] == 600]
    assert min(tall) < 395 and max(tall) > 590


def test_a_crop_holds_the_box_where_it_can():
    small = Held(0.8, 0.1, 0.9, 0.2)
    crop = {"probability": 1.0, "keeps": "whole"}
    for g in geometries(held=small, crop=crop):
        c = g.crop
        height, width = c.before
        assert c.top <= int(0.8 * height) and c.top + c.height >= np.ceil(0.9 * height)
        assert c.left <= int(0.1 * width) and c.left + c.width >= np.ceil(0.2 * width)
    wide = Held(0.0, 0.0, 1.0, 1.0)
    for g in geometries(held=wide, crop=crop):  # longer than any crop: the crop lies within it
        c = g.crop
        assert c.height == min(600, c.before[0]) and c.width == 600
        assert 0 <= c.left <= c.before[1] - 600
    loose = [g.crop for g in geometries(held=None, crop=crop)]
    assert any(c.top + c.height < 0.9 * c.before[0] for c in loose), "without it some do not"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"train__augmentation__crop__sides": [420, 600]},
            ["train.augmentation.crop", "at least 420 px", "short side of 400"],
        ),
        ({"train__augmentation__crop__sides": [500, 400]}, ["smallest and the largest"]),
        ({"train__augmentation__crop__sides": [0, 400]}, ["crop.sides[0]", "32"]),
        ({"train__augmentation__short_sides": [288, -1]}, ["augmentation.short_sides[1]", "32"]),
        ({"train__augmentation__short_sides": [9000]}, ["short_sides is at most 8192"]),
        (
            {
                "train__augmentation__short_sides": [300, 500],
                "train__augmentation__long_side": 400,
            },
            ["long_side is 400", "500"],
        ),
        ({"train__augmentation__crop__probability": 1.5}, ["crop.probability", "1.5"]),
        ({"train__augmentation__clips": "dense"}, ["augmentation.clips", "'dense'"]),
        (
            {"train__augmentation__clips": "sparse", "frames__window": 2},
            ["frames.window is 2", "3 or more"],
        ),
        ({"train__augmentation__reach": 0}, ["augmentation.reach", "1"]),
    ],
)
def test_what_cannot_be_is_one_line(changes: dict, expected: list[str]):
    with pytest.raises(UserError) as error:
        tiny_params(**changes)
    assert "\n" not in str(error.value)
    for part in expected:
        assert part in str(error.value)
