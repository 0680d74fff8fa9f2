"""What is not read is not computed, and what is read stays the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from losh.model.losh import LoSh
from losh.model.structures import LoShOutput
from losh.testing.small_models import (
    criterion_of,
    opened,
    random_flow,
    random_targets,
    small_clips,
    small_model,
    words,
)

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


@pytest.mark.parametrize("name", ["mttr", "referformer", "sgmg"])
def test_losses_and_gradients_are_the_same_where_frames_are_not_read(name: str) -> None:
    """The consistency loss reads the neighbours, too."""
    model, clips = built(name).train(), small_clips(frames=7, size=SIZE, annotated=(2,))
    flow, targets = random_flow(clips), random_targets((2, 1), 1, SIZE)
    criterion, found = criterion_of(model), []
    for read in (None, ((1, 2, 3),) * 2):
        output = model(replace(clips, read=read), words((5, 3)), words((2, 3), seed=1))
        losses = criterion(output, targets, flow, criterion.count(targets, flow))
        assert losses["consistency"] > 0
        learnt = [p for p in model.parameters() if p.requires_grad]
        grads = torch.autograd.grad(losses["total"], learnt, allow_unused=True)
        found.append((losses, [grad for grad in grads if grad is not None]))
    assert torch.isnan(output.video.levels[-1][:, 6]).all()
    (losses, grads), (their_losses, their_grads) = found
    assert losses.keys() == their_losses.keys() and len(grads) == len(their_grads) > 50
    for key, value in losses.items():
        assert float(value) == pytest.approx(float(their_losses[key]), rel=1e-4, abs=1e-5), key
    for one, other in zip(grads, their_grads, strict=True):
        assert float((one - other).abs().max()) < 1e-4 * max(1.0, float(one.abs().max()))
