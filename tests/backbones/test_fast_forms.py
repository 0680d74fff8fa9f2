"""By how much the faster forms differ from the plain ones.

Fused attention, cached text, mixed precision, compilation.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.nn.attention import SDPBackend, sdpa_kernel

from losh.backbones.attention_windows import Frames
from losh.layers import linear
from losh.layers.transformer import Attention
from losh.model.losh import LoSh
from losh.model.structures import Clips, LoShOutput, TextFeats
from losh.testing.small_models import opened, run, sentence_ids, small_clips, small_model


def difference(one: LoShOutput, other: LoShOutput) -> float:
    """Largest difference of the long masks' logits, relative to their largest value."""
    a, b = one.long[-1].masks.detach(), other.long[-1].masks.detach()
    return float((a - b).abs().max() / b.abs().max())


def live_model() -> LoSh:
    """A small model whose blocks are all at work."""
    return opened(small_model())


def test_attention_is_that_of_nn_multihead_attention() -> None:
    """Same parameters, same result, forward and backward."""
    torch.manual_seed(0)
    ours, theirs = Attention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    query, key, value = torch.randn(3, 5, 16), torch.randn(3, 7, 16), torch.randn(3, 7, 16)
    pad = torch.arange(7)[None] >= torch.tensor([7, 4, 1])[:, None]
    out, expected = ours(query, key, value, pad), theirs(query, key, value, key_padding_mask=pad)[0]
    assert torch.allclose(out, expected, atol=1e-6)
    for module, result in ((ours, out), (theirs, expected)):
        result.square().sum().backward()
        assert module.in_proj_weight.grad is not None
    assert torch.allclose(ours.in_proj_weight.grad, theirs.in_proj_weight.grad, atol=1e-5)


def test_attention_with_nothing_to_attend_to_is_finite() -> None:
    attention = Attention(8, 2)
    x = torch.randn(1, 3, 8, requires_grad=True)
    attention(x, x, x, torch.ones(1, 3, dtype=torch.bool)).sum().backward()
    assert torch.isfinite(x.grad).all()


def fused_against_math(model: LoSh, *inputs: object) -> float:
    with torch.no_grad():
        fused = model(*inputs)
        with sdpa_kernel(SDPBackend.MATH):
            return difference(fused, model(*inputs))


def cached_against_live(model: LoSh, clips: object, long: object, short: object) -> float:
    """Features that were made a sentence at a time, without padding, against the encoder run on the
    padded batch.
    """

    def cached(text: object) -> TextFeats:
        lengths = text.mask.sum(1).tolist()
        one = [
            model.base.text_encoder(ids[None, :n], mask[None, :n]).words[0]
            for ids, mask, n in zip(text.ids, text.mask, lengths, strict=True)
        ]
        words: Tensor = nn.utils.rnn.pad_sequence(one, batch_first=True)
        return TextFeats(words, text.mask == 0)

    with torch.no_grad():
        return difference(model(clips, cached(long), cached(short)), model(clips, long, short))


def read_against_all(model: LoSh, clips: Clips, *texts: object) -> float:
    """Only what the annotated frames look at is computed, against all frames."""
    annotated = tuple(tuple(frames) for frames in clips.annotated.tolist())
    with torch.no_grad():
        some = model(replace(clips, read=annotated), *texts)
        return difference(some, model(clips, *texts))


def onednn_against_plain(model: LoSh, *inputs: object) -> float:
    """Linear layers by oneDNN, as where nothing is learned, against PyTorch's own."""
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        ours = model(*inputs)
        patch.setattr(linear, "ONEDNN", False)
        return difference(ours, model(*inputs))


def bf16_against_fp32(model: LoSh, *inputs: object) -> float:
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            low = model(*inputs)
        return difference(low, model(*inputs))


def compiled_against_eager(model: LoSh, *inputs: object) -> float:
    with torch.no_grad():
        return difference(torch.compile(model)(*inputs), model(*inputs))


def small_inputs() -> tuple:
    return small_clips(), sentence_ids((9, 4)), sentence_ids((3, 2), seed=1)


def test_fused_attention_differs_by_rounding() -> None:
    assert fused_against_math(live_model(), *small_inputs()) < 1e-5


def test_linear_layers_without_gradients_differ_by_rounding() -> None:
    model = live_model()
    assert not any(type(module) is nn.Linear for module in model.modules())
    assert onednn_against_plain(model, *small_inputs()) < 1e-5


def test_frames_that_nothing_reads_change_nothing_but_rounding() -> None:
    assert read_against_all(live_model(), *small_inputs()) < 1e-5


def test_cached_text_differs_by_rounding() -> None:
    assert cached_against_live(live_model(), *small_inputs()) < 1e-5


def test_bf16_differs_by_little() -> None:
    assert 1e-5 < bf16_against_fp32(live_model(), *small_inputs()) < 5e-2


def test_bf16_trains() -> None:
    model = live_model().train()
    with torch.autocast("cpu", torch.bfloat16):
        output = run(model)
    (output.long[-1].masks.sum() + output.short[-1].scores.sum()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.slow
@pytest.mark.parametrize("read", [None, ((1, 2), (1, 2))], ids=["all", "read"])
def test_compiled_differs_by_rounding(read: Frames | None) -> None:
    """A compiled network computes all frames, whichever are read."""
    clips, *texts = small_inputs()
    assert compiled_against_eager(live_model(), replace(clips, read=read), *texts) < 1e-5


@pytest.mark.slow
def test_a_compiled_network_is_not_compiled_anew_for_other_frames_that_are_read() -> None:
    torch._dynamo.reset()
    counters.clear()
    compiled, (clips, *texts) = torch.compile(live_model()), small_inputs()
    with torch.no_grad():
        for read in (((1, 2), (1, 2)), ((0, 1, 2), (1, 2)), ((1, 2, 3), (1, 2))):
            compiled(replace(clips, read=read), *texts)
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]


@pytest.mark.slow
def test_compiled_gradients_differ_by_rounding() -> None:
    grads = []
    for compiled in (False, True):
        model = copy.deepcopy(live_model()).train()
        output = (torch.compile(model) if compiled else model)(*small_inputs())
        (output.long[-1].masks.square().mean() + output.short[-1].scores.square().mean()).backward()
        grads.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    assert all(
        torch.allclose(grads[0][name], grads[1][name], atol=1e-5, rtol=1e-3) for name in grads[0]
    )
