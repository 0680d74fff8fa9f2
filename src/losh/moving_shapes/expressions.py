"""Referring expressions for a scene: what to say of which object, checked to name it alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from losh.moving_shapes.arrangement import Scene, Shape, sample_scene
from losh.moving_shapes.grammar import Wording, put_in_words
from losh.moving_shapes.meaning import (
    RELATIONS,
    Meaning,
    Noun,
    Relation,
    anchors_of,
    named,
    referents,
    stands,
)
from losh.moving_shapes.motion import DIRECTIONS

KINDS = ("ambiguous", "misleading", "plain")
TRIES = 24  # meanings drawn for an object before it gets no expression of a kind
AXES = {"left": 0, "right": 0, "up": 1, "down": 1, "above": 1, "below": 1}


@dataclass(frozen=True)
class Described:
    """An expression with its truth."""

    instance: str
    text: str
    short_text: str
    """The subject and its looks alone."""
    short_text_with_position: str
    """The same, with the place in the frame where the expression names one."""
    kind: str
    """ambiguous: several objects look as it says, and motion, place or relation decides;
    misleading: the looks decide, and it speaks of another object or of an action that another
    shares; plain: the looks decide, and nothing leads astray.
    """
    meaning: Meaning


def describe_scene(
    seed: int, num_frames: int, height: int, width: int
) -> tuple[Scene, list[Described]]:
    """Return the scene of a seed, and two to four expressions for it."""
    return _describe(np.random.default_rng((seed, 1)), seed, num_frames, height, width)


def sample_expressions(seed: int, count: int) -> list[str]:
    """Draw expressions as the dataset has them, without drawing the clips.

    They are of clips of 16 frames, 96 x 128.
    """
    rng = np.random.default_rng((seed, 3))
    texts: list[str] = []
    while len(texts) < count:
        texts += [described.text for described in _describe(rng, seed, 16, 96, 128)[1]]
    return texts[:count]


def _describe(
    rng: np.random.Generator, seed: int, num_frames: int, height: int, width: int
) -> tuple[Scene, list[Described]]:
    while True:
        scene = sample_scene(rng, seed, num_frames, height, width)
        described = _expressions(rng, scene)
        # Twins that nothing tells apart are no use: such a scene is drawn anew.
        if len(described) >= 2 and (
            not scene.twins or any(d.kind == "ambiguous" for d in described)
        ):
            return scene, described


def _expressions(rng: np.random.Generator, scene: Scene) -> list[Described]:
    """Draw at most four expressions, one per object, twins first."""
    twins = [s for s in scene.shapes if sum(s.look == other.look for other in scene.shapes) > 1]
    others = [s for s in scene.shapes if s not in twins]
    wanted = [*twins, *(others[k] for k in rng.permutation(len(others)))][: int(rng.integers(3, 5))]
    found = [_express(rng, scene, shape, shape in twins) for shape in wanted]
    return [described for described in found if described is not None]


def _express(rng: np.random.Generator, scene: Scene, shape: Shape, twin: bool) -> Described | None:
    """Return an expression for one object; None if no meaning names it alone."""
    wish = "ambiguous" if twin else str(rng.choice(KINDS, p=(0.15, 0.5, 0.35)))
    true = [
        (kind, anchor)
        for kind in RELATIONS
        for anchor in scene.shapes
        if stands(scene, shape, kind, anchor)
    ]
    for kind in (wish, "plain"):
        for _ in range(TRIES):
            meaning = _sample_meaning(rng, scene, shape, kind, true)
            if (
                meaning is None
                or kind_of(scene, meaning) != kind
                or referents(scene, meaning) != [shape]
            ):
                continue
            words: Wording = put_in_words(rng, meaning)
            return Described(
                shape.instance, words.text, words.short, words.short_with_position, kind, meaning
            )
    return None


def kind_of(scene: Scene, meaning: Meaning) -> str:
    """One of KINDS, from the scene's truth."""
    alike = named(scene, meaning.noun)
    if len(alike) > 1:
        return "ambiguous"
    shared = any(s.motion.kind == meaning.motion for s in scene.shapes if s not in alike)
    return "misleading" if shared or meaning.relation is not None else "plain"


def _sample_meaning(
    rng: np.random.Generator, scene: Scene, shape: Shape, kind: str, true: list[tuple[str, Shape]]
) -> Meaning | None:
    """Draw something to say of an object; whether it names it alone is for the checker."""
    chances = {
        "ambiguous": (0.65, 0.2, 0.45),
        "misleading": (0.5, 0.1, 0.7),
        "plain": (0.55, 0.2, 0.0),
    }[kind]
    says_motion, says_place, says_relation = rng.random(3) < chances
    if kind == "ambiguous" and not (says_motion or says_place or says_relation):
        return None
    noun = _sample_noun(rng, shape, colour=1.0, size=0.55, texture=0.55)
    relation = _sample_relation(rng, scene, shape, true) if says_relation else None
    motion = None
    if relation is not None and relation.anchor_motion:
        pass  # one action a sentence: a second one would leave open whose it is
    elif relation is not None and relation.kind == "past":
        motion = shape.motion.kind if rng.random() < 0.4 else "moving"
    elif says_motion:
        motion = (
            "moving"
            if kind == "ambiguous" and shape.motion.kind in DIRECTIONS and rng.random() < 0.1
            else shape.motion.kind
        )
    if relation is not None and motion in AXES and AXES[motion] == AXES.get(relation.kind):
        return None  # "moving up above the square" sounds like where it goes
    place = (
        str(rng.choice(("left", "right", "top", "bottom")))
        if says_place and relation is None
        else None
    )
    return Meaning(noun, motion, place, relation)


def _sample_relation(
    rng: np.random.Generator, scene: Scene, shape: Shape, true: list[tuple[str, Shape]]
) -> Relation | None:
    """Draw one of the object's true relations, with an anchor that is named alone.

    None if the draw fails.
    """
    kinds = sorted({kind for kind, _ in true})
    if not kinds:
        return None
    # First the kind, so that rare ones are not drowned by left, right, above, below.
    kind = str(rng.choice(kinds))
    anchors = [s for k, s in true if k == kind]
    anchor = anchors[int(rng.integers(len(anchors)))]
    moved = (
        anchor.motion.kind
        if kind != "past" and anchor.look != shape.look and rng.random() < 0.35
        else None
    )
    relation = Relation(kind, _sample_noun(rng, anchor, colour=0.8, size=0.35, texture=0.25), moved)
    return relation if anchors_of(scene, relation) == [anchor] else None


def _sample_noun(
    rng: np.random.Generator, shape: Shape, colour: float, size: float, texture: float
) -> Noun:
    """Name an object by its shape and, with the given chances, by more."""
    says = rng.random(3) < (colour, size, texture)
    look = shape.look
    return Noun(
        look.shape,
        *(
            word if said else None
            for word, said in zip((look.colour, look.size, look.texture), says, strict=True)
        ),
    )
