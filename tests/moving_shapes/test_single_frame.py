"""What one frame shows of an expression, on a scene that is judged by eye."""

from __future__ import annotations

import json

import numpy as np
import pytest
from moving_shapes.hand_made import FRAMES, scene, shape, three_stars

from losh.moving_shapes.expressions import describe_scene, kind_of
from losh.moving_shapes.meaning import Meaning, Noun, Relation, referents
from losh.moving_shapes.single_frame import GROUPS, candidates, expected_iou, kind_of_sample
from losh.moving_shapes.truth import read_truth, truth_as_json

STAR, SQUARE = Noun("star", "red"), Noun("square", "blue")


def fitting(meaning: Meaning) -> list[str]:
    (found,) = {tuple(candidates(three_stars(), meaning, frame)) for frame in FRAMES}
    return list(found)


@pytest.mark.parametrize(
    ("meaning", "expected"),
    [
        (Meaning(STAR), ["0", "1", "2"]),
        (Meaning(STAR, motion="right"), ["0", "1", "2"]),
        (Meaning(STAR, motion="moving"), ["0", "1", "2"]),
        (Meaning(STAR, motion="still"), ["0", "1", "2"]),
        # (20 + 2) / 128 and less is left of 0.42; "1", at 70 / 128, is in the middle.
        (Meaning(STAR, place="left"), ["0"]),
        (Meaning(STAR, motion="circling", place="right"), ["2"]),
        # A square lies 20 px below "0", another below "2"; from "1" both are 36 px aside or more.
        (Meaning(STAR, relation=Relation("above", SQUARE, "up")), ["0", "2"]),
        (Meaning(STAR, relation=Relation("above", SQUARE)), ["0", "2"]),
        (Meaning(STAR, relation=Relation("past", SQUARE)), ["0", "1", "2"]),
        (Meaning(SQUARE, motion="up", relation=Relation("past", SQUARE)), ["3", "4"]),
        (Meaning(Noun("star", "blue")), []),
    ],
)
def test_candidates(meaning: Meaning, expected: list[str]) -> None:
    assert fitting(meaning) == expected


def test_nothing_passes_itself() -> None:
    """The one blue circle is no candidate for what moves past it, though it looks alike."""
    clip = scene(
        shape("0", "blue circle", "right", 30, 30, (2, 0)), shape("1", "red star", "still", 60, 30)
    )
    said = Meaning(Noun("circle"), relation=Relation("past", Noun("circle", "blue")))
    assert candidates(clip, said, 3) == []


def test_each_frame_is_judged_by_itself() -> None:
    """The star crosses the middle: on the left in frame 2, on neither side in 3, right in 4."""
    clip = scene(shape("0", "red star", "right", 62, 40, (20, 0)))
    said = {place: Meaning(STAR, place=place) for place in ("left", "right")}
    found = {place: [candidates(clip, said[place], t) for t in FRAMES] for place in said}
    assert found == {"left": [["0"], [], []], "right": [[], [], ["0"]]}


def test_what_a_frame_shows_is_enough_where_nothing_moves_in_the_sentence() -> None:
    """On generated clips: the object is always a candidate, and the only one if no motion is
    said.
    """
    counted = {"alone": 0, "several": 0}
    for seed in range(60):
        clip, described = describe_scene(seed, 16, 96, 128)
        for d in described:
            said, told = d.meaning, d.meaning.relation
            moves = said.motion or (told and (told.kind == "past" or told.anchor_motion))
            for frame in clip.annotated:
                found = candidates(clip, said, frame)
                assert d.instance in found
                assert moves or found == [d.instance], d.text
                counted["alone" if len(found) == 1 else "several"] += 1
    assert min(counted.values()) > 50


def test_expected_iou_shares_the_guess_out_evenly() -> None:
    def row(first: int, last: int) -> np.ndarray:
        mask = np.zeros((1, 12), bool)
        mask[0, first:last] = True
        return mask

    masks = {"0": row(0, 4), "1": row(2, 6), "2": row(6, 9)}
    assert expected_iou(["0"], masks, masks["0"]) == 1
    # Of 0 and 1 two of six pixels are common; 2 has none of 0's; a hidden object has no mask.
    assert expected_iou(["0", "1", "2"], masks, masks["0"]) == pytest.approx((1 + 2 / 6 + 0) / 3)
    assert expected_iou(["0", "9"], masks, masks["0"]) == 0.5
    assert expected_iou([], masks, masks["0"]) == 0


def test_kinds_of_samples() -> None:
    clip = three_stars()
    said = {
        "motion": Meaning(STAR, motion="circling"),
        "place_or_relation": Meaning(STAR, place="left"),
    }
    for kind, meaning in said.items():
        assert kind_of(clip, meaning) == "ambiguous" and len(referents(clip, meaning)) == 1
        assert kind_of_sample("ambiguous", candidates(clip, meaning, 3)) == kind
    for kind in ("plain", "misleading"):
        assert kind_of_sample(kind, ["0", "1"]) == kind
    assert set(GROUPS["looks"] + GROUPS["ambiguous"]) == set(GROUPS) - {"looks", "ambiguous"}


def test_truth_survives_json() -> None:
    for seed in range(6):
        clip, described = describe_scene(seed, 16, 96, 128)
        told = [(d.meaning, d.kind) for d in described]
        known = read_truth(json.loads(json.dumps(truth_as_json(clip, told))))
        assert known.meanings == tuple(d.meaning for d in described)
        assert known.kinds == tuple(d.kind for d in described)
        for d in described:
            assert [s.instance for s in referents(known.scene, d.meaning)] == [d.instance]
            for frame in clip.annotated:
                assert candidates(known.scene, d.meaning, frame) == candidates(
                    clip, d.meaning, frame
                )
