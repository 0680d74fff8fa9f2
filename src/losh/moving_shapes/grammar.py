"""Meanings put in words: a small English of lower-case words, as people wrote for A2D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from losh.moving_shapes.meaning import Meaning, Noun, Relation

PATTERNS = {"striped": "stripes", "dotted": "dots", "checkered": "checks"}
MOTION_WORDS: dict[str, tuple[str, ...]] = {
    **{way: (f"moving {way}", f"going {way}") for way in ("up", "down")},
    **{way: (f"moving {way}", f"going {way}", f"moving to the {way}") for way in ("left", "right")},
    "circling": ("circling", "moving in circles", "going around in circles"),
    "bouncing": ("bouncing", "bouncing up and down", "jumping up and down"),
    "still": ("staying still", "standing still", "not moving"),
    "moving": ("moving",),
}
PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
}
RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
    "above": ("above",),
    "below": ("below", "under"),
    "near": ("next to", "near", "beside"),
    "behind": ("behind",),
    "front": ("in front of",),
    "past": ("past",),
}
LINKS = ("", "", "that is", "which is", "is")


@dataclass(frozen=True)
class Wording:
    """An expression and its true short forms."""

    text: str
    short: str
    """The subject and its looks alone."""
    short_with_position: str
    """The same, with its place in the frame where the expression names one."""


def put_in_words(rng: np.random.Generator, meaning: Meaning) -> Wording:
    """Draw one of the ways to say it."""
    subject = _noun(rng, meaning.noun, _pick(rng, ("the", "a", "")))
    place = _pick(rng, PLACE_WORDS[meaning.place]) if meaning.place else ""
    followed = bool(meaning.place or meaning.relation)
    motion = _motion(rng, meaning.motion, followed) if meaning.motion else ""
    relation = _relation(rng, meaning.relation, bool(motion)) if meaning.relation else ""
    link = _pick(rng, LINKS)
    place_first = bool(place) and rng.random() < 0.5
    said = _join(motion, relation) if place_first else _join(motion, place, relation)
    # "on the left is left of": a place before the link and nothing after it would leave the link
    # hanging.
    text = _join(subject, place if place_first else "", link if said else "", said)
    return Wording(text, subject, _join(subject, place))


def _motion(rng: np.random.Generator, motion: str, followed: bool) -> str:
    """Put a motion in words; `followed` by a place or a relation or not."""
    # "not moving above the square" would deny the relation too.
    plain = [word for word in MOTION_WORDS[motion] if not (followed and word.startswith("not "))]
    return _pick(rng, plain)


def _relation(rng: np.random.Generator, relation: Relation, after_motion: bool) -> str:
    """Put a relation and its anchor in words."""
    words = list(RELATION_WORDS[relation.kind])
    if after_motion and relation.kind in ("left", "right"):
        # "moving left of" and "moving to the left of" would be directions.
        words = [word for word in words if word.startswith("on ")]
    anchor = _noun(rng, relation.anchor, "the")
    if relation.anchor_motion is None:
        return _join(_pick(rng, words), anchor)
    return _join(
        _pick(rng, words),
        anchor,
        _pick(rng, ("", "that is")),
        _pick(rng, MOTION_WORDS[relation.anchor_motion]),
    )


def _noun(rng: np.random.Generator, noun: Noun, article: str) -> str:
    size = _pick(rng, ("large", "large", "big")) if noun.size == "large" else noun.size or ""
    texture, colour, after = noun.texture or "", noun.colour or "", ""
    if texture in PATTERNS and rng.random() < 0.2:
        texture, after = "", f"with {PATTERNS[texture]}"
    looks = (texture, colour) if rng.random() < 0.3 else (colour, texture)
    return _join(article, size, *looks, noun.shape, after)


def _pick(rng: np.random.Generator, words: tuple[str, ...] | list[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)
