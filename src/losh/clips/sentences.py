"""Sentences as the text encoder gets them."""

from __future__ import annotations


def fold_text(sentence: str) -> str:
    """Lower-case a sentence and fold its white space.

    Published systems do so before the tokenizer. roberta-base knows case, so that "The Man" and
    "the man" are other tokens to it.
    """
    return " ".join(sentence.lower().split())
