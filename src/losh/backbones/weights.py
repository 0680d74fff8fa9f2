"""Pretrained weights for the backbones: torchvision's and the original Video-Swin's (Kinetics).

Nothing is skipped in silence: a checkpoint's key is used, or is of a part that is left out by name
(a stage that the pipeline does not use, final norm, classifier, and the position index, which
follows from the window), or is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, ResNet101_Weights
from torchvision.models.video import Swin3D_B_Weights, Swin3D_S_Weights, Swin3D_T_Weights

from losh.backbones.backbone import Backbone
from losh.backbones.resnet import ResNet
from losh.backbones.video_swin import PRESETS, SwinSizes, VideoSwin
from losh.errors import UserError
from losh.params import BackboneParams
from losh.runtime.home import at_home
from losh.runtime.torch_files import UNREADABLE, load_tensors, reason_of

Weights = Mapping[str, Tensor]

TORCHVISION = {
    "video_swin_t": Swin3D_T_Weights.KINETICS400_V1,
    "video_swin_s": Swin3D_S_Weights.KINETICS400_V1,
    "video_swin_b": Swin3D_B_Weights.KINETICS400_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
    "resnet101": ResNet101_Weights.IMAGENET1K_V1,
}

# Our name from torchvision's swin3d, whose `features` hold stages and mergings by turns, and whose
# MLP is a Sequential.
FROM_TORCHVISION = [
    (
        re.compile(r"^features\.(\d*[02468])\.(\d+)\.(.+)$"),
        lambda m: f"layers.{int(m[1]) // 2}.blocks.{m[2]}.{m[3]}",
    ),
    (
        re.compile(r"^features\.(\d*[13579])\.(.+)$"),
        lambda m: f"downsamples.{int(m[1]) // 2}.{m[2]}",
    ),
    (re.compile(r"\.mlp\.0\."), lambda m: ".mlp.fc1."),
    (re.compile(r"\.mlp\.3\."), lambda m: ".mlp.fc2."),
]
FROM_ORIGINAL = [(re.compile(r"^layers\.(\d+)\.downsample\."), lambda m: f"downsamples.{m[1]}.")]
CLASSIFIER = re.compile(r"^(norm|head|cls_head)\.")
RESNET_LEFT_OUT = re.compile(r"^fc\.|\.num_batches_tracked$")
RESNET_STAGE = re.compile(r"^layer\d+")
SHOWN = 12
"""Keys of each kind that an error lists."""


def torchvision_weights(name: str) -> Weights:
    """Return the published weights of a backbone, downloaded once by torchvision into its cache.

    Args:
        name: video_swin_t | video_swin_s | video_swin_b (Kinetics-400), resnet50 | resnet101
            (ImageNet).

    Raises:
        UserError: they cannot be downloaded.
    """
    entry = TORCHVISION[name]
    try:
        return entry.get_state_dict(progress=False, check_hash=True)
    except UNREADABLE as error:  # URLError is an OSError; a wrong hash is a RuntimeError
        raise UserError(
            f"The weights of {name} cannot be downloaded ({reason_of(error)})",
            f"Fetch {entry.url} elsewhere and set model.backbone.checkpoint to its path, or set "
            "it to null",
        ) from None


def read_weights(path: str | Path) -> Weights:
    """Read a .safetensors file or a PyTorch file (a state dict, or a dict with `state_dict`).

    Raises:
        UserError: the file is missing, is no such file, or holds anything but tensors.
    """
    path = at_home(Path(path))
    if not path.is_file():
        raise UserError(
            f"model.backbone.checkpoint: {path} is no file",
            'Give a file\'s path, "torchvision" or null',
        )
    try:
        weights = load_file(path) if path.suffix == ".safetensors" else load_tensors(path)
    except (*UNREADABLE, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be read as weights ({reason_of(error)})",
            "It must be a .safetensors file or a PyTorch state dict",
        ) from None
    if isinstance(weights, Mapping) and isinstance(weights.get("state_dict"), Mapping):
        weights = weights["state_dict"]
    if (
        not isinstance(weights, Mapping)
        or not weights
        or not all(isinstance(value, Tensor) for value in weights.values())
    ):
        raise UserError(
            f"{path} holds no state dict",
            "It must map names to tensors, or have such a dict under `state_dict`",
        )
    return weights


def load_video_swin(model: VideoSwin, weights: Weights | str | Path) -> None:
    """Load a torchvision swin3d or an original Video-Swin checkpoint, told apart by their keys.

    The patch embedding's kernel is summed over its temporal axis (MTTR): our patches are one frame
    long, and a kernel of two frames sees the same as the sum on a still picture. Our motion branch,
    which published weights do not have, then stays as it is: zero.

    Args:
        weights: a state dict, or the path of one.

    Raises:
        UserError: the keys are of neither layout, or some are missing, surplus or of another shape:
            all are named.
    """
    source = str(weights) if isinstance(weights, str | Path) else "The checkpoint"
    if isinstance(weights, str | Path):
        weights = read_weights(weights)
    weights = {key.removeprefix("backbone."): value for key, value in weights.items()}
    if any(key.startswith("features.") for key in weights):
        rules = FROM_TORCHVISION
    elif any(key.startswith("layers.") for key in weights):
        rules = FROM_ORIGINAL
    else:
        raise UserError(
            f"{source} is neither a torchvision swin3d nor an original Video-Swin checkpoint "
            f"(its first key: {next(iter(weights))})",
            "Their keys begin with `features.` or `backbone.layers.`",
        )
    stages = len(model.layers)
    renamed = {}
    for key, value in weights.items():
        name = rename(key, rules)
        if (
            CLASSIFIER.match(name)
            or name.endswith(".relative_position_index")
            or beyond(name, stages)
        ):
            continue
        if name == "patch_embed.proj.weight" and value.ndim == 5:
            value = value.sum(2, keepdim=True)  # [C, 3, t, 4, 4] -> [C, 3, 1, 4, 4]
        renamed[name] = value
    if model.motion is not None and not any(name.startswith("motion.") for name in renamed):
        renamed |= {f"motion.{name}": value for name, value in model.motion.state_dict().items()}
    load_strictly(model, renamed, source)


def load_resnet(model: ResNet, weights: Weights | str | Path) -> None:
    """Load a torchvision ResNet without the stages that the model lacks and its classifier.

    Raises:
        UserError: keys that are missing, surplus or of another shape: all are named.
    """
    source = str(weights) if isinstance(weights, str | Path) else "The checkpoint"
    if isinstance(weights, str | Path):
        weights = read_weights(weights)
    kept = {}
    for key, value in weights.items():
        stage = RESNET_STAGE.match(key)
        if not RESNET_LEFT_OUT.search(key) and (stage is None or stage[0] in model.stages):
            kept[key] = value
    load_strictly(model, kept, source)


def rename(key: str, rules: list) -> str:
    """Apply every rule in turn."""
    for pattern, name in rules:
        key = pattern.sub(name, key)
    return key


def beyond(name: str, stages: int) -> bool:
    """Whether a parameter is of a stage that ours leaves out, or of the merging before it."""
    place = re.match(r"(layers|downsamples)\.(\d+)\.", name)
    return place is not None and int(place[2]) >= stages - (place[1] == "downsamples")


def load_strictly(model: nn.Module, weights: Weights, source: str) -> None:
    """Copy weights into a model of exactly these keys and shapes.

    Raises:
        UserError: they do not fit; nothing has been copied.
    """
    own = model.state_dict()
    faults = {
        "missing": sorted(own.keys() - weights.keys()),
        "surplus": sorted(weights.keys() - own.keys()),
        "of another shape": [
            f"{key} {list(weights[key].shape)} for {list(own[key].shape)}"
            for key in own
            if key in weights and weights[key].shape != own[key].shape
        ],
    }
    found = [
        f"{len(keys)} {kind}: {', '.join(keys[:SHOWN])}{', ...' if len(keys) > SHOWN else ''}"
        for kind, keys in faults.items()
        if keys
    ]
    if found:
        raise UserError(
            f"{source} does not fit the backbone; {'; '.join(found)}",
            "Choose model.backbone.name and sizes that it was made for",
        )
    model.load_state_dict(weights)


EMBEDDED = Path(__file__).parent / "embedded" / "model.safetensors"
"""Our small Video-Swin for MovingShapes, made by scripts/train_backbone.py."""


def build_backbone(params: BackboneParams, stages: int = 3) -> Backbone:
    """Build the backbone that `params` names, with its weights.

    Args:
        stages: how many stages of a published backbone to keep; one of your own sizes has those
            that `params` lists.

    Returns:
        `VideoSwin` or `ResNet`.

    Raises:
        UserError: the checkpoint cannot be had, cannot be read or does not fit.
    """
    if params.checkpoint == "torchvision" and params.name == "video_swin":
        names = ", ".join(PRESETS)
        raise UserError(
            "torchvision has no weights for a video_swin of your own sizes",
            f"Set model.backbone.name to one of {names}",
        )
    weights: Weights | str | Path | None = params.checkpoint
    if weights == "torchvision":
        weights = torchvision_weights(params.name)
    elif weights == "embedded":
        weights = EMBEDDED
    if params.name in ("resnet50", "resnet101"):
        resnet = ResNet(params.name, stages)
        if weights is not None:
            load_resnet(resnet, weights)
        return resnet
    time, height, width = params.window_size
    sizes = (
        PRESETS[params.name].cut(stages)
        if params.name in PRESETS
        else SwinSizes(
            params.embed_dim,
            tuple(params.depths),
            tuple(params.num_heads),
            (time, height, width),
        )
    )
    swin = VideoSwin(
        sizes.embed_dim,
        sizes.depths,
        sizes.num_heads,
        sizes.window_size,
        params.drop_path,
        dropped_blocks=sizes.dropped_blocks,
        motion_channels=params.motion_channels,
    )
    if weights is not None:
        load_video_swin(swin, weights)
    return swin
