"""Shorten many expressions at once."""

from __future__ import annotations

from collections.abc import Mapping

from losh.short_text.overrides import folded
from losh.short_text.rule import Mode, Short, shorten_words
from losh.short_text.tagging import tag_words


def shorten(
    sentences: list[str],
    mode: Mode,
    overrides: Mapping[str, str] | None = None,
    progress: bool = False,
) -> list[Short]:
    """Return the short text of each sentence, in order.

    Args:
        mode: "subject" (appearance alone, the published idea) or "subject_with_position" (what the
            authors' pairs do).
        overrides: short texts by long text that win over the rule; keys are compared without case
            and repeated white space.
        progress: show a bar with rate and time left.

    A blank sentence stays as it is (step "whole"): its caller decides what an empty expression
    means.
    """
    by_hand = {folded(long): short for long, short in (overrides or {}).items()}
    found = {
        text: Short(by_hand[folded(text)], "override")
        for text in sentences
        if folded(text) in by_hand
    }
    # Datasets repeat their expressions; each is tagged once.
    open_ones = [text for text in dict.fromkeys(sentences) if text not in found]
    tagged = tag_words([text for text in open_ones if text.strip()])
    if progress:
        from tqdm import tqdm

        tagged = tqdm(
            tagged,
            total=len(open_ones),
            desc="parse_text",
            unit="sentence",
            smoothing=0,
            disable=None,
        )
    found |= {text: Short(text, "whole") for text in open_ones if not text.strip()}
    found |= {
        text: shorten_words(words, mode)
        for text, words in zip([t for t in open_ones if t.strip()], tagged, strict=True)
    }
    return [found[text] for text in sentences]
