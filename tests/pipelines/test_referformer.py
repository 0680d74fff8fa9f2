"""LoSh on ReferFormer: shapes, padding, both streams, losses, mask rules, all of them at work."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from losh.errors import UserError
from losh.model.criterion import Criterion
from losh.model.losh import LoSh
from losh.model.structures import Clips, FrameSizes, LoShOutput, Targets
from losh.pipelines.referformer.mask_rules import mask_rule
from losh.testing.small_models import (
    consistency_params,
    loss_params,
    opened,
    random_flow,
    random_targets,
    run,
    sentence_ids,
    small_clips,
    small_model,
    words,
)

SIZE = (64, 96)


def model(**changes: object) -> LoSh:
    return small_model(base="referformer", **changes)


def clips(**changes: object) -> Clips:
    return small_clips(**{"size": SIZE, **changes})


def differ(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().abs().max())


def criterion(of: LoSh, **weights: float) -> Criterion:
    return Criterion(of.base, loss_params(**weights), consistency_params(occlusion=False))


def test_shapes_of_predictions() -> None:
    output = run(model(), clips())
    assert len(output.long) == len(output.short) == 2
    for layer in (*output.long, *output.short):
        assert layer.scores.shape == (2, 2, 4, 1)
        assert layer.masks.shape == (2, 2, 4, 16, 24)
        assert layer.boxes.shape == (2, 2, 4, 4)
        assert layer.boxes.min() > 0 and layer.boxes.max() < 1


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_levels_that_the_backbone_lacks_are_made_by_convolutions(levels: int) -> None:
    """The backbone has strides 4, 8 and 16."""
    network = model(feature_levels=levels)
    tokens = []
    fuse = network.base.fuse
    network.base.fuse = lambda *args: tokens.append(fuse(*args)) or tokens[-1]
    assert run(network, clips()).long[-1].masks.shape[-2:] == (16, 24)
    assert tokens[0].shapes == [(8, 12), (4, 6), (2, 3), (1, 2)][:levels]


def test_both_streams_are_the_pipeline_alone_without_cross_attention() -> None:
    """To the bit, whatever the short sentences' lengths."""
    both = model(cross_attention=False)
    alone = model(cross_attention=False, short_stream=False)
    alone.load_state_dict(both.state_dict())
    inputs = (clips(), words((5, 3)))
    with torch.no_grad():
        pair, single = run(both, *inputs, words((7, 2), seed=1)), run(alone, *inputs)
        both.one_batch = True
        together = run(both, *inputs, words((7, 2), seed=1))
    assert single.short is None
    assert differ(pair.short[-1].masks, together.short[-1].masks) < 1e-4
    for a, b in zip(pair.long, single.long, strict=True):
        assert torch.equal(a.scores, b.scores)
        assert torch.equal(a.boxes, b.boxes) and torch.equal(a.masks, b.masks)


@pytest.mark.parametrize("place", ["inside", "after"])
def test_cross_attention_starts_as_an_identity_and_then_informs_long_alone(place: str) -> None:
    network = model(cross_attention_place=place)
    plain = model(cross_attention=False)
    own = {k: v for k, v in network.state_dict().items() if not k.startswith("cross")}
    plain.load_state_dict(own)
    plain.one_batch = True  # the streams in one batch, which rounds alike
    first = run(network, clips())
    assert differ(first.long[-1].masks, run(plain, clips()).long[-1].masks) == 0
    opened(network)
    before = run(network, clips())
    other_long = run(network, clips(), long=words((4, 5), seed=7))
    other_short = run(network, clips(), short=words((2, 3), seed=7))
    assert differ(before.short[-1].masks, other_long.short[-1].masks) < 1e-5
    assert differ(before.long[-1].masks, other_short.long[-1].masks) > 1e-3


def test_every_loss_is_there_and_reaches_every_parameter() -> None:
    network = opened(model()).train()
    network.base.text_encoder.requires_grad_(False)
    batch = clips()
    output = network(batch, words((5, 3)), words((2, 3), seed=1))
    losses = criterion(network)(output, random_targets((3, 2), size=SIZE), random_flow(batch))
    named = {"reference", "box", "giou", "focal", "dice", "intersection"}
    assert losses.keys() == named | {f"{n}_0" for n in named} | {"consistency", "total"}
    losses["total"].backward()
    without = [
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    ]
    # A last layer that starts at zero lets no gradient through at the first step.
    assert all(name.startswith(("base.box_heads", "base.reference_points")) for name in without)


def test_a_loss_of_weight_zero_is_not_computed() -> None:
    network = model(losses={"box": 0.0, "focal": 0.0})
    losses = criterion(network)(run(network, clips()), random_targets((1, 2), size=SIZE))
    assert not losses.keys() & {"box", "box_0", "focal", "focal_0"}
    assert {"giou", "dice"} <= losses.keys()


