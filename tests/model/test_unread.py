"""What inference does not read is not computed, and what it reads stays the same."""

from __future__ import annotations

import pytest
import torch

from losh.model.losh import LoSh
from losh.model.structures import LoShOutput
from losh.testing.small_models import opened, small_clips, small_model, words

MODELS = {
    "mttr": {},
    "after": {"cross_attention_place": "after"},
    "apart": {"cross_attention": False},
    "referformer": {"base": "referformer"},
    "sgmg": {"base": "sgmg"},
}
SIZE = (40, 56)


def built(name: str) -> LoSh:
    return opened(small_model(**MODELS[name]))


def run(model: LoSh, **asked: bool) -> LoShOutput:
    clips = small_clips(size=SIZE)
    with torch.no_grad():
        return model(clips, words((5, 3)), words((2, 3), seed=1), **asked)


@pytest.mark.parametrize("name", MODELS)
def test_the_last_layer_alone_is_what_it_is_among_all(name: str) -> None:
    model = built(name)
    every, last = run(model), run(model, last_only=True)
    assert len(every.long) == 2 and len(last.long) == len(last.short) == 1
    for stream in ("long", "short"):
        a, b = getattr(every, stream)[-1], getattr(last, stream)[-1]
        assert torch.allclose(a.masks, b.masks, atol=1e-5)
        assert torch.allclose(a.scores, b.scores, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_the_long_stream_is_the_same_where_the_short_one_is_not_read(name: str) -> None:
    model = built(name)
    both, alone = run(model), run(model, joint=False)
    assert alone.short is None and len(alone.encoder) == 1
    for a, b in zip(both.long, alone.long, strict=True):
        assert torch.allclose(a.masks, b.masks, atol=1e-5)
        assert torch.allclose(a.scores, b.scores, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "joint", "rows"),
    [("apart", True, [4, 4]), ("apart", False, [4]), ("mttr", True, [8]), ("mttr", False, [4])],
)
def test_the_decoder_runs_only_on_what_is_read(
    name: str, joint: bool, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clips of two annotated frames a stream."""
    model, seen = built(name), []
    plain = model.base.decode
    monkeypatch.setattr(
        model.base, "decode", lambda memory, *more: seen.append(len(memory)) or plain(memory, *more)
    )
    run(model, joint=joint)
    assert seen == rows
