"""Each expression names exactly one object, and long and short text really differ."""

from collections import Counter

import pytest
from moving_shapes.reading import looks_like, meant, read

from losh.moving_shapes.expressions import describe_scene, sample_expressions

SCENES = 160


@pytest.fixture(scope="module")
def described():
    """(scene, expression) of many clips."""
    return [
        (scene, d)
        for seed in range(SCENES)
        for scene, found in [describe_scene(seed, 16, 96, 128)]
        for d in found
    ]


def test_every_expression_names_its_object_alone(described):
    for scene, d in described:
        assert meant(scene, read(d.text)) == [d.instance], f"seed {scene.seed}: {d.text}"


def test_the_reader_would_notice_a_wrong_object(described):
    """The check above is worth something: told of another object's expression, it objects."""
    wrong = [
        (scene, d, other)
        for scene, d in described
        for s, other in described
        if s is scene and other.instance != d.instance
    ]
    assert all(meant(scene, read(d.text)) != [other.instance] for scene, d, other in wrong)


def test_unique_in_other_sizes_and_lengths():
    for seed in range(15):
        for size in ((8, 64, 64), (40, 96, 160), (16, 128, 96)):
            scene, found = describe_scene(seed, *size)
            assert len(found) >= 2
            for d in found:
                assert meant(scene, read(d.text)) == [d.instance], f"seed {seed} {size}: {d.text}"


def test_kinds_are_what_they_claim(described):
    for scene, d in described:
        alike = [s for s in scene.shapes if looks_like(s, read(d.short_text).looks)]
        facts = read(d.text)
        if d.kind == "ambiguous":
            assert len(alike) > 1
            continue
        assert [s.instance for s in alike] == [d.instance], d.text
        shared = [
            s for s in scene.shapes if s.motion.kind == facts.motion and s.instance != d.instance
        ]
        assert bool(shared or facts.relation) == (d.kind == "misleading"), d.text


def test_every_kind_and_every_way_to_say_it_is_common(described):
    kinds = Counter(d.kind for _, d in described)
    assert min(kinds.values()) > 0.2 * len(described) and len(kinds) == 3
    facts = [read(d.text) for _, d in described]
    assert {f.motion for f in facts} >= {
        "left",
        "right",
        "up",
        "down",
        "circling",
        "bouncing",
        "still",
        "moving",
    }
    assert {f.place for f in facts} >= {"left", "right", "top", "bottom"}
    assert {f.relation for f in facts} >= {
        "left of",
        "right of",
        "above",
        "below",
        "next to",
        "past",
        "behind",
        "in front of",
    }
    assert any(f.anchor_motion for f in facts)


def test_half_of_the_clips_have_twins(described):
    scenes = {scene.seed: scene for scene, _ in described}
    twins = [
        scene
        for scene in scenes.values()
        if len({s.look for s in scene.shapes}) < len(scene.shapes)
    ]
    assert 0.4 < len(twins) / len(scenes) < 0.65
    assert all(2 <= count <= 4 for count in Counter(scene.seed for scene, _ in described).values())


def test_the_short_text_is_the_subject(described):
    for _, d in described:
        short = read(d.short_text)
        assert d.text.startswith(d.short_text)
        assert (short.motion, short.place, short.relation) == (None, None, None)
        assert short.looks == read(d.text).looks
        assert read(d.short_text_with_position).place == read(d.text).place
    assert sum(d.text != d.short_text for _, d in described) > 0.6 * len(described)


def test_sampled_expressions_are_seeded_readable_and_of_few_words():
    texts = sample_expressions(4, 400)
    assert (
        len(texts) == 400
        and texts == sample_expressions(4, 400)
        and texts != sample_expressions(5, 400)
    )
    assert all(read(text) for text in texts)
    assert len({word for text in texts for word in text.split()}) <= 65
