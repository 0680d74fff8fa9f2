"""How well short texts agree with human-made ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from losh.short_text.overrides import folded


def word_f1(ours: str, theirs: str) -> float:
    """F1 of the two texts' bags of words, without case; 1 where both are empty."""
    one, other = folded(ours).split(), folded(theirs).split()
    if not one and not other:
        return 1.0
    shared = sum((Counter(one) & Counter(other)).values())
    return 2 * shared / (len(one) + len(other))


def agreement(ours: Sequence[str], theirs: Sequence[str]) -> tuple[float, float]:
    """Return the share of exact matches and the mean word F1 of the rows.

    Texts are compared lower-cased, white space folded.
    """
    pairs = list(zip(ours, theirs, strict=True))
    exact = sum(folded(one) == folded(other) for one, other in pairs)
    return exact / len(pairs), sum(word_f1(one, other) for one, other in pairs) / len(pairs)
