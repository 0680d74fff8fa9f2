"""The probe on sentences and masks that are judged by hand, and as a command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from moving_shapes.hand_made import scene, shape, three_stars

from losh.commands.probe.measures import Change, change_of, summary
from losh.commands.probe.run import model_file, probe
from losh.commands.probe.swaps import Swap, swap_of
from losh.errors import UserError
from losh.moving_shapes.expressions import describe_scene
from losh.moving_shapes.meaning import Meaning, Noun, Relation, referents
from losh.testing.tiny_training import tiny_params

STAR = Noun("star", "red")


def test_an_ambiguous_sentence_comes_to_name_another_object():
    """Of the stars "0" goes right, "1" circles, "2" stands still: "0" is the first other one."""
    said = Meaning(STAR, motion="circling")
    found = swap_of(three_stars(), said, "ambiguous", "1", "the red star that is circling")
    assert found == Swap(
        "the red star that is moving right", "the red star that is moving in circles", "0"
    )


def test_the_longest_wording_is_what_is_swapped():
    said = Meaning(STAR, motion="right")
    text = "a red star moving to the right"
    found = swap_of(three_stars(), said, "ambiguous", "0", text)
    assert found == Swap("a red star circling", "a red star moving right", "1")


def test_where_looks_decide_the_action_is_one_that_no_third_object_has():
    """ "0" and "2" stand still, so that only "3" goes where its action says."""
    clip = scene(
        shape("0", "blue star", "still", 20, 30),
        shape("1", "red star", "circling", 64, 30),
        shape("2", "red square", "still", 108, 30),
        shape("3", "blue square", "up", 60, 70, (0, -2)),
    )
    said = Meaning(STAR, motion="circling")
    found = swap_of(clip, said, "plain", "1", "red star circling")
    assert found == Swap("red star moving up", "red star moving in circles", "3")


@pytest.mark.parametrize(
    ("meaning", "text"),
    [
        (Meaning(STAR, place="left"), "red star on the left"),
        (Meaning(STAR, motion="moving"), "red star moving"),
        (
            Meaning(STAR, motion="right", relation=Relation("past", Noun("square"))),
            "red star moving right past the square",
        ),
        (
            Meaning(STAR, relation=Relation("above", Noun("square"), "still")),
            "red star above the square that is standing still",
        ),
        (Meaning(STAR, motion="right"), "red star that walks"),
    ],
)
def test_sentences_without_an_action_of_their_own_are_left_out(meaning: Meaning, text: str):
    assert swap_of(three_stars(), meaning, "ambiguous", "0", text) is None


def test_the_swap_must_leave_a_sentence_that_reads_as_it_is_meant():
    """ "moving up below the square" would sound like where it goes; none else serves."""
    clip = scene(
        shape("0", "red star", "still", 30, 60), shape("1", "blue square", "up", 30, 20, (0, -1))
    )
    said = Meaning(STAR, motion="still")
    below = Meaning(STAR, motion="still", relation=Relation("below", Noun("square")))
    assert swap_of(clip, said, "plain", "0", "red star staying still") is not None
    assert swap_of(clip, below, "plain", "0", "red star staying still below the square") is None


def test_swaps_of_generated_sentences_do_what_they_say():
    counted = dict.fromkeys(("plain", "misleading", "ambiguous"), 0)
    for seed in range(60):
        clip, described = describe_scene(seed, 16, 96, 128)
        for d in described:
            found = swap_of(clip, d.meaning, d.kind, d.instance, d.text)
            if found is None:
                continue
            counted[d.kind] += 1
            other = next(one for one in clip.shapes if one.instance == found.other)
            assert len({d.text, found.text, found.reworded}) == 3
            said = Meaning(d.meaning.noun, other.motion.kind, d.meaning.place, d.meaning.relation)
            named = [one.instance for one in referents(clip, said)]
            assert (named == [found.other]) == (d.kind == "ambiguous")
    assert min(counted.values()) > 5


def row(first: int, last: int) -> np.ndarray:
    mask = np.zeros((1, 12), bool)
    mask[0, first:last] = True
    return mask


def test_measures_by_hand():
    """The prediction leaves its own object (pixels 0 to 3) for half of the other (6 to 9)."""
    change = change_of(
        "a", "ambiguous", (row(0, 4), row(3, 8), row(0, 3)), own=row(0, 4), other=row(6, 10)
    )
    assert change == Change(
        "a",
        "ambiguous",
        own_before=1,
        own_after=1 / 8,
        other_before=0,
        other_after=2 / 7,
        changed=1 - 1 / 8,
        changed_reworded=1 - 3 / 4,
    )
    assert change.follows == 1


def test_summary_by_hand():
    """Two clips: both measures' draws are aa, ab, bb, so their ends are those of one clip."""
    given = [
        Change("a", "plain", 1, 1, 0, 0, 0.2, 0.1),
        Change("a", "ambiguous", 1, 0, 0, 0.5, 0.6, 0.1),
        Change("b", "ambiguous", 1, 0.5, 0, 0.5, 1.0, 0.4),
    ]
    found = summary(given)
    assert list(found) == ["plain", "ambiguous", "all"]
    assert "changed_interval" not in found["plain"] and found["plain"]["changed"] == 0.2
    ambiguous = found["ambiguous"]
    assert ambiguous["samples"] == 2 and ambiguous["own_after"] == 0.25
    assert ambiguous["changed"] == pytest.approx(0.8)
    assert ambiguous["changed_interval"] == pytest.approx({"low": 0.6, "high": 1.0})
    assert ambiguous["changed_reworded"] == pytest.approx(0.25)
    # Equal IoUs with both objects are no sign that it follows.
    assert ambiguous["follows"] == 0.5 and found["all"]["follows"] == pytest.approx(1 / 3)


def test_the_command_probes_each_model_and_writes_what_it_prints(
    tiny_shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    model = str(tiny_shapes / "model.safetensors")
    params = tiny_params().evaluate
    found = probe([model], "shapes", params, tiny_shapes / "data", tmp_path / "metrics")
    written = json.loads((tmp_path / "metrics" / "probe.json").read_text())
    assert written == {"dataset": "shapes", "rule": "long", "models": found}
    scores = found[model]["all"]
    assert scores["samples"] == sum(
        one["samples"] for kind, one in found[model].items() if kind != "all"
    )
    assert 0 <= scores["changed"] <= 1
    assert f"{scores['own_before']:.3f}" in capsys.readouterr().out


def test_a_dataset_without_known_meanings_is_refused(tiny_data: Path, tmp_path: Path):
    with pytest.raises(UserError, match="what the sentences of tiny mean"):
        probe([], "tiny", tiny_params().evaluate, tiny_data, tmp_path)


def test_a_model_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="no-such-experiment is no model file"):
        model_file("no-such-experiment", tmp_path)
