"""ResNet-50 and ResNet-101 from torchvision as per-frame backbones, batch norm frozen (DETR)."""

from __future__ import annotations

from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torchvision.models import resnet50, resnet101
from torchvision.ops import FrozenBatchNorm2d

from losh.backbones.backbone import Backbone

BUILDERS = {"resnet50": resnet50, "resnet101": resnet101}


class ResNet(Backbone):
    """The first three stages of a ResNet, run on every frame by itself.

    It has the interface of `VideoSwin`.

    Attributes:
        channels: channels of each level: 256, 512, 1024.
        strides: pixels a cell of each level covers: 4, 8, 16.
        checkpoint_blocks: recompute each block in the backward pass instead of keeping what is
            inside it.
    """

    def __init__(self, name: str) -> None:
        """Random weights; `name` is resnet50 or resnet101."""
        super().__init__()
        net = BUILDERS[name](weights=None, norm_layer=FrozenBatchNorm2d)
        blocks = [*net.layer1, *net.layer2, *net.layer3]
        for block in blocks:
            # Frozen norms do not tame random weights: the residual sum would double a block, to
            # thousands in ResNet-101 (ours).
            block.bn3.weight.fill_(len(blocks) ** -0.5)
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3 = net.layer1, net.layer2, net.layer3
        self.channels = [256, 512, 1024]
        self.strides = [4, 8, 16]
        self.checkpoint_blocks = False

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Features of every frame.

        Args:
            frames: float [B, T, 3, H, W], normalised; any size.

        Returns:
            Three levels, [B, T, C_i, ceil(H / s_i), ceil(W / s_i)].
        """
        B, T = frames.shape[:2]
        x = frames.flatten(0, 1)  # [B, T, 3, H, W] -> [B * T, 3, H, W]
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        levels = []
        for layer in (self.layer1, self.layer2, self.layer3):
            for block in layer:
                x = (
                    checkpoint(block, x, use_reentrant=False)
                    if self.checkpoint_blocks and self.training
                    else block(x)
                )
            levels.append(x.unflatten(0, (B, T)))
        return levels
