"""The rule that shortens one tagged expression, step by step (docs/short_text.md has examples)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from losh.short_text.phrases import (
    appearance_phrase,
    locations,
    position_phrase,
    positions,
    relations,
)
from losh.short_text.subject import opening, predicate, stands_alone, trimmed
from losh.short_text.tagging import Word

Mode = Literal["subject", "subject_with_position"]


@dataclass(frozen=True)
class Short:
    """A short expression and the names of the steps that made it, joined by `+`."""

    text: str
    step: str


def shorten_words(words: list[Word], mode: Mode) -> Short:
    """Shorten one tagged expression.

    The result is never empty, and its words are a subsequence of the expression's.
    """
    steps = []
    start = opening(words)
    if start:
        steps.append("opening")
    cut, kind = predicate(words, start)
    if kind:
        steps.append(kind)
    kept = list(range(start, cut))
    if kind:
        kept = trimmed(words, kept)
    if not kind and (place := locations(words, kept)):
        kept = trimmed(words, [i for i in kept if i not in place])
        steps.append("relation")
    if clothes := appearance_phrase(words, cut):
        kept += trimmed(words, clothes)
        steps.append("appearance")
    if mode == "subject":
        for name, find in (("no-position", positions), ("no-relation", relations)):
            dropped = find(words, kept)
            rest = trimmed(words, [i for i in kept if i not in dropped])
            # Else it stays: "the leftmost", "second from the left in red".
            if rest != kept and stands_alone([words[i] for i in rest]):
                kept = rest
                steps.append(name)
    elif position := position_phrase(words, kept, cut):
        kept = sorted({*kept, *position})
        steps.append("position")
    if not kept or not steps:
        return Short(" ".join(word.text for word in words), "whole")
    text = " ".join(words[i].text for i in kept)
    return Short(text if kept[-1] == len(words) - 1 else text.rstrip(",;:"), "+".join(steps))
