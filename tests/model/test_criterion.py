"""The loss: each term against numbers by hand, empty targets, and sums over micro-batches."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from losh.model.criterion import Criterion
from losh.model.encoder_reference import cell_reference_loss
from losh.model.intersection import coefficient, intersection_loss
from losh.model.mask_losses import covered, dice_loss, focal_loss
from losh.model.matching import assign
from losh.model.structures import ClipFlow, Indices, LayerPred, LoShOutput, Targets, VideoFeats
from losh.pipelines.mttr.losses import mttr_cost, reference_loss
from losh.testing.small_models import (
    criterion_of,
    opened,
    random_flow,
    random_targets,
    run,
    small_clips,
    small_model,
)


def criterion(**changes: object) -> Criterion:
    return criterion_of(**changes)


def logit(probability: list) -> torch.Tensor:
    return torch.logit(torch.tensor(probability, dtype=torch.float32))


def matching(*pairs: tuple[list[int], list[int]]) -> list[Indices]:
    return [
        (torch.tensor(query, dtype=torch.long), torch.tensor(instance, dtype=torch.long))
        for query, instance in pairs
    ]


def one_pixel_target(referred: int, visible: list[bool], n: int = 1) -> Targets:
    return Targets(
        torch.ones(n, len(visible), 1, 1, dtype=torch.bool), referred, torch.tensor(visible)
    )


def test_reference_loss_by_hand() -> None:
    """Two frames, two queries, all probabilities 1/2: each cross-entropy is log 2, so the weights
    show.
    """
    scores = torch.zeros(1, 2, 2, 2)
    value = reference_loss(
        scores, [one_pixel_target(0, [True, True])], matching(([1], [0])), no_object=0.1
    )
    assert value.item() == pytest.approx(math.log(2) * (1 + 1 + 0.1 + 0.1))


def test_invisible_referred_keeps_weight_one_with_the_no_object_target() -> None:
    scores = torch.zeros(1, 2, 2, 2)
    scores[0, :, 1] = torch.tensor([math.log(3), 0.0])  # query 1 says "referred" with 3/4
    value = reference_loss(
        scores, [one_pixel_target(0, [True, False])], matching(([1], [0])), no_object=0.0
    )
    assert value.item() == pytest.approx(-math.log(3 / 4) - math.log(1 / 4), rel=1e-5)


def test_another_instance_is_not_positive() -> None:
    scores = torch.zeros(1, 1, 2, 2)
    scores[0, 0, 0, 0] = (
        50.0  # surely "referred", but matched to instance 0 while 1 is the referred one
    )
    value = reference_loss(
        scores, [one_pixel_target(1, [True], n=2)], matching(([0, 1], [0, 1])), no_object=0.1
    )
    assert value.item() == pytest.approx(0.1 * 50 + math.log(2), rel=1e-5)


def test_focal_and_dice_by_hand() -> None:
    logits, mask = logit([[[0.8, 0.3]]]), torch.tensor([[[1.0, 0.0]]])
    focal = (0.25 * 0.2**2 * -math.log(0.8) + 0.75 * 0.3**2 * -math.log(0.7)) / 2
    assert focal_loss(logits, mask).item() == pytest.approx(focal, rel=1e-5)
    assert dice_loss(logits, mask).item() == pytest.approx(
        1 - (2 * 0.8 + 1) / (1.1 + 1 + 1), rel=1e-5
    )


def test_intersection_forms_by_hand() -> None:
    long, short = logit([[[0.9, 0.6, 0.4]]]), logit([[[0.8, 0.3, 0.9]]])
    hard = 1 - (0.9 * 0.8 + 1) / (0.9 + 0.6 + 1)
    soft = 1 - (0.9 * 0.8 + 0.6 * 0.3 + 0.4 * 0.9 + 1) / (0.9 + 0.6 + 0.4 + 1)
    assert intersection_loss(long, short, "hard").item() == pytest.approx(hard, rel=1e-5)
    assert intersection_loss(long, short, "soft").item() == pytest.approx(soft, rel=1e-5)


def test_only_the_soft_form_has_a_gradient_under_one_half() -> None:
    for form, expected in (("hard", [True, False]), ("soft", [True, True])):
        long = logit([[[0.9, 0.4]]]).requires_grad_()
        intersection_loss(long, logit([[[0.2, 0.3]]]), form).backward()
        assert (long.grad[0, 0] != 0).tolist() == expected


def test_an_empty_long_mask_costs_nothing_in_the_hard_form() -> None:
    assert coefficient(logit([[[0.2, 0.1]]]), logit([[[0.9, 0.9]]]), "hard").item() == 1


def test_covered_counts_what_lies_beyond_the_edge_as_empty() -> None:
    mask = torch.ones(1, 1, 3, 5, dtype=torch.bool)
    mask[..., 0, 0] = False
    assert covered(mask, 2).tolist() == [[[[0.75, 1, 0.5], [0.5, 0.5, 0.25]]]]
    assert covered(torch.zeros(0, 2, 3, 5), 2).shape == (0, 2, 2, 3)


def test_cell_loss_by_hand() -> None:
    """Cells of 2 px; the clip is 4 x 3 px, so its second column lies half in padding and its third
    is padding alone.
    """
    masks = torch.zeros(2, 1, 4, 3, dtype=torch.bool)
    masks[1, 0, :2, :2] = True  # the referred instance fills the first cell
    scores = torch.zeros(1, 1, 2, 3, 2)
    scores[0, 0, 0, 0] = torch.tensor([math.log(3), 0.0])  # "referred" with 3/4
    scores[0, 0, 1, 1] = torch.tensor([math.log(3), 0.0])
    scores[0, 0, :, 2] = torch.tensor([50.0, 0.0])
    weights = [1, 0.1, 0.2, 0.1]  # filled; empty and half outside; empty; empty and half outside
    entropies = [-math.log(3 / 4), math.log(2), math.log(2), -math.log(1 / 4)]
    expected = sum(w * e for w, e in zip(weights, entropies, strict=True)) / sum(weights)
    target = Targets(masks, 1, torch.tensor([True]))
    assert cell_reference_loss(scores.log_softmax(-1), [target], 2).item() == pytest.approx(
        expected, rel=1e-5
    )
    nothing = cell_reference_loss(
        torch.full((1, 1, 2, 3, 2), 0.5).log(), [dataclasses.replace(target, referred=-1)], 2
    )
    assert nothing.item() == pytest.approx(math.log(2), rel=1e-5)


@pytest.mark.parametrize("streams", ["both", "long"])
def test_the_encoder_reference_loss_teaches_its_streams_and_stops_before_the_queries(
    streams: str,
) -> None:
    model = opened(small_model()).train()
    output = run(model)
    lean = criterion(
        reference=0,
        focal=0,
        dice=0,
        intersection=0,
        consistency=0,
        auxiliary=False,
        encoder_reference=2,
        encoder_reference_streams=streams,
    )
    losses = lean(output, random_targets((2, 1)))
    assert (
        set(losses) == {"encoder_reference", "total"}
        and losses["total"] == 2 * losses["encoder_reference"]
    )
    losses["total"].backward()
    assert (
        model.base.encoder[0].linear1.weight.grad.abs().sum() > 0
        and model.base.queries.weight.grad is None
    )
    long, short = (
        cell_reference_loss(kept[0].log_softmax(-1), random_targets((2, 1)), 16).item()
        for kept in output.encoder
    )
    # Two clips with two frames each.
    expected = (long + short if streams == "both" else long) / 4
    assert losses["encoder_reference"].item() == pytest.approx(expected, rel=1e-5)


def test_masks_are_compared_at_the_stride_that_is_asked_for() -> None:
    """All terms of one layer against the same functions on targets and logits of that size."""
    output, targets = run(small_model()), random_targets((2, 1))
    losses = criterion(consistency=0, auxiliary=False, mask_stride=4)(output, targets)
    small = [dataclasses.replace(t, masks=covered(t.masks, 4)) for t in targets]
    video = dataclasses.replace(output.video, pad=output.video.pad[..., :10, :14])
    expected = criterion(consistency=0, auxiliary=False)(
        dataclasses.replace(output, video=video), small
    )
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-5), name
    full = criterion(consistency=0, auxiliary=False)(output, targets)
    assert losses["dice"].item() != pytest.approx(full["dice"].item(), rel=1e-3)


def test_cost_by_hand() -> None:
    """One pixel, two queries, two instances of which the second is referred, visible in the first
    of two frames.
    """
    scores = torch.zeros(1, 2, 2, 2)
    scores[0, :, 0] = torch.tensor([math.log(3), 0.0])
    masks = logit([0.8, 0.2]).view(1, 1, 2, 1, 1).expand(1, 2, 2, 1, 1)
    dice = [(2 * p + 1) / (p + 2) for p in (0.8, 0.2)]
    expected = torch.tensor(
        [
            [-2 * 1 / 4 - 5 * dice[0], -2 * (3 / 4 + 1 / 4) / 2 - 5 * dice[0]],
            [-2 * 1 / 2 - 5 * dice[1], -2 * 1 / 2 - 5 * dice[1]],
        ]
    )
    assert torch.allclose(
        mttr_cost(LayerPred(scores, masks), [one_pixel_target(1, [True, False], n=2)], (1, 1))[0],
        expected,
    )


def test_one_assignment_serves_both_streams() -> None:
    """The long stream alone would take query 0; together with the short one, query 1 is cheaper."""
    target = one_pixel_target(0, [True])
    masks = {"long": [0.9, 0.8], "short": [0.1, 0.9]}
    layers = {
        k: [LayerPred(torch.zeros(1, 1, 2, 2), logit(v).view(1, 1, 2, 1, 1))]
        for k, v in masks.items()
    }
    video = VideoFeats([], [], [], torch.zeros(1, 1, 1, 1, dtype=torch.bool))
    frames = torch.zeros(1, 1, dtype=torch.long)
    both = LoShOutput(layers["long"], layers["short"], video, frames, video, [(), ()])
    alone = dataclasses.replace(both, short=None)
    assert criterion().match(alone, [target])[0][0].tolist() == [0]
    assert criterion().match(both, [target])[0][0].tolist() == [1]


def test_assignment_of_nothing_and_of_nan() -> None:
    pairs = assign([torch.zeros(4, 0), torch.full((2, 3), float("nan"))])
    assert pairs[0][0].tolist() == [] and len(pairs[1][0]) == 2


@pytest.mark.parametrize("counts", [(0, 0), (2, 0)])
def test_empty_targets(counts: tuple[int, int]) -> None:
    model = small_model().train()
    losses = criterion(consistency=0)(run(model), random_targets(counts))
    assert all(torch.isfinite(value) for value in losses.values())
    if not any(counts):
        assert losses["focal"] == losses["dice"] == losses["intersection"] == 0
        assert losses["reference"] > 0
    losses["total"].backward()
    assert all(
        p.grad is not None for name, p in model.named_parameters() if "text_encoder" not in name
    )


def test_keys_and_total() -> None:
    output, flow = run(small_model()), random_flow(small_clips())
    losses = criterion()(output, random_targets((2, 1)), flow)
    names = ["reference", "focal", "dice", "intersection"]
    assert set(losses) == {*names, *(f"{name}_0" for name in names), "consistency", "total"}
    weights = {"reference": 2, "focal": 2, "dice": 5, "intersection": 0.8, "consistency": 0.5}
    total = sum(
        weights[name.removesuffix("_0")] * value.item()
        for name, value in losses.items()
        if name != "total"
    )
    assert losses["total"].item() == pytest.approx(total, rel=1e-5)


def test_a_loss_without_weight_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    import losh.model.criterion as module
    import losh.pipelines.mttr.losses as losses_module

    def never(*_: object) -> None:
        raise AssertionError("computed")

    for place, name in (
        (module, "intersection_loss"),
        (module, "consistency_loss"),
        (losses_module, "focal_loss"),
    ):
        monkeypatch.setattr(place, name, never)
    lean = criterion(intersection=0, consistency=0, focal=0, auxiliary=False)
    losses = lean(run(small_model()), random_targets((2, 1)), random_flow(small_clips()))
    assert set(losses) == {"reference", "dice", "total"}


def test_without_the_short_stream() -> None:
    output = run(small_model(short_stream=False))
    losses = criterion(consistency=0)(output, random_targets((2, 1)))
    assert "intersection" not in losses and torch.isfinite(losses["total"])


def part(output: LoShOutput, b: int) -> LoShOutput:
    """Clip b of a batch."""

    def layers(stream: list[LayerPred]) -> list[LayerPred]:
        return [LayerPred(x.scores[b : b + 1], x.masks[b : b + 1]) for x in stream]

    one = torch.tensor([b])
    kept = [tuple(x[b : b + 1] for x in stream) for stream in output.encoder]
    return LoShOutput(
        layers(output.long),
        layers(output.short),
        output.video.pick(one),
        output.annotated[b : b + 1],
        output.selected.pick(one),
        kept,
    )


@pytest.mark.parametrize("ours", [{}, {"encoder_reference": 3.0, "mask_stride": 4}])
def test_micro_batches_add_up_to_the_whole(ours: dict) -> None:
    """Clips with different numbers of instances and of flows: only global counts make the parts add
    up.
    """
    clips = small_clips(clips=3, annotated=(0, 2))
    output = small_model()(clips, *_texts())
    targets, flow = random_targets((3, 1, 0)), random_flow(clips)
    flow.valid[1] = False
    losses = criterion(**ours)(output, targets, flow)
    flows = [
        ClipFlow(*(getattr(flow, f.name)[b : b + 1] for f in dataclasses.fields(flow)))
        for b in range(3)
    ]
    counts = [criterion(**ours).count(targets[b : b + 1], flows[b]) for b in range(3)]
    whole = {name: sum(count[name] for count in counts) for name in counts[0]}
    assert whole == criterion(**ours).count(targets, flow)
    parts = [
        criterion(**ours)(part(output, b), targets[b : b + 1], flows[b], whole) for b in range(3)
    ]
    for name, value in losses.items():
        assert sum(p[name].item() for p in parts) == pytest.approx(
            value.item(), rel=1e-5, abs=1e-6
        ), name


def _texts() -> tuple:
    from losh.testing.small_models import words

    return words((5, 3, 4)), words((2, 3, 1), seed=1)


def test_loss_is_float32_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        output = run(small_model())
        losses = criterion()(output, random_targets((2, 1)), random_flow(small_clips()))
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert output.long[-1].masks.dtype == torch.float32
