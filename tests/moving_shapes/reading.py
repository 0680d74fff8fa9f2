"""A reader of the expressions that shares no code with the generator.

From words to facts, and facts against the scene's numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from losh.moving_shapes.arrangement import Scene, Shape

ADJECTIVE = (
    r"(?:small|large|big|red|green|blue|yellow|purple|orange|plain|striped|dotted|checkered)"
)
NOUN = rf"(?:(?:the|a) )?((?:{ADJECTIVE} )*)(circle|square|triangle|star)"
NOUN += r"(?: with (stripes|dots|checks))?"
MOTION = (
    r"(?P<way>(?:moving|going) (?:to the )?(?:left|right|up|down)(?! of))"
    r"|(?P<circling>circling|moving in circles|going around in circles)"
    r"|(?P<bouncing>bouncing up and down|bouncing|jumping up and down)"
    r"|(?P<still>staying still|standing still|not moving)|(?P<moving>moving)"
)
PLACE = r"on the (?:left|right)(?: side)?(?! of)|at the (?:top|bottom)"
RELATION = (
    r"(?:(?:to|on) the )?(?:left|right) of|above|below|under|next to|near|beside|behind"
    r"|in front of|past"
)
SAME = {"big": "large", "stripes": "striped", "dots": "dotted", "checks": "checkered"}


@dataclass
class Facts:
    """What an expression says."""

    looks: set[str]
    motion: str | None = None
    place: str | None = None
    relation: str | None = None
    anchor: set[str] = field(default_factory=set)
    anchor_motion: str | None = None


def read(text: str) -> Facts:
    """Understand an expression; ValueError if a word of it is left over."""
    looks, rest = _noun(text)
    facts = Facts(looks)
    while rest := re.sub(r"^(?:that is|which is|is)\b", "", rest).strip():
        if match := re.match(PLACE, rest):
            facts.place = re.search("left|right|top|bottom", match[0])[0]
        elif match := re.match(RELATION, rest):
            facts.relation = match[0].replace("to the ", "").replace("on the ", "")
            facts.anchor, rest = _noun(rest[match.end() :].strip())
            continue
        elif match := re.match(MOTION, rest):
            name = match.lastgroup if match.lastgroup != "way" else match[0].split()[-1]
            # A second action can only be the anchor's; so can one after the anchor.
            if facts.relation:
                assert facts.anchor_motion is None
                facts.anchor_motion = name
            else:
                facts.motion = name
        else:
            raise ValueError(f"cannot read {rest!r} of {text!r}")
        rest = rest[match.end() :].strip()
    return facts


def _noun(text: str) -> tuple[set[str], str]:
    match = re.match(NOUN, text)
    if not match:
        raise ValueError(f"no noun in {text!r}")
    words = {*match[1].split(), match[2], match[3]} - {None}
    return {SAME.get(word, word) for word in words}, text[match.end() :].strip()


def meant(scene: Scene, facts: Facts) -> list[str]:
    """Instances that the facts fit, generously: whoever a viewer might take for it is in."""
    return [shape.instance for shape in scene.shapes if _fits(scene, shape, facts)]


def looks_like(shape: Shape, words: set[str]) -> bool:
    look = shape.look
    return words <= {look.colour, look.shape, look.size, look.texture}


def _does(shape: Shape, motion: str | None) -> bool:
    return (
        motion is None
        or shape.motion.kind == motion
        or (motion == "moving" and shape.motion.kind != "still")
    )


def _fits(scene: Scene, shape: Shape, facts: Facts) -> bool:
    frames = list(scene.annotated)
    x, y = (shape.centres[frames] / (scene.width, scene.height)).T
    if not (looks_like(shape, facts.looks) and _does(shape, facts.motion)):
        return False
    sides = {"left": x, "right": 1 - x, "top": y, "bottom": 1 - y}
    # Held at its word in half of the frames is enough to be taken for it.
    if facts.place and np.mean(sides[facts.place] < 0.5) < 0.5:
        return False
    if not facts.relation:
        return True
    anchors = [
        other
        for other in scene.shapes
        if looks_like(other, facts.anchor) and _does(other, facts.anchor_motion)
    ]
    assert len(anchors) == 1, f"the anchor {facts.anchor} is {len(anchors)} objects"
    return anchors[0] is not shape and _related(scene, shape, anchors[0], facts.relation)


def _related(scene: Scene, shape: Shape, anchor: Shape, relation: str) -> bool:
    frames = list(scene.annotated)
    dx, dy = (shape.centres[frames] - anchor.centres[frames]).T
    gap = np.hypot(dx, dy) - shape.radius - anchor.radius
    small = 12 * scene.height / 96
    nearer = [s.instance for s in scene.shapes].index(shape.instance) > [
        s.instance for s in scene.shapes
    ].index(anchor.instance)
    if relation == "past":
        span = slice(frames[0], frames[-1] + 1)
        gaps = (
            np.linalg.norm(shape.centres[span] - anchor.centres[span], axis=1)
            - shape.radius
            - anchor.radius
        )
        return shape.motion.kind in ("left", "right", "up", "down") and gaps.min() < small
    held = {
        "left of": dx < -2,
        "right of": dx > 2,
        "above": dy < -2,
        "below": dy > 2,
        "under": dy > 2,
        "next to": gap < small,
        "near": gap < small,
        "beside": gap < small,
        "behind": (gap < 0) & (not nearer),
        "in front of": (gap < 0) & nearer,
    }[relation]
    return bool(np.mean(held) >= 0.5)
