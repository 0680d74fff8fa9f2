"""LoSh on SgMg: shapes, both streams, losses, refinement, smallest inputs, padding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from losh.errors import UserError
from losh.inference.streams import predictions
from losh.model.criterion import Criterion
from losh.model.losh import LoSh
from losh.model.structures import Clips, LayerPred, Targets
from losh.pipelines.sgmg.losses import SgMgObjective
from losh.testing.small_models import (
    SGMG,
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
LOSSES = set(SGMG["losses"])


def model(**changes: object) -> LoSh:
    return small_model(base="sgmg", **changes)


def clips(**changes: object) -> Clips:
    return small_clips(**{"size": SIZE, **changes})


def criterion(of: LoSh, **weights: float) -> Criterion:
    return Criterion(of.base, loss_params(**weights), consistency_params(occlusion=False))


def test_masks_are_of_stride_2_and_refined_ones_of_the_input() -> None:
    network = model()
    output = run(network, clips())
    assert len(output.long) == len(output.short) == 2
    for layer in (*output.long, *output.short):
        assert layer.scores.shape == (2, 2, 4, 1) and layer.boxes.shape == (2, 2, 4, 4)
        assert layer.masks.shape == (2, 2, 4, 32, 48)
    every = predictions(network.base, output, "mean")
    assert [x.shape for x in every[0].logits] == [(2, 4, *SIZE)] * 2
    best = predictions(network.base, output, "mean", best_only=True)
    for all_of_it, chosen in zip(every, best, strict=True):
        for stream, one in zip(all_of_it.logits, chosen.logits, strict=True):
            torch.testing.assert_close(stream[:, all_of_it.best], one[:, 0])


@pytest.mark.parametrize("levels", [2, 3])
def test_the_smallest_side_follows_from_the_levels(levels: int) -> None:
    network = model(feature_levels=levels, short_stream=False)
    smallest = {2: 33, 3: 65}[levels]
    assert network.base.min_side == smallest
    padded = -(-smallest // 16) * 16
    assert run(network, clips(size=(padded, 96))).long[-1].masks.isfinite().all()
    with pytest.raises(UserError, match=rf"side of {smallest - 1} px.*at least {smallest}"):
        run(network, clips(size=(smallest - 1, 96)))


def test_published_sizes_have_the_published_smallest_side() -> None:
    backbone = {"name": "video_swin_t", "checkpoint": None}
    assert model(backbone=backbone, feature_levels=4).base.min_side == 129


def test_without_the_short_stream_it_is_the_pipeline_alone() -> None:
    """Bit-equal to the pipeline's own steps, and to the long stream of two without
    cross-attention.
    """
    both = model(cross_attention=False)
    alone = model(cross_attention=False, short_stream=False)
    alone.load_state_dict(both.state_dict())
    assert not [name for name in alone.state_dict() if not name.startswith("base.")]
    batch, text = clips(), words((5, 5))
    with torch.no_grad():
        pair, single = run(both, batch, text, words((5, 5), seed=1)), run(alone, batch, text)
        base = alone.base
        video = base.select_frames(base.encode_video(batch.frames, batch.pad), batch.annotated)
        projected = base.encode_text(text)
        tokens = base.fuse(video, projected)
        plain = base.decode(base.encode(tokens), tokens, video, projected)
    assert single.short is None
    for a, b, c in zip(pair.long, single.long, plain, strict=True):
        for name in ("scores", "boxes", "masks"):
            assert torch.equal(getattr(a, name), getattr(b, name))
            assert torch.equal(getattr(b, name), getattr(c, name))


@pytest.mark.parametrize("place", ["inside", "after"])
def test_cross_attention_starts_as_an_identity_and_then_informs_long_alone(place: str) -> None:
    network = model(cross_attention_place=place)
    plain = model(cross_attention=False)
    own = {k: v for k, v in network.state_dict().items() if not k.startswith("cross")}
    plain.load_state_dict(own)
    masks = [run(m, clips()).long[-1].masks.detach() for m in (network, plain)]
    torch.testing.assert_close(*masks)
    opened(network)
    before = run(network, clips())
    other_long = run(network, clips(), long=words((4, 5), seed=7))
    other_short = run(network, clips(), short=words((2, 3), seed=7))
    torch.testing.assert_close(before.short[-1].masks, other_long.short[-1].masks)
    difference = (before.long[-1].masks - other_short.long[-1].masks).detach().abs().max()
    assert float(difference) > 1e-3


def test_every_loss_is_there_and_reaches_every_parameter() -> None:
    network = opened(model()).train()
    network.base.text_encoder.requires_grad_(False)
    batch = clips()
    output = run(network, batch)
    losses = criterion(network)(output, random_targets((3, 2), size=SIZE), random_flow(batch))
    named = LOSSES | {"intersection"}
    assert losses.keys() == named | {f"{name}_0" for name in named} | {"consistency", "total"}
    losses["total"].backward()
    without = [
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    ]
    # A last layer that starts at zero lets no gradient through at the first step.
    assert all(name.startswith(("base.box_heads", "base.reference_points")) for name in without)


def test_low_masks_are_compared_at_odd_rows_and_columns() -> None:
    """The parity fixture's object has even sides, so that it does not tell odd from even."""
    objective = SgMgObjective(model().base.params.losses)
    mask = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    mask[:, :, 1::2, 1::2] = True
    targets = objective.prepare_targets([Targets(mask, 0, torch.tensor([True]))], (8, 8))
    low = torch.full((1, 1, 1, 4, 4), 50.0)
    pred = LayerPred(torch.zeros(1, 1, 1, 1), low, torch.full((1, 1, 1, 4), 0.5))
    full = (100 * mask.float() - 50)[0]
    pair = [(torch.tensor([0]), torch.tensor([0]))]
    losses = objective.losses(pred, full[None], targets, pair, (8, 8))
    for name in ("focal", "dice", "focal_low", "dice_low"):
        assert float(losses[name]) == pytest.approx(0, abs=1e-6)


