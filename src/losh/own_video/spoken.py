"""The sentences of a person: which can be used, and the short expression of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from losh.errors import UserError

if TYPE_CHECKING:
    from losh.short_text.rule import Mode

END = re.compile(
    r"""(\S*?)  # the word before
    ( [.!?;]+\s+ | [。！？；]\s* | \n\s*
    | [!?;] (?=[^\W\d])
    | (?<=[^\W\d]{2}) \. (?= (?:[Tt]he|[Aa]n?)\s | [A-Z][a-z]+(?:\s|\W*$) )
    ) (?=\S)""",
    re.VERBOSE,
)
"""Where a sentence ends and another begins.

A point without a space ends one only before an article or a capital: youtube.com and 3.5 are words.
"""
ABBREVIATION = re.compile(
    r"mr|mrs|ms|dr|prof|st|sr|jr|mt|lt|sgt|capt|cpt|col|gen|gov|sen|rep|rev|hon|ft|rd|ave|blvd|bldg"
    r"|no|nos|nr|vol|fig|vs|etc|ca|approx|incl|resp|esp|dept|co|corp|inc|ltd"
    r"|jan|feb|apr|aug|sept|oct|nov|dec"
    r"|[a-z](?:[a-z]?\.[a-z]{1,2})*",
    re.IGNORECASE,
)
"""A word whose point ends no sentence: St. Bernard, no. 5, J. Smith, e.g., the U.S. flag, Ph.D."""
ANEW = re.compile(r"(?:The|An?)\s+[a-z]")
"""A sentence begins, whatever was before: etc. The dog."""
ARTICLE = r"(?:the|an?)\s"
PLACE = re.compile(
    r"\b(?:on|at|in|to)\s+the\s+(?:far\s+|very\s+)?(?:left|right|top|bottom|middle|cent(?:er|re)"
    r"|front|back|background|foreground)\b",
    re.IGNORECASE,
)
LISTED = re.compile(rf"\W*{ARTICLE}.*?(?:,\s*(?:and\s+)?|\s*/\s*){ARTICLE}", re.IGNORECASE)
"""The red square, the blue circle."""
PAIRED = re.compile(rf"\W*{ARTICLE}(?:(?!\b{ARTICLE}).)*?\s(?:and|&)\s+{ARTICLE}", re.IGNORECASE)
"""The square and the circle; not: a man in a shirt and a hat, where the hat is the man's too."""


@dataclass(frozen=True)
class Expression:
    """A sentence and its short form."""

    long: str
    short: str


def check_sentence(sentence: str) -> None:
    """Refuse what names no object, or several.

    Raises:
        UserError: no word is in it, or it is several sentences.
    """
    if not sentence.strip():
        raise UserError("the sentence is empty", "Say which object to mask")
    if not any(letter.isalpha() for letter in sentence):
        raise UserError(
            f"there is no word in the sentence {sentence!r}", "Say which object to mask"
        )
    if len(parts := split_sentences(sentence)) > 1:
        raise UserError(
            f"{sentence!r} is {len(parts)} sentences",
            "Give each in quotes of its own: " + " ".join(f'"{part}"' for part in parts),
        )


def check_shorts(sentences: Sequence[str], shorts: Sequence[str] | None) -> None:
    """Refuse short expressions that are not one a sentence, or have no word.

    Raises:
        UserError: says which.
    """
    if shorts is None:
        return
    if len(shorts) != len(sentences):
        raise UserError(
            f"there are {len(sentences)} sentences and {len(shorts)} short expressions",
            "Give --short once for each sentence, in their order, or leave it out",
        )
    for short in shorts:
        if not any(letter.isalpha() for letter in short):
            raise UserError(
                f"there is no word in the short expression {short!r}",
                "Leave --short out: the rule makes one",
            )


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, each with a word in it; a text of one word more is one."""
    parts, first = [], 0
    for found in END.finditer(text):
        if not _abbreviated(found[1], found[2], text[found.end() :]):
            parts.append(text[first : found.end()])
            first = found.end()
    parts.append(text[first:])
    plain = [part.strip().rstrip(".!?;。！？；") for part in parts]
    return [part for part in plain if any(letter.isalpha() for letter in part)]


def about_several(sentences: Sequence[str]) -> list[str]:
    """Return a line for each sentence that may name several objects, though it may name one."""
    return [
        f"{sentence!r} is taken to mean one object; give several as several arguments, each in "
        "quotes of its own"
        for sentence in sentences
        if LISTED.match(sentence) or PAIRED.match(PLACE.sub("", sentence))
    ]


def _abbreviated(word: str, stop: str, rest: str) -> bool:
    """Whether a stop is the point of an abbreviation, given the word before and what follows."""
    word = word.lstrip("(\"'“‘")
    known = ABBREVIATION.fullmatch(word) is not None
    return known and stop.strip() == "." and not ANEW.match(rest)


def expressions(
    sentences: Sequence[str], shorts: Sequence[str] | None, mode: Mode, needs_short: bool
) -> list[Expression]:
    """Check the sentences and give each its short expression.

    Args:
        shorts: one a sentence; None: the workflow's rule makes them, by `mode`.
        needs_short: whether the model reads them; where not, nothing is made.

    Raises:
        UserError: a sentence cannot be used, or `shorts` does not fit.
    """
    if not sentences:
        raise UserError("there is no sentence", "Say which object to mask")
    for sentence in sentences:
        check_sentence(sentence)
    check_shorts(sentences, shorts)
    if shorts is not None:
        return [Expression(*pair) for pair in zip(sentences, shorts, strict=True)]
    if not needs_short:
        return [Expression(sentence, sentence) for sentence in sentences]
    from losh.short_text.shorten import shorten  # spaCy takes a second

    found = shorten(list(sentences), mode)
    return [Expression(a, b.text) for a, b in zip(sentences, found, strict=True)]
