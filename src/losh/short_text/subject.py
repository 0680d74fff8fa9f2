"""Where the subject of an expression begins, and where something else takes over."""

from __future__ import annotations

import re
from itertools import takewhile

from losh.short_text import words as lists
from losh.short_text.tagging import Word

NOUN_TAGS = {"NN", "NNS", "NNP", "NNPS", "PRP", "EX", "FW"}
VERB_TAGS = {"VBZ", "VBD", "VBP", "VBN", "VB"}
MODIFIER_TAGS = {"DT", "PDT", "JJ", "JJR", "JJS", "CD", "PRP$", "POS"}
# "on the left side of the road", "in front of a car", but not "on the left of the image", which
# says where in the picture.
_PICTURE = "|".join(sorted(lists.PICTURE))
BESIDE = re.compile(
    rf"(?:(?:on|to|at) (?:the )?(?:left|right)(?: hand)?(?: side)?|in front|on top) of (?!(?:the "
    rf")?(?:{_PICTURE})\b)"
)
# "on the left a man ...", "in the middle of the picture there is a ...": what follows it is the
# subject.
LEADING_PLACE = re.compile(
    rf"(?:in|on|at|to) (?:the )?(?:(?:{'|'.join(sorted(lists.PLACES | lists.PLACE_DEGREES))}) )+"
    rf"(?:of the (?:{_PICTURE}) )?(?=(?:there|here|{'|'.join(sorted(lists.DETERMINERS))})\b)"
)
# A present participle by its form, also where a letter is missing or swapped ("walkng", "runnig").
PARTICIPLE = re.compile(r"\w{2,}(?:ing|[^aeiou\W]ng|nig)")
BE = {"is", "are", "was", "were"}


def opening(words: list[Word]) -> int:
    """Return the index of the first word after an opening that names nothing.

    "there is", "on the left there is", "this is", "we can see".
    """
    lower = [word.lower for word in words]
    place = LEADING_PLACE.match(" ".join(lower))
    start = place.group().count(" ") if place else 0
    first, after = lower[start], lower[start + 1 : start + 3]
    if len(lower) - start < 3:
        return start
    if first in {"there's", "here's"}:
        return start + 1
    if first in {"there", "here"} and after[0] in BE:
        return start + 2
    # "that is a dog" but not "that is running", whose subject is "that".
    if (
        first in {"this", "it", "that", "these", "those"}
        and after[0] in BE
        and after[1] in lists.DETERMINERS
    ):
        return start + 2
    if first in {"i", "we", "you"} and "see" in after:
        return (
            start + after.index("see") + 2 if len(lower) > start + after.index("see") + 2 else start
        )
    return start


def describes(word: Word) -> bool:
    """Whether a word can stand before a noun: determiner, adjective, number, colour, place."""
    return (
        word.tag in MODIFIER_TAGS
        or word.lower in lists.COLOURS | lists.PLACES | lists.DETERMINERS | lists.ORDINALS
    )


def is_head(word: Word) -> bool:
    """Whether a word can be what an expression is about."""
    if word.lower in lists.PLACES | lists.ORDINALS | lists.COLOURS:
        return False
    return (
        word.tag in NOUN_TAGS or listed(word.lower, lists.BEINGS) or word.lower in {"one", "ones"}
    )


def stands_alone(words: list[Word]) -> bool:
    """Whether something is named before the first preposition.

    Not only an article, an ordinal or a place.
    """
    empty = lists.DETERMINERS | lists.CONJUNCTIONS | lists.ORDINALS | lists.PLACES
    start = takewhile(lambda word: word.lower not in lists.PREPOSITIONS, words)
    return any(word.lower not in empty for word in start)


def listed(word: str, names: frozenset[str]) -> bool:
    """Whether a list has the word or its singular."""
    return (
        word in names
        or (word.endswith("s") and word[:-1] in names)
        or (word.endswith("es") and word[:-2] in names)
    )


def is_participle(word: Word) -> bool:
    """Whether a word is a present participle by its form.

    The tagger calls many of them nouns or adjectives.
    """
    return bool(PARTICIPLE.fullmatch(word.lower)) and word.lower not in lists.ING_NOUNS


