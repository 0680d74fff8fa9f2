"""Where the subject of an expression begins, and where something else takes over."""

from __future__ import annotations

from losh.short_text import words as lists
from losh.short_text.tagging import Word

NOUN_TAGS = {"NN", "NNS", "NNP", "NNPS", "PRP", "EX", "FW"}
VERB_TAGS = {"VBZ", "VBD", "VBP", "VBN", "VB"}
MODIFIER_TAGS = {"DT", "PDT", "JJ", "JJR", "JJS", "CD", "PRP$", "POS"}
BE = {"is", "are", "was", "were"}


def opening(words: list[Word]) -> int:
    """Index of the first word after an opening that names nothing: "there is", "this is", "it is", "we can see"."""
    lower = [word.lower for word in words]
    if len(lower) < 3:
        return 0
    if lower[0] in {"there's", "here's"}:
        return 1
    if lower[0] in {"there", "here"} and lower[1] in BE:
        return 2
    # "that is a dog" but not "that is running", whose subject is "that".
    if lower[0] in {"this", "it", "that", "these", "those"} and lower[1] in BE and lower[2] in lists.DETERMINERS:
        return 2
    if lower[0] in {"i", "we", "you"}:
        seen = [i for i in (1, 2) if lower[i] in {"see", "saw"}]
        return seen[0] + 1 if seen and seen[0] + 1 < len(lower) else 0
    return 0


def describes(word: Word) -> bool:
    """Whether a word can stand before a noun: determiner, adjective, number, colour, place."""
    return word.tag in MODIFIER_TAGS or word.lower in lists.COLOURS | lists.PLACES | lists.DETERMINERS | lists.ORDINALS


def is_head(word: Word) -> bool:
    """Whether a word can be what an expression is about."""
    if word.lower in lists.PLACES | lists.ORDINALS | lists.COLOURS:
        return False
    return word.tag in NOUN_TAGS or singular(word.lower) in lists.BEINGS or word.lower in {"one", "ones"}


def singular(word: str) -> str:
    """The word without a plural s, where that gives a listed word."""
    return word[:-1] if word.endswith("s") and word not in lists.BEINGS | lists.GARMENTS else word


def is_participle(word: Word) -> bool:
    """Whether a word is a present participle by its form: the tagger calls many of them nouns or adjectives."""
    return word.lower.endswith("ing") and len(word.lower) > 4 and word.lower not in lists.ING_NOUNS


def predicate(words: list[Word], start: int) -> tuple[int, str]:
    """Index of the first word that no longer belongs to the subject, and what it is; `(len(words), "")` where all belongs to it.

    "auxiliary" (is, has, can), "relative" (who, that), "participle" (running), "verb" (jumps, held), or "relation" (under, next to).
    """
    head = False  # whether a head noun, or a preposition that must follow one, came by
    for i in range(start + 1, len(words)):
        head = head or is_head(words[i - 1]) or words[i - 1].lower in lists.PREPOSITIONS
        word = words[i]
        if word.lower in lists.AUXILIARIES or word.tag == "MD":
            return i, "auxiliary"
        if word.lower in lists.RELATIVES:
            return i, "relative"
        if word.lower in lists.WEARING | lists.COLOURS or word.lower in lists.GARMENTS:
            continue
        if begins_relation(words, i) and head:
            return i, "relation"
        if word.lower in lists.PLACES:
            continue
        if is_participle(word):
            if not participle_describes(words, start, i):
                return i, "participle"
        elif head and word.tag in VERB_TAGS and not (word.lower.endswith("ed") and past_describes(words, i)):
            return i, "verb"
    return len(words), ""


def begins_noun(words: list[Word], i: int) -> bool:
    """Whether a noun, or what can stand between an article and its noun, is at `i`."""
    if i >= len(words) or words[i].tag == "DT" or words[i].lower in lists.DETERMINERS:
        return False
    return words[i].tag in NOUN_TAGS or describes(words[i])


def participle_describes(words: list[Word], start: int, i: int) -> bool:
    """Whether a present participle belongs to the noun after it: "racing car", "a bouncing ball", "in running shoes".

    A noun must follow, and either no head came before or the participle's own noun phrase has just begun.
    """
    if not begins_noun(words, i + 1):
        return False
    fresh = all(describes(word) or is_participle(word) or word.lower in lists.CONJUNCTIONS for word in words[start:i])
    return fresh or words[i - 1].lower in lists.PREPOSITIONS | lists.DETERMINERS | lists.WEARING


def past_describes(words: list[Word], i: int) -> bool:
    """Whether a past participle belongs to the noun after it: "in pink dotted dress", but not "ball dribbled by a boy"."""
    before = words[i - 1]
    return begins_noun(words, i + 1) and (describes(before) or before.lower in lists.PREPOSITIONS | lists.CONJUNCTIONS | lists.WEARING)


def begins_relation(words: list[Word], i: int) -> bool:
    """Whether a relation to another thing begins at `i`: "under the net", "next to a car", "in the hand of", "of the screen"."""
    lower = [word.lower for word in words[i : i + 4]]
    after = lower[1:2]
    if lower[0] == "next":
        return after == ["to"]
    if lower[0] == "behind":  # "on the middle behind" is a position
        return bool(after) and words[i - 1].lower not in lists.PLACES | lists.DETERMINERS and begins_thing(words, i + 1)
    if lower[0] == "in":
        return bool({"hand", "hands"} & set(lower[1:3]))
    if lower[0] == "of":
        return bool(set(lower[1:3]) & lists.PICTURE) and words[i - 1].lower in lists.PLACES
    return lower[0] in lists.RELATIONS


def begins_thing(words: list[Word], i: int) -> bool:
    """Whether a noun phrase begins at `i`, with or without an article."""
    return words[i].lower in lists.DETERMINERS or begins_noun(words, i)


def trimmed(words: list[Word], kept: list[int]) -> list[int]:
    """Without loose ends: a last conjunction, preposition, article or adverb that belonged to what was cut off."""
    loose = lists.CONJUNCTIONS | lists.PREPOSITIONS | {"a", "an", "the"} | lists.ADVERBS
    while len(kept) > 1:
        last = words[kept[-1]]
        if last.lower in lists.PLACES or not (last.lower in loose or (last.tag == "RB" and last.lower.endswith("ly"))):
            break
        kept = kept[:-1]
    return kept
