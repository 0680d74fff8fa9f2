"""Targets, costs and losses of pipelines that look for one object per expression."""

from __future__ import annotations

import pytest
import torch

from losh.layers.boxes import boxes_of_masks
from losh.layers.query_losses import box_losses, class_loss
from losh.model.criterion import Criterion
from losh.model.intersection import coefficient
from losh.model.mask_losses import dice_loss, focal_loss, resized
from losh.model.matching import joint_costs
from losh.model.one_object import Grid, OneObject
from losh.model.structures import LayerPred, Targets
from losh.params import OneObjectLosses
from losh.testing.small_models import (
    consistency_params,
    loss_params,
    random_targets,
    run,
    small_clips,
    small_model,
    words,
)

SIZE = (16, 24)
WEIGHTS = {"reference": 2.0, "box": 5.0, "giou": 2.0, "focal": 2.0, "dice": 5.0}
CELLS = Grid(first=2, stride=4)


def objective(**weights: float) -> OneObject:
    return OneObject(OneObjectLosses(**WEIGHTS | weights), matched=CELLS, final=CELLS)


def targets(visible: tuple[bool, ...] = (True, False)) -> list[Targets]:
    """Two instances, the second one referred to and not seen in the second frame; and no object."""
    masks = torch.zeros(2, 2, 12, 20, dtype=torch.bool)
    masks[0, :, :3, :3] = True
    masks[1, 0, 3:9, 5:12] = True
    here = Targets(masks, 1, torch.tensor(visible))
    return [here, Targets(masks[:0], -1, torch.tensor([False, False]))]


def prediction(seed: int = 0) -> LayerPred:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, 2, 3, 1, generator=generator)
    masks = torch.randn(2, 2, 3, 4, 6, generator=generator)
    return LayerPred(scores, masks, torch.rand(2, 2, 3, 4, generator=generator) / 2 + 0.1)


def test_a_grid_takes_one_pixel_of_each_square() -> None:
    mask = torch.arange(5 * 9).view(1, 5, 9).float() + 1
    assert Grid(1, 2).of(mask)[0].tolist()[0] == [11, 13, 15, 17, 0]  # row 1, columns 1, 3, 5, 7
    assert Grid(1, 2).of(mask).shape[1:] == Grid(1, 2).size((5, 9)) == (3, 5)
    assert torch.equal(Grid(0, 1).of(mask), mask)
    assert Grid(2, 4).size((16, 24)) == (4, 6)


def test_targets_are_the_referred_instance_with_its_box() -> None:
    here, none = objective().prepare_targets(targets(), SIZE)
    assert here.masks.shape == (1, 2, *SIZE) and here.referred == 0
    assert here.masks.sum((2, 3)).tolist() == [[42, 0]]
    # Columns 5 to 11 and rows 3 to 8 of the clip's own 20 x 12, not of the padded input.
    assert here.boxes[0, 0].tolist() == pytest.approx([8 / 20, 5.5 / 12, 6 / 20, 5 / 12])
    assert here.boxes[0, 1].tolist() == [0, 0, 0, 0]
    assert none.masks.shape == (0, 2, *SIZE) and none.boxes.shape == (0, 2, 4)
    assert none.referred == -1


def test_counts_are_of_visible_frames() -> None:
    assert objective().count(targets()) == {"visible_frames": 1, "pairs": 1, "frames": 4}
    assert objective().count(targets((True, True))) == {
        "visible_frames": 2,
        "pairs": 2,
        "frames": 4,
    }


def test_the_cheapest_query_is_the_one_that_is_right() -> None:
    prepared = objective().prepare_targets(targets(), SIZE)
    pred = prediction()
    right = CELLS.of(prepared[0].masks[0]) * 20 - 10
    pred.masks[0, :, 2] = right
    pred.boxes[0, :, 2] = prepared[0].boxes[0].clamp(min=1e-3)
    costs = objective().match_cost(pred, prepared, SIZE)
    assert [cost.shape for cost in costs] == [(3, 1), (3, 0)]
    assert int(costs[0].argmin()) == 2


def test_losses_are_sums_over_the_matched_query() -> None:
    prepared, pred = objective().prepare_targets(targets(), SIZE), prediction()
    query, nothing = torch.tensor([1]), torch.tensor([], dtype=torch.long)
    indices = [(query, torch.tensor([0])), (nothing, nothing)]
    masks = pred.masks[:1, :, 1]
    losses = objective().losses(pred, masks, prepared, indices, SIZE)
    positive = torch.zeros(2, 2, 3, dtype=torch.bool)
    positive[0, 0, 1] = True
    box, giou = box_losses(pred.boxes[0, :, 1], prepared[0].boxes[0])
    truth = CELLS.of(prepared[0].masks).flatten(1, 2)
    expected = {
        "reference": class_loss(pred.scores, positive),
        "box": box,
        "giou": giou,
        "focal": focal_loss(masks.flatten(1, 2), truth),
        "dice": dice_loss(masks.flatten(1, 2), truth),
    }
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)


def test_a_loss_of_weight_zero_is_absent() -> None:
    prepared, pred = objective().prepare_targets(targets(), SIZE), prediction()
    nothing = torch.tensor([], dtype=torch.long)
    indices = [(nothing, nothing)] * 2
    without = objective(giou=0.0, dice=0.0)
    found = without.losses(pred, pred.masks[:0, :, 0], prepared, indices, SIZE)
    assert found.keys() == without.weights.keys() == {"reference", "box", "focal"}


