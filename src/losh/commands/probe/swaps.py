"""Sentences in which another object's action stands for the subject's own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from losh.moving_shapes.arrangement import Scene, Shape
from losh.moving_shapes.expressions import AXES
from losh.moving_shapes.grammar import MOTION_WORDS
from losh.moving_shapes.meaning import Meaning, Relation, referents


@dataclass(frozen=True)
class Swap:
    """An expression with another action in it."""

    text: str
    """With the action of `other`."""
    reworded: str
    """With its own action in other words: what changes then is not due to the action."""
    other: str
    """The instance whose action it is."""


def swap_of(scene: Scene, meaning: Meaning, kind: str, instance: str, text: str) -> Swap | None:
    """Return the sentence with another object's action, or None where the probe leaves it out.

    Swapped is what the sentence says of its own object's motion, not of an anchor's. Left out are
    sentences that say none; `moving`, which is many actions; `past`, whose action is part of the
    relation; and those where no other object serves:

    * where looks decide (plain, misleading): one whose action differs, and that no third object
      shares, so that looks speak for the one and the action for the other;
    * where they do not (ambiguous): one that the swapped sentence names alone, so that the
      prediction should go there.

    Of several the one with the smallest id is taken.

    Args:
        scene: the clip's truth.
        meaning: what the sentence says.
        kind: of KINDS.
        instance: the object it names.
        text: the sentence.
    """
    relation = meaning.relation
    if meaning.motion in (None, "moving") or (relation and relation.kind == "past"):
        return None
    own = _words_in(text, str(meaning.motion))
    if own is None:
        return None
    for other in sorted(scene.shapes, key=lambda shape: shape.instance):
        motion = other.motion.kind
        if other.instance == instance or motion == meaning.motion or _misread(motion, relation):
            continue
        swapped = replace(meaning, motion=motion)
        serves = (
            referents(scene, swapped) == [other] if kind == "ambiguous" else _alone(scene, other)
        )
        if serves:
            reworded = text.replace(own, _other_words(str(meaning.motion), own))
            return Swap(text.replace(own, MOTION_WORDS[motion][0]), reworded, other.instance)
    return None


def _alone(scene: Scene, shape: Shape) -> bool:
    return sum(one.motion.kind == shape.motion.kind for one in scene.shapes) == 1


def _misread(motion: str, relation: Relation | None) -> bool:
    """Whether the sentence would sound like where it goes: "moving up above the square"."""
    return relation is not None and motion in AXES and AXES[motion] == AXES.get(relation.kind)


def _words_in(text: str, motion: str) -> str | None:
    """Return the words in which the sentence says the motion; None unless they stand there once."""
    said = [words for words in MOTION_WORDS[motion] if f" {words} " in f" {text} "]
    longest = max(said, key=len, default=None)
    return longest if longest and text.count(longest) == 1 else None


def _other_words(motion: str, own: str) -> str:
    """Return the next way to say it, but not `not moving`, which would deny what follows too."""
    ways = [words for words in MOTION_WORDS[motion] if words == own or not words.startswith("not ")]
    return ways[(ways.index(own) + 1) % len(ways)]