def test_a_batch_without_objects_trains_every_weight_that_decides_scores() -> None:
    network, nothing = model().train(), torch.zeros(0, 2, *SIZE, dtype=torch.bool)
    network.base.text_encoder.requires_grad_(False)
    targets = [Targets(nothing, -1, torch.zeros(2, dtype=torch.bool))] * 2
    losses = criterion(network)(run(network, clips()), targets)
    assert {name for name, value in losses.items() if value > 0} == {
        "reference",
        "reference_0",
        "total",
    }
    losses["total"].backward()
    # All weights take part, which DistributedDataParallel needs; those of masks with zeros.
    assert [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_clip_of_its_own_and_one_in_a_batch_are_alike() -> None:
    network, together, text = opened(model()), clips(), (words((5, 3)), words((2, 3), seed=1))
    whole = run(network, together, *text)
    for b in range(2):
        alone = Clips(*(x[b : b + 1] for x in (together.frames, together.pad, together.annotated)))
        own = [type(t)(t.words[b : b + 1], t.pad[b : b + 1], t.sentence[b : b + 1]) for t in text]
        for name in ("scores", "boxes", "masks"):
            found = getattr(run(network, alone, *own).long[-1], name)
            torch.testing.assert_close(
                found[0], getattr(whole.long[-1], name)[b], atol=1e-4, rtol=0
            )


def test_a_frame_that_is_all_padding_stays_finite() -> None:
    network, batch = model(), clips()
    pad = batch.pad.clone()
    pad[1, 2] = True
    output = run(network, Clips(batch.frames, pad, batch.annotated))
    assert all(x.isfinite().all() for x in (output.long[-1].masks, output.long[-1].boxes))


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
            output = run(network, clips())
            refined = predictions(network.base, output, "long")[0].logits[0]
    mixed = output.long[-1]
    assert mixed.masks.dtype == mixed.boxes.dtype == refined.dtype == torch.float32
    assert float((full.boxes - mixed.boxes).abs().max()) < 0.02
    difference: Tensor = (full.masks - mixed.masks).abs().max()
    assert float(difference) < 0.05 * float(full.masks.abs().max())