def test_without_any_object_losses_are_finite_and_have_a_gradient() -> None:
    none = [targets()[1]] * 2
    prepared, pred = objective().prepare_targets(none, SIZE), prediction()
    for value in (pred.scores, pred.masks, pred.boxes):
        value.requires_grad_()
    nothing = torch.tensor([], dtype=torch.long)
    losses = objective().losses(
        pred, pred.masks[:0, :, 0], prepared, [(nothing, nothing)] * 2, SIZE
    )
    sum(losses.values()).backward()
    assert float(losses["focal"].detach()) == float(losses["box"].detach()) == 0
    assert bool((pred.scores.grad != 0).all())


def test_boxes_are_of_the_mask_that_the_loss_compares() -> None:
    here = objective().prepare_targets(targets((True, True)), SIZE)[0]
    assert torch.equal(here.boxes[0, 0], boxes_of_masks(here.masks[0, 0, :12, :20].bool()))


@pytest.mark.parametrize("base", ["referformer", "sgmg"])
@pytest.mark.parametrize("visible", [(True, False), (False, False), (True, True)])
def test_the_streams_meet_only_where_the_object_is_visible(
    base: str, visible: tuple[bool, bool]
) -> None:
    """The intersection loss and its part of the matching cost, against the coefficient of the
    visible frames alone (ours).
    """
    network, size = small_model(base=base), (64, 96)
    output = run(network, small_clips(clips=1, size=size), words((5,)), words((2,), seed=1))
    [many] = random_targets((2,), size=size)
    target = Targets(many.masks, 1, torch.tensor(visible))
    criterion = Criterion(network.base, loss_params(intersection_form="soft"), consistency_params())
    found = criterion(output, [target])["intersection"]
    [(query, _)] = criterion.match(output, [target])
    grid = criterion.objective.comparison_size(size)
    rows = torch.zeros_like(query)
    long, short = (
        resized(network.base.refine(stream[-1], rows, query, output.selected)[0][:, None], grid)[
            :, 0
        ]
        for stream in (output.long, output.short)
    )
    outside = 1 - coefficient(long, short, "soft")
    expected = outside[list(visible)].sum() / max(sum(visible), 1)
    torch.testing.assert_close(found, expected)
    prepared = criterion.objective.prepare_targets([target], size)
    streams = [output.long[-1], output.short[-1]]
    costs = [
        joint_costs(streams, prepared, size, criterion.objective, loss_params(**changes))[0][:, 0]
        for changes in ({"intersection_form": "soft"}, {"intersection": 0.0})
    ]
    each = coefficient(*(resized(s.masks[0], grid) for s in streams), "soft")  # [K, N]
    mean = each[list(visible)].sum(0) / max(sum(visible), 1)
    torch.testing.assert_close(costs[1] - costs[0], 0.8 * mean, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("base", ["referformer", "sgmg"])
@pytest.mark.parametrize("streams", ["long", "both"])
def test_the_encoder_reference_loss_reads_the_cells_of_the_backbones_levels(
    base: str, streams: str
) -> None:
    """By the class head of the last decoder layer; against the sum over cells, written out."""
    losses = {"encoder_reference": 3.0, "encoder_reference_streams": streams}
    network, size = small_model(base=base, losses=losses).train(), (64, 96)
    output = run(network, small_clips(size=size), words((5, 4)), words((2, 3), seed=1))
    truth = random_targets((2, 1), size=size)
    truth[1] = Targets(truth[1].masks, -1, truth[1].visible)  # nothing is meant
    criterion = Criterion(network.base, loss_params(), consistency_params())
    found = criterion(output, truth)["encoder_reference"]
    expected, levels = 0.0, network.base.input_projections.given
    for kept in output.encoder[: 1 if streams == "long" else 2]:
        assert [x.shape[2:] for x in kept] == [(8, 12), (4, 6)][:levels]
        for logits, stride in zip(kept, (8, 16), strict=False):
            for clip, target in zip(logits, truth, strict=True):
                clip_size = target.masks.shape[-2:]
                filled = torch.zeros(len(clip), *clip_size)
                if target.referred >= 0:
                    filled = target.masks[target.referred].float()
                cells = filled.unfold(1, stride, stride).unfold(2, stride, stride).mean((3, 4))
                weight = 0.2 + 0.8 * cells
                entropy = torch.nn.functional.binary_cross_entropy_with_logits(
                    clip, cells, reduction="none"
                )
                expected += ((weight * entropy).sum((1, 2)) / weight.sum((1, 2))).sum() / levels
    torch.testing.assert_close(found, expected / 4)  # two clips of two frames
    found.backward()
    assert network.base.encoder.layers[0].linear1.weight.grad.abs().sum() > 0
    assert network.base.class_heads[-1].weight.grad.abs().sum() > 0
    assert network.base.queries.weight.grad is None


@pytest.mark.parametrize("base", ["referformer", "sgmg"])
def test_without_the_encoder_reference_loss_nothing_is_kept_for_it(base: str) -> None:
    network, size = small_model(base=base), (64, 96)
    output = run(network, small_clips(size=size), words((5, 4)), words((2, 3), seed=1))
    assert [len(kept) for kept in output.encoder] == [0, 0]
    criterion = Criterion(network.base, loss_params(), consistency_params())
    assert "encoder_reference" not in criterion(output, random_targets((2, 1), size=size))
