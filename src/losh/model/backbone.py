"""From the parameters to a visual backbone."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from losh.errors import UserError
from losh.model.backbone_weights import load_resnet, load_video_swin, torchvision_weights
from losh.model.resnet import ResNet
from losh.model.video_swin import PRESETS, SwinSizes, VideoSwin
from losh.params import BackboneParams

EMBEDDED = Path(__file__).parent / "weights" / "backbone" / "model.safetensors"
"""Our small Video-Swin for MovingShapes, made by scripts/train_backbone.py."""


def build_backbone(params: BackboneParams) -> nn.Module:
    """Build the backbone that `params` names, with its weights.

    Returns:
        `VideoSwin` or `ResNet`: frames [B, T, 3, H, W] -> levels [B, T, C_i, H_i, W_i], with the attributes `channels`, `strides` and
        `checkpoint_blocks`.

    Raises:
        UserError: the checkpoint cannot be had, cannot be read or does not fit.
    """
    if params.checkpoint == "torchvision" and params.name == "video_swin":
        names = ", ".join(PRESETS)
        raise UserError("torchvision has no weights for a video_swin of your own sizes", f"Set model.backbone.name to one of {names}")
    weights = torchvision_weights(params.name) if params.checkpoint == "torchvision" else params.checkpoint
    if weights == "embedded":
        weights = EMBEDDED
    if params.name in ("resnet50", "resnet101"):
        resnet = ResNet(params.name)
        if weights is not None:
            load_resnet(resnet, weights)
        return resnet
    sizes = PRESETS.get(params.name) or SwinSizes(
        params.embed_dim, tuple(params.depths), tuple(params.num_heads), tuple(params.window_size), dropped_blocks=0
    )
    swin = VideoSwin(sizes.embed_dim, sizes.depths, sizes.num_heads, sizes.window_size, params.drop_path, dropped_blocks=sizes.dropped_blocks)
    if weights is not None:
        load_video_swin(swin, weights)
    return swin
