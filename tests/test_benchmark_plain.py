"""The plain form of our models, which they are timed against, gives the same numbers."""

from __future__ import annotations

import copy
import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from losh.layers.linear import ONEDNN, Linear
from losh.model.criterion import Criterion
from losh.model.losh import LoSh
from losh.model.structures import LoShOutput
from losh.testing.small_models import (
    BACKBONE,
    PIPELINES,
    consistency_params,
    loss_params,
    opened,
    random_flow,
    random_targets,
    small_clips,
    small_model,
    words,
)

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
SIZE = (64, 96)


pytestmark = pytest.mark.usefixtures("scripts")


@pytest.fixture(scope="module")
def plainly(scripts: None) -> ModuleType:
    return importlib.import_module("benchmark_plain")


def model(base: str) -> LoSh:
    """With open cross-attention and a motion branch that adds something."""
    made = opened(small_model(base=base, backbone={**BACKBONE, "motion_channels": 4}))
    torch.nn.init.normal_(made.base.backbone.motion.out.weight, std=0.1)
    return made


def same(ours: torch.Tensor, other: torch.Tensor) -> bool:
    """To 1e-4 of the largest number; a bias before a norm has a gradient that is but rounding."""
    return bool((ours - other).abs().max() <= 1e-4 * ours.abs().max() + 1e-6)


def assert_same_prediction(ours: LoShOutput, other: LoShOutput) -> None:
    """Of the last decoder layer, in each stream that ours has."""
    for one, two in ((ours.long, other.long), (ours.short, other.short)):
        if one is not None:
            assert same(one[-1].masks, two[-1].masks) and same(one[-1].scores, two[-1].scores)


@pytest.mark.parametrize("base", PIPELINES)
def test_output_loss_and_gradients_are_those_of_our_form(plainly: ModuleType, base: str) -> None:
    """Two windows of two and one expressions, the second one padded; nothing is dropped out."""
    # Three frames in windows of two: padded along every axis.
    clips = replace(small_clips(size=SIZE, frames=3), rows=torch.tensor([0, 0, 1]))
    texts = words((5, 3, 4)), words((2, 3, 1), seed=1)
    targets, flow = random_targets((2, 1, 3), size=SIZE), random_flow(clips)
    ours = model(base).train()
    other = copy.deepcopy(ours)
    # Their names, before the plain layers take them over.
    weights = [dict(one.named_parameters()) for one in (ours, other)]
    results = []
    for form, base_of in ((ours, ours.base), (plainly.plain(other), other.base)):
        output = form(clips, *texts)
        found = Criterion(base_of, loss_params(), consistency_params())(output, targets, flow)
        found["total"].backward()
        results.append((output, found))
    (output, found), (output_2, found_2) = results
    for i in range(2):
        assert_same_prediction(
            replace(output, long=output.long[i:], short=output.short[i:]),
            replace(output_2, long=output_2.long[i:], short=output_2.short[i:]),
        )
    assert found.keys() == found_2.keys()
    assert all(same(found[name], found_2[name]) for name in found)
    trained = {name: p.grad for name, p in weights[0].items() if p.grad is not None}
    assert len(trained) > 100
    assert trained.keys() == {name for name, p in weights[1].items() if p.grad is not None}
    assert not [name for name, grad in trained.items() if not same(grad, weights[1][name].grad)]


@pytest.mark.parametrize("base", PIPELINES)
def test_the_adapter_is_the_benchmarks_case_with_losh_and_computes_more(
    worker: ModuleType, plainly: ModuleType, base: str
) -> None:
    case = worker.Case(base, size="tiny")
    train, predict, _ = worker.build(case, CPU)
    plain_train, plain_predict = plainly.build(case.shape, base)
    for _ in range(2):  # the second loss is that of weights after a step
        assert plain_train().item() == pytest.approx(train().item(), rel=1e-5)
    ours, other = predict(), plain_predict()
    assert_same_prediction(ours, other)
    assert (len(ours.long), ours.short) == (1, None)
    assert len(other.long) == len(other.short) == 2  # all decoder layers, both streams
    assert worker.count_flops(plain_train) > 1.3 * worker.count_flops(train)


@pytest.mark.parametrize("base", PIPELINES)
def test_only_our_form_has_products_by_onednns_operator(plainly: ModuleType, base: str) -> None:
    ours, onednn, pytorchs = model(base).eval(), "mkldnn::_linear_pointwise", "aten::addmm"
    other = plainly.plain(copy.deepcopy(ours))
    for form, wanted in ((ours, onednn if ONEDNN else pytorchs), (other, pytorchs)):
        with torch.no_grad(), profile(activities=[ProfilerActivity.CPU]) as seen:
            form(small_clips(size=SIZE), words((5, 3)), words((2, 3)))
        names = {event.key for event in seen.key_averages()}
        assert wanted in names
        assert form is ours or onednn not in names


def test_the_plain_form_encodes_every_expressions_clip(plainly: ModuleType) -> None:
    seen: list[Any] = []
    form = plainly.plain(model("mttr"))
    assert not any(isinstance(module, Linear) for module in form.modules())
    form.model.base.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    clips = replace(small_clips(size=SIZE), rows=torch.tensor([1, 0, 1]))
    form(clips, words((5, 3, 4)), words((2, 3, 1)))
    (frames,) = seen
    assert torch.equal(frames, clips.frames[[1, 0, 1]])


def test_a_shape_of_no_case_is_none(plainly: ModuleType) -> None:
    assert plainly.build((1, 2, 3, 4, 5), "mttr") is None


def test_what_a_form_computes_is_counted_with_and_without_gradients(plainly: ModuleType):
    layer, x = Linear(4, 5), torch.randn(3, 4)
    with torch.no_grad():
        assert plainly.count(lambda: layer(x)) == pytest.approx(2 * 3 * 4 * 5 / 1e9)
    assert plainly.count(lambda: layer(x)) == pytest.approx(2 * 3 * 4 * 5 / 1e9)
