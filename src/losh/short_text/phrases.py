"""Phrases of an expression: position, appearance, relation.

"on the left", "in a black shirt", "on a horse".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise, takewhile

from losh.short_text import words as lists
from losh.short_text.subject import (
    VERB_TAGS,
    begins_noun,
    begins_relation,
    is_head,
    is_participle,
    listed,
    predicate,
    stands_alone,
)
from losh.short_text.tagging import Word


def _any(names: Iterable[str]) -> str:
    return "(?:" + "|".join(sorted(names)) + ")"


_ORDINAL = _any(lists.ORDINALS)
_PLACE = _any(lists.PLACES - {"behind"})
_SIDE = rf"(?:{_any(lists.PLACE_DEGREES)} )*{_PLACE}(?: {_PLACE}| behind)*"
_FROM = rf"from (?:(?:the )?{_SIDE}|behind)"
_RANK = rf"(?:on|in) (?:the )?(?:{_ORDINAL}|middle) {_any(lists.RANKS)}"
_FIRST = rf"at (?:the )?{_ORDINAL}(?: position)?"
_AT = rf"(?:in|on|at) (?:the )?{_SIDE}"
# One phrase or several in a row: "in the front on the left".
POSITION = re.compile(
    rf"(?<!\S)(?:{_RANK}|{_FIRST}|{_AT}|{_ORDINAL} {_FROM})(?: {_RANK}| {_AT}| {_FROM})*(?!\S)"
)
# The rest of an ordinal: "third car parking from the left".
COUNTED = re.compile(rf"{POSITION.pattern}|(?<!\S){_FROM}(?!\S)")
# In a subject also "the second from the left man" and "man to the right".
SUBJECT_POSITION = re.compile(
    rf"(?<!\S)(?:{_RANK}|{_FIRST}|{_AT}|(?:{_ORDINAL} )?{_FROM}|to (?:the )?{_SIDE})(?!\S)"
)
_CLOTHED = re.compile(r"\S*(?:suit|shirt|coat|wear|dress|jacket|uniform|pants|shorts)")


def spans(pattern: re.Pattern[str], words: list[Word], indices: list[int]) -> list[list[int]]:
    """Return the word indices of each match of `pattern` in the words at `indices`."""
    text = " ".join(words[i].lower for i in indices)
    found = []
    for match in pattern.finditer(text):
        first = text.count(" ", 0, match.start())
        found.append(indices[first : first + match.group().count(" ") + 1])
    return found


def position_phrase(words: list[Word], kept: list[int], cut: int) -> list[int]:
    """Return the position phrase that is put back.

    It is at the expression's end, or straight after the verb ("standing on the left and waving").

    Nothing where the subject already says the same, or where a thing stands in the place ("on the
    left track", "in front of the car").
    """
    chosen: list[int] = []
    ordinal = any(words[i].lower in lists.ORDINALS for i in kept)
    for span in spans(COUNTED if ordinal else POSITION, words, list(range(cut, len(words)))):
        after = span[-1] + 1
        if after == len(words) or (
            not chosen
            and not any(is_head(word) for word in words[cut : span[0]])
            and leaves_position(words, after)
        ):
            chosen = span
    # "on the left there is a man"
    if not chosen and (leading := spans(POSITION, words, list(range(kept[0])))):
        chosen = leading[0]
    said = {words[i].lower for i in kept}
    places = {words[i].lower for i in chosen} & (lists.PLACES | lists.ORDINALS)
    return [] if places <= said else chosen


def leaves_position(words: list[Word], i: int) -> bool:
    """Whether the word at `i` lets a position phrase before it be one of the subject."""
    word = words[i]
    if is_participle(word):
        return not begins_noun(words, i + 1) or word.tag == "VBG"
    return word.lower in {"and", "with", "while", "in", "on"} or begins_relation(words, i)


def appearance_phrase(words: list[Word], cut: int) -> list[int]:
    """Return the clothing that the predicate names straight after its verbs.

    "is wearing a red hat", "is sitting in a black shirt".
    """
    i = cut
    while (
        i < len(words)
        and words[i].lower not in lists.WEARING
        and (
            words[i].lower in lists.AUXILIARIES | lists.RELATIVES
            or is_participle(words[i])
            or words[i].tag in VERB_TAGS | {"RB"}
        )
    ):
        i += 1
    if i == cut or i >= len(words):
        return []
    end = predicate(words, i)[0]
    if words[i].lower in lists.WEARING:
        return list(range(i, end))
    end = min([end, *(j for j in range(i + 1, end) if words[j].lower in lists.PREPOSITIONS)])
    span = list(range(i, end))
    return span if words[i].lower == "in" and is_clothing(words, span[1:]) else []


def is_clothing(words: list[Word], span: list[int]) -> bool:
    """Whether the words after "in" are clothes or colours alone.

    "a black shirt", or "black and white".
    """
    names = [words[i].lower for i in span]
    if any(listed(name, lists.GARMENTS) or _CLOTHED.fullmatch(name) for name in names):
        return True
    return bool(names) and all(name in lists.COLOURS | lists.CONJUNCTIONS for name in names)


def positions(words: list[Word], kept: list[int]) -> set[int]:
    """Return the subject's words that say where it is.

    "on the left", "second from the right", and "left" in "the left ball".
    """
    found: set[int] = set()
    ends = (lists.PREPOSITIONS - {"of"}) | lists.WEARING | lists.CONJUNCTIONS
    for span in spans(SUBJECT_POSITION, words, kept):
        found.update(span)
        before, rest = kept[: kept.index(span[0])], kept[kept.index(span[-1]) + 1 :]
        # The place's own words go too, "in the middle of the group", but not in "second from left
        # man".
        if stands_alone([words[i] for i in before]):
            found.update(takewhile(lambda i: words[i].lower not in ends, rest))
    for i, after in pairwise(kept):
        if is_head(words[i]) or words[after].lower in lists.PREPOSITIONS:
            break
        if words[i].lower in lists.PLACE_ADJECTIVES | lists.ORDINALS:
            found.add(i)
    return found


def relations(words: list[Word], kept: list[int]) -> set[int]:
    """Return the phrases that tie the subject to another thing.

    "on a horse", "in the car", "with a dog"; not "in a hat", "with a tail".
    """
    starts = [
        n
        for n, i in enumerate(kept)
        if n and (words[i].lower in lists.PREPOSITIONS - {"of"} or words[i].lower in lists.WEARING)
    ]
    found: set[int] = set()
    for n, end in pairwise([*starts, len(kept)]):
        phrase = kept[n:end]
        name, rest = words[phrase[0]].lower, phrase[1:]
        if name in lists.WEARING or name == "without":
            continue
        colours = (
            any(words[i].lower in lists.COLOURS for i in rest) and words[rest[0]].lower != "the"
        )
        if name == "in" and (is_clothing(words, rest) or colours):
            continue
        if name == "with" and not any(listed(words[i].lower, lists.BEINGS) for i in rest):
            continue
        found.update(phrase)
    return found


def locations(words: list[Word], kept: list[int]) -> set[int]:
    """Return where a verbless expression says that the subject lies.

    "orange ball in the blue bowl" stands for "that is in the blue bowl".
    """
    placed = {i for span in spans(SUBJECT_POSITION, words, kept) for i in span}
    rest = [i for i in kept if i not in placed]
    return relations(words, rest)
