"""What an expression says, and of which objects of a scene it is true.

Each judgement is True, False, or None where a viewer could not be sure. An expression is used only
if everything it says is True of its object and something it says is False of each other object, so
that nothing hangs on a pixel or on a near tie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from losh.moving_shapes.appearance import Appearance
from losh.moving_shapes.arrangement import Scene, Shape
from losh.moving_shapes.motion import DIRECTIONS

PLACES = ("left", "right", "top", "bottom")
RELATIONS = ("left", "right", "above", "below", "near", "behind", "front", "past")


@dataclass(frozen=True)
class Noun:
    """How an object is named: its shape and what else is said of its looks; None is not said."""

    shape: str
    colour: str | None = None
    size: str | None = None
    texture: str | None = None

    def fits(self, look: Appearance) -> bool:
        return all(
            getattr(self, word) in (None, getattr(look, word))
            for word in ("shape", "colour", "size", "texture")
        )


@dataclass(frozen=True)
class Relation:
    """How the object stands to another one, the anchor."""

    kind: str
    """One of RELATIONS."""
    anchor: Noun
    anchor_motion: str | None = None
    """What is said of the anchor's motion."""


@dataclass(frozen=True)
class Meaning:
    """All that an expression says of its object; None is not said."""

    noun: Noun
    motion: str | None = None
    """One of MOTIONS, or "moving": any but still."""
    place: str | None = None
    """One of PLACES, in the frame."""
    relation: Relation | None = None


def referents(scene: Scene, meaning: Meaning) -> list[Shape]:
    """Return the objects of which everything said is true, if none of the others is in doubt.

    Else an empty list.
    """
    verdicts = {shape.instance: holds(scene, shape, meaning) for shape in scene.shapes}
    if None in verdicts.values():
        return []
    return [shape for shape in scene.shapes if verdicts[shape.instance]]


def holds(scene: Scene, shape: Shape, meaning: Meaning) -> bool | None:
    """Whether everything said is true of the object."""
    verdicts: list[bool | None] = [meaning.noun.fits(shape.look)]
    if meaning.motion:
        verdicts.append(_moves(shape, meaning.motion))
    if meaning.place:
        verdicts.append(_lies(scene, shape, meaning.place))
    if meaning.relation:
        anchors = anchors_of(scene, meaning.relation)
        # An anchor that is no single object leaves the relation without a meaning.
        verdicts.append(
            stands(scene, shape, meaning.relation.kind, anchors[0]) if len(anchors) == 1 else None
        )
    if False in verdicts:
        return False
    return None if None in verdicts else True


def named(scene: Scene, noun: Noun) -> list[Shape]:
    """Return the objects that look as the noun says."""
    return [shape for shape in scene.shapes if noun.fits(shape.look)]


def anchors_of(scene: Scene, relation: Relation) -> list[Shape]:
    """Return the objects that the relation's anchor may be."""
    return [
        shape
        for shape in named(scene, relation.anchor)
        if relation.anchor_motion is None or _moves(shape, relation.anchor_motion)
    ]


def _moves(shape: Shape, motion: str) -> bool:
    return shape.motion.kind != "still" if motion == "moving" else shape.motion.kind == motion


def _verdict(sure: np.ndarray, wrong: np.ndarray) -> bool | None:
    """Return True if sure in every annotated frame, False if wrong in every one."""
    if sure.all():
        return True
    return False if wrong.all() else None


def _lies(scene: Scene, shape: Shape, place: str) -> bool | None:
    """Whether the object lies on one side of the frame; the middle tenth is neither."""
    axis = 0 if place in ("left", "right") else 1
    part = shape.centres[list(scene.annotated), axis] / (scene.width, scene.height)[axis]
    if place in ("right", "bottom"):
        part = 1 - part
    return _verdict(part < 0.42, part > 0.52)


def stands(scene: Scene, shape: Shape, kind: str, anchor: Shape) -> bool | None:
    """Whether the object stands in a relation to the anchor."""
    if shape is anchor:
        return False
    frames = list(scene.annotated)
    ahead = anchor.centres[frames] - shape.centres[frames]  # [K, 2]
    reach = shape.radius + anchor.radius
    distance = np.linalg.norm(ahead, axis=1)
    if kind in ("left", "right", "above", "below"):
        axis = 0 if kind in ("left", "right") else 1
        along = ahead[:, axis] if kind in ("left", "above") else -ahead[:, axis]
        return _verdict(
            (along > 10 * scene.scale) & (along > 0.6 * np.abs(ahead[:, 1 - axis])), along < 0
        )
    if kind == "near":
        return _verdict(distance - reach < 5 * scene.scale, distance - reach > 18 * scene.scale)
    if kind == "past":
        return _passes(scene, shape, anchor)
    order = scene.shapes.index(shape) - scene.shapes.index(anchor)
    if (order > 0) == (kind == "behind"):
        return False
    return _verdict(distance < 0.85 * reach, distance > 1.4 * reach)


def _passes(scene: Scene, shape: Shape, anchor: Shape) -> bool | None:
    """Whether the object moves straight and comes close to an anchor that does not move with it."""
    if shape.motion.kind not in DIRECTIONS or shape.motion.kind == anchor.motion.kind:
        return False
    span = slice(scene.annotated[0], scene.annotated[-1] + 1)
    gap = (
        np.linalg.norm(shape.centres[span] - anchor.centres[span], axis=1)
        - shape.radius
        - anchor.radius
    ).min()
    if gap < 6 * scene.scale:
        return True
    return False if gap > 20 * scene.scale else None
