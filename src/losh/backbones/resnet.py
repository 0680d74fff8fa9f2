"""ResNet-50 and ResNet-101 from torchvision as per-frame backbones, batch norm frozen (DETR)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models import resnet50, resnet101
from torchvision.ops import FrozenBatchNorm2d

from losh.backbones.attention_windows import Frames
from losh.backbones.backbone import Backbone, everything, spread, taken

BUILDERS = {"resnet50": resnet50, "resnet101": resnet101}


class ResNet(Backbone):
    """The first stages of a ResNet, run on every frame by itself. Same interface as `VideoSwin`.

    Attributes:
        channels: channels of each level: 256, 512, 1024, 2048.
        strides: pixels a cell of each level covers: 4, 8, 16, 32.
        checkpoint_blocks: recompute each block in the backward pass instead of keeping what is
            inside it.
    """

    def __init__(self, name: str, stages: int = 3) -> None:
        """Random weights; `name` is resnet50 or resnet101, `stages` 1 to 4."""
        super().__init__()
        net = BUILDERS[name](weights=None, norm_layer=FrozenBatchNorm2d)
        self.stages = [f"layer{i + 1}" for i in range(stages)]
        blocks = [block for stage in self.stages for block in getattr(net, stage)]
        for block in blocks:
            # Frozen norms do not tame random weights: the residual sum would double a block, to
            # thousands in ResNet-101 (ours).
            block.bn3.weight.fill_(len(blocks) ** -0.5)
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        for stage in self.stages:
            setattr(self, stage, getattr(net, stage))
        self.channels = [256, 512, 1024, 2048][:stages]
        self.strides = [4, 8, 16, 32][:stages]
        self.checkpoint_blocks = False

    def forward(self, frames: Tensor, read: Frames | None = None) -> list[Tensor]:
        """Features of the frames that are read; no other one is looked at.

        Args:
            frames: float [B, T, 3, H, W], normalised; any size.
            read: see Backbone.

        Returns:
            A level a stage: [B, T, C_i, ceil(H / s_i), ceil(W / s_i)]. NaN where a frame is not
            read.
        """
        there = everything(frames) if read is None else read
        # [B, T, 3, H, W] -> [F, 3, H, W]
        x = taken(frames, everything(frames), there).flatten(0, 1)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        levels = []
        for stage in self.stages:
            for block in getattr(self, stage):
                x = (
                    checkpoint(block, x, use_reentrant=False)
                    if self.checkpoint_blocks and self.training
                    else block(x)
                )
            levels.append(spread(x[None], there, frames))
        return levels

    def stage_modules(self) -> list[list[nn.Module]]:
        """See Backbone."""
        stages = [[getattr(self, stage)] for stage in self.stages]
        stages[0] = [self.conv1, self.bn1, *stages[0]]
        return stages