def predicate(words: list[Word], start: int) -> tuple[int, str]:
    """Return the index of the first word that no longer belongs to the subject, and what it is.

    `(len(words), "")` where all belongs to it.

    "auxiliary" (is, has, can), "relative" (who, that), "participle" (running), "verb" (jumps,
    held), or "relation" (under, next to).
    """
    head = False  # whether a head noun, or a preposition that must follow one, came by
    for i in range(start + 1, len(words)):
        head = head or is_head(words[i - 1]) or words[i - 1].lower in lists.PREPOSITIONS
        word = words[i]
        if word.lower in lists.AUXILIARIES or word.tag == "MD":
            return i, "auxiliary"
        if word.lower in lists.RELATIVES:
            return i, "relative"
        if word.lower in lists.WEARING | lists.COLOURS or listed(word.lower, lists.GARMENTS):
            continue
        if begins_relation(words, i) and stands_alone(words[start:i]):
            return i, "relation"
        if word.lower in lists.PLACES:
            continue
        if is_participle(word):
            if not participle_describes(words, start, i):
                return i, "participle"
        elif head and is_verb(words, i):
            return i, "verb"
    return len(words), ""


def is_verb(words: list[Word], i: int) -> bool:
    """Whether a finite verb or a past participle of its own stands at `i`.

    A bare form at the very end is more often a noun.
    """
    tag = words[i].tag
    if tag in {"VB", "VBP"} and i + 1 == len(words):
        return False
    return tag in VERB_TAGS and not (words[i].lower.endswith("ed") and past_describes(words, i))


def begins_noun(words: list[Word], i: int) -> bool:
    """Whether a noun, or what can stand between an article and its noun, is at `i`."""
    # "moving left" ends there, "the jumping left dog" goes on.
    while i < len(words) and words[i].lower in lists.PLACES:
        i += 1
    if i == len(words) or words[i].tag == "DT" or words[i].lower in lists.DETERMINERS:
        return False
    return words[i].tag in NOUN_TAGS or describes(words[i])


def participle_describes(words: list[Word], start: int, i: int) -> bool:
    """Whether a present participle belongs to the noun after it.

    "racing car", "a bouncing ball", "in running shoes".

    A noun must follow, and either no head came before or the participle's own noun phrase has just
    begun.
    """
    if not begins_noun(words, i + 1):
        return False
    fresh = all(
        describes(word) or is_participle(word) or word.lower in lists.CONJUNCTIONS
        for word in words[start:i]
    )
    return (
        fresh
        or words[i].lower in lists.COMPOUNDS
        or words[i - 1].lower in lists.PREPOSITIONS | lists.DETERMINERS | lists.WEARING
    )


def past_describes(words: list[Word], i: int) -> bool:
    """Whether a past participle belongs to the noun after it.

    "in pink dotted dress", but not "ball dribbled by a boy".
    """
    before = words[i - 1]
    return begins_noun(words, i + 1) and (
        describes(before) or before.lower in lists.PREPOSITIONS | lists.CONJUNCTIONS | lists.WEARING
    )


def begins_relation(words: list[Word], i: int) -> bool:
    """Whether a relation to another thing begins at `i`.

    "under the net", "next to a car", "in the hand of", "of the screen".
    """
    lower = [word.lower for word in words[i : i + 7]]
    after = lower[1:2]
    if lower[0] in {"on", "to", "at", "in"} and BESIDE.match(" ".join(lower)):
        return True
    if lower[0] == "next":
        return after == ["to"]
    if lower[0] == "behind":  # "on the middle behind" is a position
        return (
            bool(after)
            and words[i - 1].lower not in lists.PLACES | lists.DETERMINERS
            and begins_thing(words, i + 1)
        )
    if lower[0] == "in":  # "in the hand of", "in hands of": a thing that is held
        return bool({"hand", "hands"} & set(lower[1:3]))
    if lower[0] == "of":
        return bool(set(lower[1:3]) & lists.PICTURE) and words[i - 1].lower in lists.PLACES
    # "the square left of the circle", but not "on the left of the screen"
    if lower[0] in {"left", "right"}:
        return after == ["of"] and stands_alone(words[i - 1 : i])
    if lower[0] in lists.NEARNESS:
        return not describes(words[i - 1])
    return lower[0] in lists.RELATIONS


def begins_thing(words: list[Word], i: int) -> bool:
    """Whether a noun phrase begins at `i`, with or without an article."""
    return words[i].lower in lists.DETERMINERS or begins_noun(words, i)


def trimmed(words: list[Word], kept: list[int]) -> list[int]:
    """Return the words without loose ends.

    Loose is a last conjunction, preposition, article or adverb that belonged to what was cut off.
    """
    loose = lists.CONJUNCTIONS | lists.PREPOSITIONS | {"a", "an", "the"} | lists.ADVERBS
    while len(kept) > 1:
        last = words[kept[-1]]
        if last.lower in lists.PLACES or not (
            last.lower in loose or (last.tag == "RB" and last.lower.endswith("ly"))
        ):
            break
        kept = kept[:-1]
    return kept
