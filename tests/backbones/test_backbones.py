"""Every backbone by its name in params.yaml: one interface, one full-size step."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import FrozenBatchNorm2d

from losh.backbones.resnet import ResNet
from losh.backbones.video_swin import VideoSwin
from losh.backbones.weights import build_backbone
from losh.params import BackboneParams

SIZES = {  # name, stages: channels, millions of parameters
    ("video_swin_t", 3): ([96, 192, 384], 12.4),
    ("video_swin_s", 3): ([96, 192, 384], 34.0),
    ("video_swin_b", 3): ([128, 256, 512], 60.2),
    ("resnet50", 3): ([256, 512, 1024], 8.5),
    ("resnet101", 3): ([256, 512, 1024], 27.5),
    ("video_swin_t", 4): ([96, 192, 384, 768], 27.8),
    ("resnet50", 4): ([256, 512, 1024, 2048], 23.5),
}


@pytest.mark.parametrize(("name", "stages"), SIZES)
def test_full_size_step(name: str, stages: int) -> None:
    """Forward and backward with every parameter reached, at a small input."""
    torch.manual_seed(0)
    params = BackboneParams(name=name, checkpoint=None, drop_path=0.0)
    model = build_backbone(params, stages).train()
    channels, millions = SIZES[name, stages]
    assert model.channels == channels
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)
    levels = model(torch.randn(1, 2, 3, 32, 48))
    assert [level.shape[2:] for level in levels] == [
        (c, -(-32 // s), -(-48 // s)) for c, s in zip(channels, model.strides, strict=True)
    ]
    # Frozen norms on random weights could let it explode.
    assert all(0.01 < level.std() < 100 for level in levels)
    sum(level.square().mean() for level in levels).backward()
    for parameter_name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.any(), parameter_name


@pytest.mark.parametrize(("stages", "blocks"), [(3, 10), (4, 12)])
def test_stochastic_depth_is_spread_over_the_published_blocks(stages: int, blocks: int) -> None:
    """Block i of the 12 of Video-Swin-T drops with 0.2 * i / 11, however many stages are used."""
    params = BackboneParams(name="video_swin_t", checkpoint=None, drop_path=0.2)
    model = build_backbone(params, stages)
    drops = [block.drop_path for layer in model.layers for block in layer.blocks]
    assert drops == pytest.approx([0.2 * i / 11 for i in range(blocks)])


def test_own_sizes_reach_the_network() -> None:
    params = BackboneParams(
        name="video_swin",
        checkpoint=None,
        embed_dim=8,
        depths=[1, 2],
        num_heads=[2, 4],
        window_size=[2, 3, 4],
        drop_path=0.2,
    )
    model = build_backbone(params)
    assert isinstance(model, VideoSwin)
    assert [len(layer.blocks) for layer in model.layers] == [1, 2]
    last = model.layers[1].blocks[1]
    assert (last.attn.num_heads, last.attn.window, last.attn.shift, last.drop_path) == (
        4,
        (2, 3, 4),
        (1, 1, 2),
        0.2,
    )


def test_a_preset_does_not_take_the_sizes_of_an_own_one() -> None:
    model = build_backbone(
        BackboneParams(
            name="video_swin_t",
            checkpoint=None,
            embed_dim=8,
            depths=[1],
            num_heads=[1],
            window_size=[2, 3, 4],
        )
    )
    assert model.channels == [96, 192, 384] and model.layers[0].blocks[0].attn.window == (8, 7, 7)


def test_resnet_norms_are_frozen_and_frames_are_independent() -> None:
    torch.manual_seed(0)
    model = ResNet("resnet50").train()
    assert any(isinstance(module, FrozenBatchNorm2d) for module in model.modules())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    assert not any("bn" in name for name, _ in model.named_parameters())
    frames = torch.randn(2, 2, 3, 33, 40)
    with torch.no_grad():
        together, alone = model(frames), model(frames[1:, 1:])
    for a, b, stride in zip(together, alone, model.strides, strict=True):
        assert a.shape[-2:] == (-(-33 // stride), -(-40 // stride))
        assert torch.allclose(a[1:, 1:], b, atol=1e-5)


def test_resnet_checkpointed_blocks_give_the_same_gradients() -> None:
    torch.manual_seed(0)
    model, frames = ResNet("resnet50").train(), torch.randn(1, 1, 3, 32, 32)
    gradients = []
    for model.checkpoint_blocks in (False, True):
        model.zero_grad()
        model(frames)[-1].square().sum().backward()
        gradients.append(model.conv1.weight.grad.clone())
    assert torch.allclose(*gradients)
