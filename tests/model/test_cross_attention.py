"""Long-short cross-attention: where it is, what it may see, and that it starts as an identity."""

from __future__ import annotations

import pytest
import torch

from losh.model.losh import LoSh
from losh.model.structures import LoShOutput
from losh.testing.small_models import opened, run, small_clips, small_model, words

INSIDE = {"cross_attention_place": "inside"}
AFTER = {"cross_attention_place": "after"}


def largest(a: LoShOutput, b: LoShOutput, stream: str) -> float:
    return float((getattr(a, stream)[-1].masks - getattr(b, stream)[-1].masks).detach().abs().max())


def plain_twin(model: LoSh) -> LoSh:
    """The same weights without cross-attention, the streams in one batch, which rounds alike."""
    twin = small_model(cross_attention=False)
    twin.one_batch = True
    twin.load_state_dict(
        {name: value for name, value in model.state_dict().items() if not name.startswith("cross")}
    )
    return twin


@pytest.mark.parametrize("place", [INSIDE, AFTER])
def test_long_stream_starts_from_the_plain_models_numbers(place: dict) -> None:
    model = small_model(**place)
    plain = run(plain_twin(model))
    assert largest(run(model), plain, "long") == 0
    assert largest(run(opened(model)), plain, "long") > 1e-3


def test_without_it_both_streams_share_everything() -> None:
    model = small_model(cross_attention=False)
    assert not [name for name, _ in model.named_parameters() if name.startswith("cross")]
    same = run(model, short=words((5, 3)))
    assert torch.equal(same.long[-1].masks, same.short[-1].masks)


@pytest.mark.parametrize("place", [INSIDE, AFTER])
def test_short_informs_long_but_never_the_other_way(place: dict) -> None:
    model = opened(small_model(**place))
    before = run(model)
    other_long = run(model, long=words((4, 5), seed=7))
    other_short = run(model, short=words((2, 3), seed=7))
    assert largest(before, other_long, "short") < 1e-5
    assert largest(before, other_long, "long") > 1e-3
    assert largest(before, other_short, "long") > 1e-3


def test_padding_of_the_short_text_is_not_seen() -> None:
    model = opened(small_model())
    short = words((2, 3), seed=1)
    longer = words((2, 3, 6), seed=1)
    longer.words[:2] = 9.0
    longer.words[:2, :3] = short.words
    padded = type(short)(longer.words[:2], torch.nn.functional.pad(short.pad, (0, 3), value=True))
    assert largest(run(model, short=short), run(model, short=padded), "long") < 1e-5


def test_blocks_read_sa_ca_sa_ca_sa() -> None:
    """Three shared layers and two blocks: the figure's order, and the last shared layer has no
    block after it.
    """
    model, order = small_model(), []
    for i, layer in enumerate(model.base.encoder):
        layer.register_forward_hook(lambda *_, i=i: order.append(f"SA{i}"))
    for i, block in enumerate(model.cross_blocks):
        block.register_forward_hook(lambda *_, i=i: order.append(f"CA{i}"))
    run(model)
    assert order == ["SA0", "CA0", "SA1", "CA1", "SA2"]


def test_keys_and_values_are_the_short_stream_before_its_own_layer() -> None:
    model, seen = opened(small_model(encoder_layers=2)), {}
    block = model.cross_blocks[0]
    block.register_forward_hook(
        lambda _, args, out: seen.update(before=args[0].chunk(2), after=out)
    )
    block.cross.register_forward_hook(lambda _, args, out: seen.update(cross=args))
    run(model)
    long, short = seen["before"]
    assert torch.equal(seen["cross"][0], long) and torch.equal(seen["cross"][1], short)
    assert not torch.allclose(seen["after"][1], short)


@pytest.mark.parametrize("place", [INSIDE, AFTER])
def test_gradients_reach_every_part(place: dict) -> None:
    model = opened(small_model(**place)).train()
    output = run(model)
    (
        output.long[-1].masks.square().sum()
        + output.short[-1].masks.square().sum()
        + output.long[-1].scores.sum()
    ).backward()
    without = [
        name
        for name, p in model.named_parameters()
        if p.grad is None and "text_encoder" not in name
    ]
    assert not without
    zero = [
        name
        for name, p in model.named_parameters()
        if name.startswith("cross") and "in_proj_bias" not in name and not p.grad.any()
    ]
    assert not zero


def test_without_the_short_stream_the_base_runs_alone() -> None:
    model = small_model(short_stream=False)
    twin = plain_twin(small_model())
    twin.load_state_dict(model.state_dict())
    alone = model(small_clips(), words((5, 3)))
    assert alone.short is None
    assert largest(alone, run(twin), "long") < 1e-5


def test_the_short_text_is_asked_for() -> None:
    with pytest.raises(ValueError, match="short"):
        small_model()(small_clips(), words((5, 3)))
