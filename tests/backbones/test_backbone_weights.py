"""Pretrained weights: torchvision's, the original Video-Swin's files, and what is refused."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models._api import WeightsEnum
from torchvision.models.video import swin3d_t
from torchvision.models.video.swin_transformer import SwinTransformer3d

from losh.backbones.resnet import ResNet
from losh.backbones.video_swin import VideoSwin
from losh.backbones.weights import build_backbone, load_resnet, load_video_swin, read_weights
from losh.errors import UserError
from losh.params import BackboneParams

WINDOW = (4, 3, 3)


def shake(model: nn.Module) -> nn.Module:
    """Random values everywhere, so that no two parameters can be taken for one another."""
    for parameter in model.parameters():
        parameter.data.add_(
            0.2 * torch.randn_like(parameter)
            if parameter.ndim == 1
            else 0.05 * torch.randn_like(parameter)
        )
    return model.eval()


@pytest.fixture(scope="module")
def theirs() -> SwinTransformer3d:
    """torchvision's swin3d in small, with random weights."""
    torch.manual_seed(0)
    return shake(
        SwinTransformer3d([2, 4, 4], 24, [2, 2, 3, 2], [1, 2, 4, 8], list(WINDOW), num_classes=5)
    )


def ours() -> VideoSwin:
    return VideoSwin(24, (2, 2, 3), (1, 2, 4), WINDOW).eval()


def original_layout(model: SwinTransformer3d) -> dict[str, Tensor]:
    """torchvision's weights under the names of the original repository's files."""
    renamed = {}
    for key, value in model.state_dict().items():
        part, *rest = key.split(".")
        if part == "features":
            stage, odd = divmod(int(rest[0]), 2)
            tail = ".".join(rest[1:]).replace("mlp.0", "mlp.fc1").replace("mlp.3", "mlp.fc2")
            block, _, name = tail.partition(".")
            key = (
                f"layers.{stage}.downsample.{tail}"
                if odd
                else f"layers.{stage}.blocks.{block}.{name}"
            )
        renamed[f"cls_head.fc_cls.{rest[0]}" if part == "head" else f"backbone.{key}"] = value
    return renamed


def stage_outputs(model: SwinTransformer3d, frames: Tensor, stages: int = 3) -> list[Tensor]:
    """Outputs of torchvision's first stages for clips of ours [B, T, 3, H, W].

    Its patches are two frames long: each frame is given twice, which is what our summed kernel sees
    in one.
    """
    kept: list[Tensor] = []
    hooks = [
        model.features[i].register_forward_hook(lambda _, __, out: kept.append(out))
        for i in range(0, 2 * stages, 2)
    ]
    with torch.no_grad():
        # [B, T, 3, H, W] -> [B, 3, 2 T, H, W]
        model(frames.repeat_interleave(2, 1).transpose(1, 2))
    for hook in hooks:
        hook.remove()
    return [x.permute(0, 1, 4, 2, 3) for x in kept]


