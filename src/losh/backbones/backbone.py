"""What every visual backbone has, whatever network it is."""

from __future__ import annotations

from torch import nn

from losh.errors import UserError


class Backbone(nn.Module):
    """Frames [B, T, 3, H, W] -> levels [B, T, C_i, H_i, W_i], finest first."""

    channels: list[int]
    """Of each level."""
    strides: list[int]
    """Pixels that a cell of each level covers: 4, 8, 16, ..."""
    checkpoint_blocks: bool
    """Recompute each block in the backward pass instead of keeping what is inside it."""

    def stage_modules(self) -> list[list[nn.Module]]:
        """Return the modules of each stage, what comes before the first with the first."""
        raise NotImplementedError

    def freeze_stages(self, count: int) -> None:
        """Train no weight of the first `count` stages, so that no gradient is computed in them.

        They still run as in training: batch norms are frozen anyway, and drop path, where it is on,
        stays on.

        Raises:
            UserError: there are not so many stages.
        """
        stages = self.stage_modules()
        if count > len(stages):
            raise UserError(
                f"train.backbone_frozen_stages is {count}, and this backbone has {len(stages)}",
                f"Take 0 to {len(stages)}",
            )
        for stage in stages[:count]:
            for module in stage:
                module.requires_grad_(False)
