"""COCO's polygons and run-length codes: read as pycocotools does, damage refused."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from losh.datasets.coco_masks import mask_of_code, mask_of_polygons


def code_of(mask: np.ndarray) -> dict:
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(code["size"]), "counts": code["counts"].decode()}


def test_polygons_are_united():
    left, right = [0, 0, 3, 0, 3, 4, 0, 4], [5, 0, 8, 0, 8, 4, 5, 4]
    expected = np.zeros((6, 10), bool)
    expected[:4, :3] = expected[:4, 5:8] = True
    np.testing.assert_array_equal(mask_of_polygons([left, right], 6, 10), expected)
    assert not mask_of_polygons([], 6, 10).any()


@pytest.mark.parametrize(
    "polygons",
    [None, {"counts": []}, [1, 2, 3, 4], [[0, 0, 3, 4]], [[0, 0, 3, 0, 3]],
     [[0, 0, 3, 0, 3, float("nan")]], [[0, 0, 3, 0, 3, "4"]]],
)  # fmt: skip
def test_what_is_no_polygon_is_refused(polygons):
    with pytest.raises(ValueError, match="polygon"):
        mask_of_polygons(polygons, 6, 10)


def test_codes_of_all_sorts_of_masks_come_back():
    rng = np.random.default_rng(0)
    masks = [rng.random(rng.integers(1, 90, 2)) < rng.random() ** 2 for _ in range(60)]
    big = np.zeros((400, 900), bool)
    big[17:390, 33:801] = True
    for mask in [*masks, big, ~big, np.zeros((3, 5), bool), np.ones((3, 5), bool)]:
        np.testing.assert_array_equal(mask_of_code(code_of(mask)), mask)


GOOD = code_of(np.eye(5, 7, dtype=bool))


@pytest.mark.parametrize(
    "code",
    [
        "text",
        {},
        {**GOOD, "size": [5]},
        {**GOOD, "size": [5, 8]},  # pycocotools would fill the rest with what lay in memory
        {**GOOD, "size": [5, 6]},
        {**GOOD, "size": [5, True]},
        {**GOOD, "size": [1 << 20, 1 << 20]},
        {**GOOD, "counts": ""},
        {**GOOD, "counts": GOOD["counts"][:-1]},
        {**GOOD, "counts": GOOD["counts"] + "o"},
        {**GOOD, "counts": "é"},
        {**GOOD, "counts": [35]},
        {"size": [5, 7], "counts": "S1M`0"},  # a run of -3
        {"size": [5, 7], "counts": "oooooooooo0"},
    ],
)
def test_damaged_codes_are_refused(code):
    with pytest.raises(ValueError, match="mask"):
        mask_of_code(code)