def test_other_instances_and_invisible_frames() -> None:
    """Only the referred instance counts; a frame without it wants "no object" and a zero box."""
    network = model(cross_attention=False, short_stream=False)
    output = run(network, clips(clips=1), words((5,)))
    [many] = random_targets((3,), size=SIZE)
    alone = Targets(many.masks[2:], 0, many.visible)
    losses = [criterion(network)(output, [t]) for t in (many, alone)]
    assert losses[0]["total"] == losses[1]["total"]
    hidden = Targets(many.masks[2:] & torch.tensor([True, False])[:, None, None], 0, many.visible)
    hidden = Targets(hidden.masks, 0, torch.tensor([True, False]))
    prepared = network.base.objective().prepare_targets([hidden], SIZE)[0]
    assert not prepared.boxes[0, 1].any() and prepared.boxes[0, 0].any()
    counts = network.base.objective().count([hidden])
    assert counts == {"visible_frames": 1.0, "pairs": 1.0, "frames": 2.0}


def test_an_expression_without_an_object_has_only_the_reference_loss() -> None:
    network = model()
    nothing = Targets(torch.zeros(0, 2, *SIZE, dtype=torch.bool), -1, torch.zeros(2).bool())
    output = run(network, clips())
    losses = criterion(network)(output, [nothing, nothing])
    assert losses["reference"] > 0
    assert all(losses[name] == 0 for name in ("box", "giou", "focal", "dice", "intersection"))
    assert torch.isfinite(losses["total"])
    never = Targets(torch.zeros(1, 2, *SIZE, dtype=torch.bool), 0, torch.zeros(2).bool())
    assert torch.isfinite(criterion(network)(output, [never, never])["total"])


def test_mask_rules_of_the_protocols() -> None:
    """A2D cuts at the clip and goes by nearest; the video datasets stretch the clip's cells."""
    logits = torch.full((1, 8, 10), -9.0)
    logits[:, :, :5] = 9.0
    sizes = FrameSizes(padded=(32, 40), clip=(30, 38), original=(60, 76))
    a2d = mask_rule("a2d")
    probabilities = a2d.probabilities(logits, sizes)
    assert probabilities.shape == (1, 30, 38)
    masks = a2d.masks(probabilities, sizes, 0.5)
    assert masks.shape == (1, 60, 76) and masks[0, :, :40].all() and not masks[0, :, 40:].any()
    for protocol in ("youtube_vos", "davis"):
        rule = mask_rule(protocol)
        probabilities = rule.probabilities(logits, sizes)
        assert probabilities.shape == (1, 60, 76)
        masks = rule.masks(probabilities, sizes, 0.5)
        # 10 cells over 76 px: the middle lies at 38.
        assert masks[0, :, :38].all() and not masks[0, :, 38:].any()
        assert torch.equal(rule.at_original(probabilities, sizes), probabilities)
    batch = FrameSizes(padded=(32, 40), clip=(32, 20), original=(32, 20))
    assert (
        mask_rule("davis").masks(mask_rule("davis").probabilities(logits, batch), batch, 0.5).all()
    )


def test_a_frame_that_is_all_padding_stays_finite() -> None:
    network, batch = model(), clips()
    pad = batch.pad.clone()
    pad[1, 2] = True
    output: LoShOutput = run(network, Clips(batch.frames, pad, batch.annotated))
    assert torch.isfinite(output.long[-1].masks).all()
    assert torch.isfinite(output.long[-1].boxes).all()


def test_tokens_and_cached_features_give_the_same() -> None:
    network, tokens = model(short_stream=False), sentence_ids((5, 3))
    with torch.no_grad():
        raw = network.base.text_encoder(tokens.ids, tokens.mask)
        a, b = network(clips(), tokens).long[-1], network(clips(), raw).long[-1]
    assert torch.equal(a.masks, b.masks)


def test_mixed_precision_is_close() -> None:
    network = model()
    with torch.no_grad():
        full = run(network, clips()).long[-1]
        with torch.autocast("cpu", torch.bfloat16):
            mixed = run(network, clips()).long[-1]
    assert mixed.masks.dtype == mixed.boxes.dtype == torch.float32
    assert differ(full.boxes, mixed.boxes) < 0.02
    assert differ(full.masks, mixed.masks) < 0.05 * float(full.masks.abs().max())


@pytest.mark.parametrize("place", ["inside", "after"])
def test_cross_attention_can_be_kept_to_coarser_levels(place: str) -> None:
    """Only tokens of the named levels change, and they attend to those levels alone."""
    network = opened(model(cross_attention_place=place, cross_attention_levels=[2, 1]))
    block = network.cross_after or network.cross_blocks[0].cross
    seen = []
    block.register_forward_hook(lambda _, given, out: seen.append((given, out)))
    run(network, clips())
    (long, short, for_long, for_short), out = seen[0]
    assert for_long.shapes == [(8, 12), (4, 6), (2, 3)]
    assert torch.equal(out[:, :96], long[:, :96])
    assert differ(out[:, 96:], long[:, 96:]) > 1e-3
    other = short.clone()
    other[:, :96] += 1
    with torch.no_grad():
        assert torch.equal(block(long, other, for_long, for_short), block(*seen[0][0]))


def test_a_level_that_the_encoder_lacks_is_named() -> None:
    with pytest.raises(UserError, match=r"cross_attention_levels: 3 is no level.*Take 0 to 2"):
        run(model(cross_attention_levels=[3]), clips())
