"""The sentences of a person: which can be used, and the short expression of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from losh.errors import UserError

if TYPE_CHECKING:
    from losh.short_text.rule import Mode

END = re.compile(r"(\S*)([.!?;]\s+|[。！？；]\s*|\n\s*)(?=\S)")
"""Where a sentence ends and another begins: the word before, and the stop."""
ABBREVIATION = re.compile(r"\(?(?:[A-Z][a-z]{0,2}|[a-z]|no|vs|etc|ca|e\.g|i\.e)", re.ASCII)
"""A word whose point ends no sentence: St. Bernard, no. 5."""


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
        if not ABBREVIATION.fullmatch(found[1]):
            parts.append(text[first : found.end()])
            first = found.end()
    parts.append(text[first:])
    plain = [part.strip().rstrip(".!?;。！？；") for part in parts]
    return [part for part in plain if any(letter.isalpha() for letter in part)]


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
