"""From logits to masks of the original size."""

from __future__ import annotations

import pytest
import torch

from losh.inference.streams import joined, joint_probabilities, predictions
from losh.model.structures import FrameSizes, LayerPred, LoShOutput, VideoFeats
from losh.pipelines.mttr.masks import MTTRMaskRule
from losh.testing.small_models import run, small_model


def output(short: bool = True) -> LoShOutput:
    """One clip, one frame, two queries, one pixel each."""

    def layer(scores: list[float], masks: list[float]) -> LayerPred:
        # Softmax of (logit p, 0) is (p, 1 - p)
        two = torch.stack([torch.logit(torch.tensor(scores)), torch.zeros(2)], -1)
        return LayerPred(two.view(1, 1, 2, 2), torch.logit(torch.tensor(masks)).view(1, 1, 2, 1, 1))

    streams = [layer([0.6, 0.7], [0.8, 0.6])], [layer([0.9, 0.5], [0.4, 0.9])]
    video = VideoFeats([], [], [], torch.zeros(1, 1, 1, 1, dtype=torch.bool))
    frames = torch.zeros(1, 1, dtype=torch.long)
    return LoShOutput(streams[0], streams[1] if short else None, video, frames, video, [])


BASE = small_model().base
PIXEL = FrameSizes((1, 1), (1, 1), (1, 1))


def probabilities(logits: list[torch.Tensor], rule: str, sizes: FrameSizes = PIXEL) -> torch.Tensor:
    """Of the first frame, [N, H, W]."""
    return joint_probabilities([x[0] for x in logits], rule, MTTRMaskRule(), sizes)


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
    (found,) = predictions(BASE, output(), rule)
    assert torch.allclose(found.scores, torch.tensor([scores]))
    assert torch.allclose(probabilities(found.logits, rule).flatten(), torch.tensor(masks))
    best = int(torch.tensor(scores).argmax())
    (one,) = predictions(BASE, output(), rule, best_only=True)
    assert one.best == best and one.logits[0].shape == (1, 1, 1, 1)
    assert probabilities(one.logits, rule).item() == pytest.approx(masks[best])


def test_without_a_short_stream_every_rule_is_long() -> None:
    (alone,) = predictions(BASE, output(short=False), "product")
    (long,) = predictions(BASE, output(), "long")
    assert len(alone.logits) == 1 and torch.equal(alone.logits[0], long.logits[0])


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
    every = predictions(BASE, real, "mean")
    best = predictions(BASE, real, "mean", best_only=True)
    assert [one.scores.shape for one in every] == [(2, 6), (2, 6)]
    assert [one.best for one in every] == [4, 1]
    for one, alone, query in zip(every, best, (4, 1), strict=True):
        assert one.logits[1].shape == (2, 6, 10, 14)
        assert torch.equal(alone.logits[1][:, 0], one.logits[1][:, query])


def test_refine_picks_the_querys_masks() -> None:
    pred = run(small_model()).long[-1]
    picked = BASE.refine(pred, torch.tensor([0, 1, 1]), torch.tensor([4, 1, 2]), None)
    for one, (row, query) in zip(picked, ((0, 4), (1, 1), (1, 2)), strict=True):
        assert torch.equal(one, pred.masks[row, :, query])


def test_way_back_to_the_original_frame() -> None:
    """Threshold, crop of the padding, then nearest neighbour: each pixel becomes a 2 x 2 block."""
    probability = torch.tensor([[0.9, 0.5, 0.9], [0.1, 0.6, 0.9]])
    sizes = FrameSizes((2, 3), (2, 2), (4, 4))
    mask = MTTRMaskRule().masks(probability[None], sizes, 0.5)[0]
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert mask.int().tolist() == expected
    other = FrameSizes((2, 3), (2, 2), (5, 7))
    assert MTTRMaskRule().masks(probability.expand(3, 2, 3), other, 0.5).shape == (3, 5, 7)
    assert MTTRMaskRule().at_original(probability.expand(3, 2, 3), other).shape == (3, 5, 7)