# Frames, height, width: windows whole; time padded, sizes odd; time clamped; height clamped (stage
# 3: 2 rows in windows of 3); everything clamped. torchvision cuts the full window's position index
# to [:N, :N] as the original does: they agree in every case.
@pytest.mark.parametrize("size", [(8, 48, 48), (5, 50, 61), (3, 64, 80), (8, 32, 96), (1, 24, 24)])
def test_torchvision_weights_give_torchvisions_features(
    theirs: SwinTransformer3d, size: tuple[int, int, int]
) -> None:
    model, frames = (
        ours(),
        torch.randn(2, size[0], 3, *size[1:], generator=torch.Generator().manual_seed(1)),
    )
    load_video_swin(model, theirs.state_dict())
    with torch.no_grad():
        for level, expected in zip(model(frames), stage_outputs(theirs, frames), strict=True):
            assert torch.allclose(level, expected, atol=2e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("stages", [3, 4])
def test_full_size_torchvision_weights_fit(stages: int) -> None:
    torch.manual_seed(0)
    model, theirs = (
        build_backbone(BackboneParams(name="video_swin_t", checkpoint=None), stages).eval(),
        shake(swin3d_t()),
    )
    load_video_swin(model, theirs.state_dict())
    frames = torch.randn(1, 2, 3, 64, 64)
    with torch.no_grad():
        for level, expected in zip(
            model(frames), stage_outputs(theirs, frames, stages), strict=True
        ):
            assert torch.allclose(level, expected, atol=2e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("prefix", ["backbone.", ""])
@pytest.mark.parametrize("form", ["wrapped", "bare", "safetensors"])
def test_original_files_give_the_same_network(
    theirs: SwinTransformer3d, tmp_path: Path, form: str, prefix: str
) -> None:
    weights = {
        key.replace("backbone.", prefix): value.contiguous()
        for key, value in original_layout(theirs).items()
    }
    path = tmp_path / ("swin.safetensors" if form == "safetensors" else "swin.pth")
    if form == "safetensors":
        save_file(weights, path)
    else:
        torch.save(
            {"meta": {"epoch": 30}, "state_dict": weights} if form == "wrapped" else weights, path
        )
    by_file, by_torchvision = ours(), ours()
    load_video_swin(by_file, path)
    load_video_swin(by_torchvision, theirs.state_dict())
    for (name, one), other in zip(
        by_file.state_dict().items(), by_torchvision.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name


def test_patch_kernel_is_summed_over_time(theirs: SwinTransformer3d) -> None:
    model, kernel = ours(), theirs.patch_embed.proj.weight
    load_video_swin(model, theirs.state_dict())
    assert torch.equal(model.patch_embed.proj.weight[:, :, 0], kernel[:, :, 0] + kernel[:, :, 1])


def changed(weights: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    weights = dict(weights)
    if how == "missing":
        del weights["backbone.layers.1.blocks.0.attn.qkv.bias"]
    elif how == "surplus":
        weights["backbone.layers.0.blocks.9.norm1.weight"] = torch.ones(24)
    else:
        weights["backbone.layers.0.blocks.0.mlp.fc1.bias"] = torch.ones(7)
    return weights


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ("missing", r"1 missing: layers\.1\.blocks\.0\.attn\.qkv\.bias"),
        ("surplus", r"1 surplus: layers\.0\.blocks\.9\.norm1\.weight"),
        ("shape", r"fc1\.bias \[7\] for \[96\]"),
    ],
)
def test_weights_that_do_not_fit_are_named(theirs: SwinTransformer3d, how: str, named: str) -> None:
    model = ours()
    before = model.patch_embed.proj.weight.clone()
    with pytest.raises(UserError, match=named):
        load_video_swin(model, changed(original_layout(theirs), how))
    assert torch.equal(model.patch_embed.proj.weight, before)


def test_another_window_does_not_fit(theirs: SwinTransformer3d) -> None:
    with pytest.raises(UserError, match="relative_position_bias_table"):
        load_video_swin(VideoSwin(24, (2, 2, 3), (1, 2, 4), (2, 3, 3)), theirs.state_dict())


def test_other_layouts_are_refused() -> None:
    with pytest.raises(UserError, match=r"neither .*conv1\.weight"):
        load_video_swin(ours(), {"conv1.weight": torch.ones(1)})


class Evil:
    """A pickle that would run code."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("content", ["code", "text", "empty", "list", "no tensors"])
def test_files_that_are_no_weights_are_refused(
    tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    if content in ("list", "no tensors"):
        torch.save([1] if content == "list" else {"a": 1}, path)
    else:
        path.write_bytes(
            {"code": pickle.dumps(Evil(), protocol=2), "text": b"weights\n", "empty": b""}[content]
        )
    with pytest.raises(UserError, match=r"weights\.pth"):
        read_weights(path)
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nothing.pth", "is no file"),
        ("broken.safetensors", "cannot be read"),
        ("folder", "is no file"),
    ],
)
def test_unreadable_paths_are_named(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken.safetensors").write_bytes(b"12345678rest")
    with pytest.raises(UserError, match=rf"{name} {why}"):
        build_backbone(BackboneParams(name="video_swin_t", checkpoint=str(tmp_path / name)))


def resnet_levels(model: nn.Module, frames: Tensor, stages: int) -> Iterator[Tensor]:
    x = model.maxpool(model.relu(model.bn1(model.conv1(frames))))
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4)[:stages]:
        x = layer(x)
        yield x


@pytest.mark.parametrize("stages", [3, 4])
def test_resnet_weights_give_torchvisions_features(stages: int) -> None:
    """Frozen norms are torchvision's batch norms in eval mode, running statistics included."""
    torch.manual_seed(0)
    theirs, model = resnet50(), ResNet("resnet50", stages).train()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.2, 0.6)
            module.bias.data.normal_(0, 0.2)
    load_resnet(model, theirs.state_dict())
    frames = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        for level, expected in zip(
            model(frames[None]), resnet_levels(theirs.eval(), frames, stages), strict=True
        ):
            assert torch.allclose(level[0], expected, atol=1e-5 * float(expected.abs().max()))
    with pytest.raises(UserError, match=r"surplus: layer3\.6"):
        load_resnet(model, {**theirs.state_dict(), "layer3.6.conv1.weight": torch.ones(1)})


def test_checkpoint_torchvision_asks_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    theirs, asked = swin3d_t(), []
    monkeypatch.setattr(
        WeightsEnum,
        "get_state_dict",
        lambda self, **_: asked.append(self.name) or theirs.state_dict(),
    )
    model = build_backbone(BackboneParams(name="video_swin_t", checkpoint="torchvision"))
    assert asked == ["KINETICS400_V1"]
    assert torch.equal(
        model.layers[2].blocks[5].mlp.fc2.weight, theirs.features[4][5].mlp[3].weight
    )


def test_no_network_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", fail)
    with pytest.raises(
        UserError,
        match=r"resnet50 cannot be downloaded.*no route.*https://.*checkpoint to its path",
    ):
        build_backbone(BackboneParams(name="resnet50", checkpoint="torchvision"))
    with pytest.raises(UserError, match="video_swin_t"):
        build_backbone(BackboneParams(name="video_swin", checkpoint="torchvision"))
