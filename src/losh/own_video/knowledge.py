"""What a checkpoint's weights have seen, said before anybody believes a mask."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from losh.model.text_encoder import TextEncoder

SHAPES = "moving_shapes"
UNTOLD = "the file does not say on which data it was trained"
WORD = re.compile(r"[^\W\d_]+")


def knowledge(config: dict[str, Any]) -> str:
    """Return one line: what the weights know, as far as the model file tells.

    A file names the datasets that it was trained on last. One of before, or of a released
    checkpoint, does not; there the embedded text encoder, which was made for MovingShapes, tells.
    """
    model = config["model"]
    kinds = config.get("datasets") or {}
    shapes = {*kinds.values()} == {SHAPES} if kinds else model["text_encoder"] == "embedded"
    if shapes:
        return (
            "trained on MovingShapes, generated clips of coloured moving shapes: it knows no "
            "people, animals or things, and on real video it guesses"
        )
    size = f"{config['window']} frames of {config['short_side']} px"
    parts = f"{model['base']}, {model['backbone']['name']}, {model['text_encoder']}"
    seen = f"trained on {', '.join(kinds)}" if kinds else UNTOLD
    return f"{parts}, windows of {size}; {seen}"


def about_unknown(words: Sequence[str]) -> str | None:
    """Return one line about words that the weights have never seen; None where there is none."""
    if not words:
        return None
    quoted = ", ".join(f'"{word}"' for word in words)
    return f"the weights have never seen {quoted}: those words decide nothing sensible"


def unknown_words(
    config: dict[str, Any], encoder: TextEncoder, sentences: Sequence[str]
) -> list[str]:
    """Return the words that the text encoder has never seen whole, each once, in their order.

    Only the embedded one can tell: each of its words is one token. Others spell every word from
    pieces.
    """
    if config["model"]["text_encoder"] != "embedded" or encoder.tokenizer is None:
        return []
    found = []
    for word in WORD.findall(" ".join(sentences).lower()):
        ids = encoder.tokenizer(word, add_special_tokens=False)["input_ids"]
        if len(ids) > 1 and word not in found:
            found.append(word)
    return found
