"""From logits to masks of the original size."""

from __future__ import annotations

import pytest
import torch

from losh.inference.streams import best_query, joined, masks_and_scores, to_original
from losh.model.structures import LayerPred, LoShOutput, VideoFeats
from losh.testing.small_models import run, small_model


def output(short: bool = True) -> LoShOutput:
    """One clip, one frame, two queries, one pixel each."""

    def layer(scores: list[float], masks: list[float]) -> LayerPred:
        two = torch.stack(
            [torch.logit(torch.tensor(scores)), torch.zeros(2)], -1
        )  # softmax of (logit p, 0) is (p, 1 - p)
        return LayerPred(two.view(1, 1, 2, 2), torch.logit(torch.tensor(masks)).view(1, 1, 2, 1, 1))

    streams = [layer([0.6, 0.7], [0.8, 0.6])], [layer([0.9, 0.5], [0.4, 0.9])]
    return LoShOutput(
        streams[0],
        streams[1] if short else None,
        VideoFeats([], [], [], (1, 1)),
        torch.zeros(1, 1, dtype=torch.long),
    )


@pytest.mark.parametrize(
    ("rule", "scores", "masks"),
    [
        ("long", [0.6, 0.7], [0.8, 0.6]),
        ("product", [0.54, 0.35], [0.32, 0.54]),
        ("intersection", [0.6, 0.5], [0.4, 0.6]),
        ("mean", [0.75, 0.6], [0.6, 0.75]),
    ],
)
def test_rules(rule: str, scores: list[float], masks: list[float]) -> None:
    s, m = masks_and_scores(output(), rule)
    assert torch.allclose(s, torch.tensor([[scores]]))
    assert torch.allclose(m.flatten(), torch.tensor(masks))
    best = int(torch.tensor(scores).argmax())
    s, m = masks_and_scores(output(), rule, best_only=True)
    assert best_query(s).tolist() == [best]
    assert m.shape == (1, 1, 1, 1, 1) and m.item() == pytest.approx(masks[best])


def test_without_a_short_stream_every_rule_is_long() -> None:
    assert torch.equal(
        masks_and_scores(output(short=False), "product")[1], masks_and_scores(output(), "long")[1]
    )


def test_joint_rules_never_leave_the_unit_interval() -> None:
    ends = torch.tensor([0.0, 1.0, 0.3])
    for rule in ("product", "intersection", "mean"):
        assert (
            (joined([ends, ends.flip(0)], rule) >= 0) & (joined([ends, ends.flip(0)], rule) <= 1)
        ).all()


def test_shapes_of_a_real_output() -> None:
    with torch.no_grad():
        real = run(small_model())
    for stream in (real.long, real.short):
        for b, query in enumerate((4, 1)):
            stream[-1].scores[b, :, query, 0] += 20
    scores, masks = masks_and_scores(real, "mean")
    assert scores.shape == (2, 2, 6) and masks.shape == (2, 2, 6, 40, 56)
    assert best_query(scores).tolist() == [4, 1]
    _, best = masks_and_scores(real, "mean", best_only=True)
    assert torch.equal(best[0, :, 0], masks[0, :, 4]) and torch.equal(best[1, :, 0], masks[1, :, 1])


def test_refine_picks_the_querys_masks() -> None:
    model = small_model()
    pred = run(model).long[-1]
    picked = model.base.refine(pred, torch.tensor([4, 1]))
    assert torch.equal(picked[0], pred.masks[0, :, 4]) and torch.equal(
        picked[1], pred.masks[1, :, 1]
    )


def test_way_back_to_the_original_frame() -> None:
    """Threshold, crop of the padding, then nearest neighbour: each pixel becomes a 2 x 2 block."""
    probability = torch.tensor([[0.9, 0.5, 0.9], [0.1, 0.6, 0.9]])
    mask = to_original(probability, 0.5, (2, 2), (4, 4))
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert mask.int().tolist() == expected
    assert to_original(probability.expand(3, 2, 2, 3), 0.5, (2, 2), (5, 7)).shape == (3, 2, 5, 7)
