"""Sentences reach the text encoder in lower case, with single spaces."""

import pytest

from losh.clips.sentences import fold_text


@pytest.mark.parametrize(
    ("sentence", "folded"),
    [
        ("The Man  Left", "the man left"),
        ("  a\tdog\n in RED ", "a dog in red"),
        ("the man left", "the man left"),
        ("ÉCLAIR on the left", "éclair on the left"),
    ],
)
def test_case_and_white_space_are_folded(sentence, folded):
    assert fold_text(sentence) == folded
