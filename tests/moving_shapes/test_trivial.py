"""Trivial predictors on masks that are easy to check by hand."""

import numpy as np

from losh.moving_shapes.trivial_predictors import trivial_masks


def _row(first: int, last: int) -> np.ndarray:
    mask = np.zeros((1, 20), bool)
    mask[0, first:last] = True
    return mask


MASKS = {"0": _row(0, 3), "1": _row(3, 9), "2": _row(9, 13)}
OBJECTS = {
    "0": {"colour": "red"},
    "1": {"colour": "blue"},
    "2": {"colour": "red"},
    "3": {"colour": "green"},
}


def test_largest_object():
    found = trivial_masks("the small red circle", MASKS, OBJECTS, 0)
    assert np.array_equal(found["largest_object"], MASKS["1"])


def test_random_object_has_the_subjects_colour():
    texts = [f"the red circle number {k} above the blue square" for k in range(40)]
    found = [
        trivial_masks(text, MASKS, OBJECTS, 0)["random_object_of_named_colour"] for text in texts
    ]
    chosen = {name for mask in found for name in MASKS if np.array_equal(mask, MASKS[name])}
    assert chosen == {"0", "2"}


def test_random_object_depends_on_seed_and_text_alone():
    text = "red star"
    picks = [
        trivial_masks(text, MASKS, OBJECTS, seed)["random_object_of_named_colour"].tobytes()
        for seed in range(30)
    ]
    again = [
        trivial_masks(text, MASKS, OBJECTS, seed)["random_object_of_named_colour"].tobytes()
        for seed in range(30)
    ]
    assert picks == again and len(set(picks)) == 2


def test_a_colour_that_is_not_seen_leaves_all_objects():
    found = {
        trivial_masks(f"green star {k}", MASKS, OBJECTS, 0)[
            "random_object_of_named_colour"
        ].tobytes()
        for k in range(40)
    }
    assert len(found) == 3
