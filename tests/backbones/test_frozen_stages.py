"""train.backbone_frozen_stages: the first stages get no gradient, the others and the heads do."""

from __future__ import annotations

import pytest
import torch

from losh.backbones.backbone import Backbone
from losh.backbones.resnet import ResNet
from losh.backbones.video_swin import VideoSwin
from losh.errors import UserError

SWIN = (8, (1, 1, 1), (1, 2, 2), (2, 3, 3))


@pytest.fixture(params=["video_swin", "resnet50"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    return (
        VideoSwin(*SWIN, motion_channels=4) if request.param == "video_swin" else ResNet("resnet50")
    )


def with_gradient(backbone: Backbone) -> set[str]:
    for level in backbone(torch.randn(1, 2, 3, 32, 32)):
        if level.requires_grad:
            level.square().mean().backward(retain_graph=True)
    return {name for name, p in backbone.named_parameters() if p.grad is not None}


def test_all_parameters_belong_to_one_stage(backbone: Backbone) -> None:
    """None is left out, or it would be trained before stages that are not."""
    stages = [{id(p) for m in stage for p in m.parameters()} for stage in backbone.stage_modules()]
    assert len(stages) == len(backbone.channels)
    everything = [id(p) for p in backbone.parameters()]
    assert sorted(p for stage in stages for p in stage) == sorted(everything)


def test_no_gradient_is_computed_in_frozen_stages(backbone: Backbone) -> None:
    trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
    frozen = {id(p) for module in backbone.stage_modules()[0] for p in module.parameters()}
    first = {name for name, p in backbone.named_parameters() if id(p) in frozen} & trained
    backbone.freeze_stages(1)
    levels = backbone(torch.randn(1, 2, 3, 32, 32))
    assert [level.requires_grad for level in levels] == [False, True, True]
    assert first and with_gradient(backbone) == trained - first


def test_none_and_all(backbone: Backbone) -> None:
    before = {name for name, p in backbone.named_parameters() if p.requires_grad}
    backbone.freeze_stages(0)
    assert {name for name, p in backbone.named_parameters() if p.requires_grad} == before
    backbone.freeze_stages(3)
    assert not with_gradient(backbone)


def test_more_stages_than_there_are_is_refused(backbone: Backbone) -> None:
    with pytest.raises(UserError, match=r"backbone_frozen_stages is 4.*has 3") as raised:
        backbone.freeze_stages(4)
    assert "0 to 3" in str(raised.value)
